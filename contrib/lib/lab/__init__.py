"""A small real network in namespaces: what jitwg's end-to-end tests and the demo run on."""
