"""What is in every lab: hosts, addresses, people, programs. Values only, no effects.

The addresses are the same in all labs (each lab has its own network namespaces), so that
tests and documentation can name them.
"""

import re
from dataclasses import dataclass, field

from .errors import LabError

STATE_ROOT = "/run/jitwg-lab"
BIN_DIR = "/usr/local/lib/jitwg/bin"  # the build's programs, inside every host
LIB_DIR = "/usr/local/lib/jitwg"  # PAM module and principals command: root-owned all the way
RUNTIME_DIR = "/run/jitwg"
PATH = f"{BIN_DIR}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MANAGEMENT_NET = "10.60.0.0/16"
POOL = "10.90.0.0/16"
GATEWAY_INSIDE = "10.60.0.1"
GATEWAY_OUTSIDE = "192.0.2.10"
ENDPOINT = f"{GATEWAY_OUTSIDE}:51820"


@dataclass(frozen=True)
class Interface:
    name: str
    switch: str  # the bridge it is plugged into: "mgmt" or "internet"
    address: str  # with prefix length


@dataclass(frozen=True)
class Host:
    name: str
    interfaces: tuple
    aliases: tuple = ()
    forwards: bool = False
    routes: tuple = ()  # (destination, via)
    echo_ports: tuple = ()


_TO_POOL = ((POOL, GATEWAY_INSIDE),)

HOSTS = {
    host.name: host
    for host in (
        Host("person", (Interface("net0", "internet", "192.0.2.20/24"),)),
        Host(
            "gw",
            (
                Interface("net0", "internet", f"{GATEWAY_OUTSIDE}/24"),
                Interface("mgmt0", "mgmt", f"{GATEWAY_INSIDE}/16"),
            ),
            aliases=("gw1",),
            forwards=True,
        ),
        Host("jump", (Interface("mgmt0", "mgmt", "10.60.0.5/16"),), ("jump1",), False, _TO_POOL),
        Host(
            "db",
            (Interface("mgmt0", "mgmt", "10.60.10.20/16"),),
            ("db1.prod.example",),
            False,
            _TO_POOL,
            (5432, 5433),
        ),
        Host(
            "other",
            (Interface("mgmt0", "mgmt", "10.60.10.30/16"),),
            (),
            False,
            _TO_POOL,
            (5432, 8080),
        ),
    )
}

PEOPLE = {"alice": 2001, "bob": 2002, "carol": 2003, "dave": 2004, "erin": 2005}
PEOPLE_HOSTS = ("person", "jump")

# Numbers that Debian's adduser would hand out last, to stay clear of the machine's own.
SYSTEM_USERS = {
    "gw": {"jitwg": 850, "jitwg-ca": 851, "jitwg-gw": 852},
    "jump": {"jitwg": 850},
}

BINARIES = ("jitwg", "jitwgd", "jitwg-signer", "jitwg-gateway", "jitwg-hostd", "jitwg-principals")
PAM_MODULE = "pam_jitwg.so"

def hosts_file(reader):
    """/etc/hosts of the host `reader`: gw is the side of the gateway that this host can reach."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    own = {interface.switch for interface in HOSTS[reader].interfaces}
    for host in HOSTS.values():
        reachable = [i for i in host.interfaces if i.switch in own] or host.interfaces
        address = reachable[0].address.split("/")[0]
        lines.append(" ".join((address, host.name, *host.aliases)))
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Listen:
    """A socket that the host's init holds for as long as the host lives, and hands to a program."""

    path: str
    kind: str  # "stream" or "seqpacket"
    mode: int
    group: str = "root"
    shared: bool = False  # made by `up` outside, reachable from other hosts


@dataclass(frozen=True)
class Program:
    name: str
    argv: tuple
    user: str = "root"
    capabilities: tuple = None  # None: all that root has. Otherwise exactly these, ambient.
    listen: tuple = ()
    ready: str = "notify"  # "notify": READY=1 on NOTIFY_SOCKET; or the path of a file to appear
    journal: bool = True  # stdout and stderr go to the host's journal
    env: dict = field(default_factory=dict)
    ready_within: float = 15.0


BROKER_SOCKET = Listen(f"{RUNTIME_DIR}/broker.sock", "stream", 0o666, shared=True)
BROKER_SOCKET_HOSTS = ("gw", "person", "jump")

JOURNALD = Program(
    "systemd-journald", ("/lib/systemd/systemd-journald",), journal=False, ready_within=30.0
)
UAPI_SOCKET = "/var/run/wireguard/jitwg0.sock"


def agent_socket(person):
    return f"/run/user/{PEOPLE[person]}/ssh-agent.sock"


def _daemon(name, conf, **more):
    return Program(name, (f"{BIN_DIR}/{name}", "--config", f"/etc/jitwg/{conf}.conf"), **more)


def programs(host):
    """The programs that `lab start HOST PROGRAM` knows, in the order in which `up` starts them."""
    listed = []
    if HOSTS[host].echo_ports:
        ports = tuple(str(p) for p in HOSTS[host].echo_ports)
        argv = ("/usr/bin/python3", "-IS", "/usr/local/lib/lab/echo_service.py", host, *ports)
        listed.append(Program("echo", argv, user="nobody", capabilities=()))
    if host == "person":
        for person in PEOPLE:
            argv = ("/usr/bin/ssh-agent", "-D", "-a", agent_socket(person))
            listed.append(
                Program(f"ssh-agent-{person}", argv, user=person, ready=agent_socket(person))
            )
    if host == "gw":
        listed += [
            # Only where the kernel has no WireGuard. As the gateway's own user, so that the
            # gateway may use the control socket without being root.
            Program(
                "wireguard-go",
                ("/usr/bin/wireguard-go", "-f", "jitwg0"),
                user="jitwg-gw",
                capabilities=("net_admin",),
                ready=UAPI_SOCKET,
                env={"LOG_LEVEL": "error"},
            ),
            _daemon(
                "jitwg-signer",
                "signer",
                user="jitwg-ca",
                capabilities=(),
                listen=(Listen(f"{RUNTIME_DIR}/signer.sock", "stream", 0o660, "jitwg"),),
            ),
            _daemon("jitwgd", "broker", user="jitwg", capabilities=(), listen=(BROKER_SOCKET,)),
            _daemon("jitwg-gateway", "gateway", user="jitwg-gw", capabilities=("net_admin",)),
        ]
    if host == "jump":
        listed += [
            _daemon(
                "jitwg-hostd",
                "hostd",
                listen=(Listen(f"{RUNTIME_DIR}/hostd.sock", "seqpacket", 0o666),),
            ),
            Program("sshd", ("/usr/sbin/sshd", "-D")),
        ]
    return {program.name: program for program in listed}


def check_name(name):
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(f"{name!r} is no lab name: use up to 31 of a-z, 0-9 and -")
    return name


def check_host(name):
    if name not in HOSTS:
        raise LabError(f"no host {name}: the hosts are {', '.join(HOSTS)}")
    return HOSTS[name]


def state_dir(lab):
    return f"{STATE_ROOT}/{lab}"


def control_path(lab, host):
    return f"{state_dir(lab)}/{host}.sock"
