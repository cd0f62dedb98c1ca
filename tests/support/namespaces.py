"""What every test that makes namespaces needs to know of the machine."""


def _root_is_a_mount():
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == "/" for line in mounts)


def unshare(*options):
    """unshare(1) with these options. In a plain chroot / is no mount point, so its propagation stays as it is."""
    return ["unshare", *([] if _root_is_a_mount() else ["--propagation", "unchanged"]), *options]
