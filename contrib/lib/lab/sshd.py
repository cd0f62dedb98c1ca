"""sshd on a jump host: Debian's own configuration, and what `jitwg-hostd setup` makes of it."""

import os
import subprocess

from . import world
from .files import empty_folder, write

# What is the lab's alone: where to listen, and nothing but ed25519.
_LAB_CONFIG = """ListenAddress {address}
HostKey /etc/ssh/ssh_host_ed25519_key
"""
# Without jitwg's programs sshd knows the CA and nothing else: a certificate's principal is then
# the login name, as in any OpenSSH.
_PLAIN_CONFIG = """TrustedUserCAKeys /etc/jitwg/ca.pub
AuthorizedKeysFile none
PasswordAuthentication no
UseDNS no
"""


def install(host, key, files):
    """`key`: sshd's own; `files`: jitwg's helpers and PAM's file by name, or None for a plain sshd."""
    empty_folder("/etc/ssh/sshd_config.d")
    for name in os.listdir("/etc/ssh"):
        if name.startswith("ssh_host_"):
            os.unlink(f"/etc/ssh/{name}")
    with open("/usr/share/openssh/sshd_config") as stock:
        write("/etc/ssh/sshd_config", stock.read())
    write("/etc/ssh/sshd_config.d/lab.conf", _LAB_CONFIG.format(address=host.address("mgmt")))
    write("/etc/ssh/ssh_host_ed25519_key", key.private, 0o600)
    write("/etc/ssh/ssh_host_ed25519_key.pub", f"{key.public} {host.node}\n")
    if files is None:
        write("/etc/ssh/sshd_config.d/00-jitwg.conf", _PLAIN_CONFIG)
        return
    write("/etc/pam.d/sshd", files["pam"])  # Debian's, whatever this machine has made of its own
    write(f"{world.LIB_DIR}/jitwg-principals", files["principals"], 0o755)
    write(f"{world.LIB_DIR}/{world.PAM_MODULE}", files["module"])
    subprocess.run([f"{world.BIN_DIR}/jitwg-hostd", "setup", "--apply"], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
