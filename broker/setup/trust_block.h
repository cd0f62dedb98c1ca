// What people and nodes must know of a deployment before they talk to it, as one block to paste or mail. `jitwgd init`
// prints it; `jitwg trust` and the nodes' init read it. Whoever can alter it on the way owns the reader, so it travels by
// a way that is trusted already, or its fingerprints are compared. Pure.
//
//   -----BEGIN JITWG TRUST-----
//   broker = https://broker.example:7443
//   broker-pin = sha256//…          (one or several; none for unix:PATH)
//   ca = ssh-ed25519 AAAA…          (two while the CA's key is being changed)
//   realm = lab-7d1f
//   -----END JITWG TRUST-----
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ssh-ca/format/ca_keys.h"

namespace jitwg::setup {

struct TrustBlock {
  std::string broker;  // "https://HOST[:PORT]" or "unix:PATH"
  std::vector<std::string> pins;
  ssh::CaKeys ca;
  std::string realm;
};

std::string render_trust(const TrustBlock& trust);

// Text around the block does not count. bad_value: no block or two, unknown, missing or doubled keys, values that are not
// what they should be.
Result<TrustBlock> parse_trust(std::string_view text);

}  // namespace jitwg::setup
