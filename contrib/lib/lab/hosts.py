"""Makes a host out of an empty root directory: called by its init, inside."""

import secrets
from dataclasses import dataclass

from . import jitwg_files, kernel, network, people, sshd, world
from .files import write

# Audit= (empty) leaves the kernel's auditing alone; journald would turn it off. No rate limit: a
# dropped record would look like one that was never written.
_JOURNALD = """[Journal]
Storage=volatile
RuntimeMaxUse=256M
RateLimitIntervalSec=0
RateLimitBurst=0
Audit=
ReadKMsg=no
ForwardToSyslog=no
ForwardToConsole=no
ForwardToWall=no
"""


@dataclass
class Plan:
    """What `up` knows before any host exists. Handed on by fork, so it may hold secrets."""

    lab: str
    keys: object
    binaries: str  # folder, outside
    root: str  # an empty folder to mount on, outside
    policy_template: str
    sshd_files: dict  # or None: a plain sshd
    echo_service: str
    systemd: object  # units.Sources, or None: the lab itself is PID 1


def install(plan, host):
    kernel.set_hostname(host.name)
    write("/etc/hostname", host.name + "\n")
    write("/etc/hosts", world.hosts_file(host.name))
    write("/etc/resolv.conf", "")
    write("/etc/machine-id", secrets.token_hex(16) + "\n", 0o444)
    write("/etc/systemd/journald.conf.d/lab.conf", _JOURNALD)
    write("/usr/local/lib/lab/echo_service.py", plan.echo_service)
    people.install_users(host.role)
    jitwg_files.install(host, plan.keys, plan.policy_template)
    if host.role == "person":
        people.install_workstation(plan.keys)
    if host.role == "jumphost":
        sshd.install(host, plan.keys.hosts[host.node], plan.sshd_files)


def programs(host):
    """The host's programs, without those that this machine does not need."""
    listed = world.programs(host.name)
    if "wireguard-go" in listed and network.kernel_has_wireguard():
        del listed["wireguard-go"]
    return listed
