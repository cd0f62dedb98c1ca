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
CONTROL_SOCKET = "/run/lab/control.sock"  # the agent's, inside every host
PATH = f"{BIN_DIR}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

POOLS = {  # inner addresses, by gateway
    "gw1": ("10.90.0.0/16", "fd00:90::/64"),
    "gw2": ("10.91.0.0/16", "fd00:91::/64"),
}
SWITCHES = "switches"  # not a host: the network between them


@dataclass(frozen=True)
class Interface:
    name: str
    switch: str  # the bridge it is plugged into: "mgmt" or "internet"
    addresses: tuple  # with prefix length; IPv4 first


@dataclass(frozen=True)
class Host:
    name: str
    interfaces: tuple
    role: str = ""  # what of jitwg is installed: "broker", "gateway", "jumphost" or "person"
    node: str = ""  # its name in policy, if it is a gateway or a jump host
    aliases: tuple = ()
    routes: tuple = ()  # (destination, via)
    echo_ports: tuple = ()

    def address(self, switch):
        """IPv4, without prefix length. KeyError if it is not plugged in there."""
        return {i.switch: i.addresses[0].split("/")[0] for i in self.interfaces}[switch]


def _internet(address):
    """192.0.2.N, and with it 2001:db8:2::N."""
    last = address.split(".")[3]
    return Interface("net0", "internet", (f"{address}/24", f"2001:db8:2::{last}/64"))


def _management(address):
    """10.60.M.N, and with it fd00:60::M:N (the same digits)."""
    segment, last = address.split(".")[2:]
    return Interface("mgmt0", "mgmt", (f"{address}/16", f"fd00:60::{segment}:{last}/64"))


# The way back to people: by the gateway whose pool it is.
_TO_POOLS = tuple(
    way
    for gateway, vias in (("gw1", ("10.60.0.1", "fd00:60::1")), ("gw2", ("10.60.0.3", "fd00:60::3")))
    for way in zip(POOLS[gateway], vias)
)


def _hosts():
    yield Host("person", (_internet("192.0.2.20"),), "person")
    yield Host("broker", (_internet("192.0.2.5"), _management("10.60.0.2")), "broker")
    yield Host("gw", (_internet("192.0.2.10"), _management("10.60.0.1")), "gateway", "gw1")
    yield Host("gw2", (_internet("192.0.2.11"), _management("10.60.0.3")), "gateway", "gw2")
    yield Host("jump", (_management("10.60.0.5"),), "jumphost", "jump1", routes=_TO_POOLS)
    yield Host("jump2", (_management("10.60.0.6"),), "jumphost", "jump2", routes=_TO_POOLS)
    yield Host(
        "db",
        (_management("10.60.10.20"),),
        aliases=("db1.prod.example",),
        routes=_TO_POOLS,
        echo_ports=(5432, 5433),
    )
    yield Host(
        "other", (_management("10.60.10.30"),), routes=_TO_POOLS, echo_ports=(5432, 8080)
    )


HOSTS = {host.name: host for host in _hosts()}
NODES = {host.node: host for host in HOSTS.values() if host.node}
GATEWAYS = {node: host for node, host in NODES.items() if host.role == "gateway"}
JUMP_HOSTS = {node: host for node, host in NODES.items() if host.role == "jumphost"}
WIREGUARD_PORT = 51820
BROKER_PORT = 7443
BROKER_URL = f"https://broker:{BROKER_PORT}"

PEOPLE = {"alice": 2001, "bob": 2002, "carol": 2003, "dave": 2004, "erin": 2005}
PEOPLE_ROLES = ("person", "jumphost")

# Numbers that Debian's adduser would hand out last, to stay clear of the machine's own.
SYSTEM_USERS = {
    "broker": {"jitwg": 850, "jitwg-ca": 851},
    "gateway": {"jitwg-gw": 852},
    "jumphost": {"jitwg": 850},
}

BINARIES = ("jitwg", "jitwgd", "jitwg-signer", "jitwg-gateway", "jitwg-hostd", "jitwg-principals")
PAM_MODULE = "pam_jitwg.so"


def hosts_file(reader):
    """/etc/hosts of the host `reader`: of a host with two sides, the one it can reach."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    own = {interface.switch for interface in HOSTS[reader].interfaces}
    for host in HOSTS.values():
        reachable = [i for i in host.interfaces if i.switch in own] or host.interfaces
        address = reachable[0].addresses[0].split("/")[0]
        node = (host.node,) if host.node else ()
        lines.append(" ".join((address, host.name, *node, *host.aliases)))
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Listen:
    """A socket that the host's init holds for as long as the host lives, and hands to a program."""

    name: str  # in LISTEN_FDNAMES
    path: str  # or the port, for "tcp"
    kind: str  # "stream", "seqpacket" or "tcp"
    mode: int = 0
    group: str = "root"


@dataclass(frozen=True)
class Program:
    name: str
    argv: tuple
    user: str = "root"
    capabilities: tuple = None  # None: all that root has. Otherwise exactly these, ambient.
    listen: tuple = ()
    ready: str = "notify"  # "notify": READY=1 on NOTIFY_SOCKET; or the path of a file to appear
    journal: bool = True  # stdout and stderr go to the host's journal
    before: tuple = ()  # run first, by root: what the program's unit has for that is a unit of its own
    env: dict = field(default_factory=dict)
    ready_within: float = 180.0  # seconds; an emulated machine is slow


JOURNALD = Program("systemd-journald", ("/lib/systemd/systemd-journald",), journal=False)
UAPI_SOCKET = "/var/run/wireguard/jitwg0.sock"


def agent_socket(person):
    return f"/run/user/{PEOPLE[person]}/ssh-agent.sock"


def _daemon(name, conf, **more):
    return Program(name, (f"{BIN_DIR}/{name}", "--config", f"/etc/jitwg/{conf}.conf"), **more)


def programs(host):
    """The programs that `lab start HOST PROGRAM` knows, in the order in which `up` starts them."""
    listed = [*_role_programs(HOSTS[host].role)]
    if HOSTS[host].echo_ports:
        ports = tuple(str(p) for p in HOSTS[host].echo_ports)
        argv = ("/usr/bin/python3", "-IS", "/usr/local/lib/lab/echo_service.py", host, *ports)
        listed.append(Program("echo", argv, user="nobody", capabilities=()))
    return {program.name: program for program in listed}


def _role_programs(role):
    if role == "person":
        for person in PEOPLE:
            argv = ("/usr/bin/ssh-agent", "-D", "-a", agent_socket(person))
            yield Program(f"ssh-agent-{person}", argv, user=person, ready=agent_socket(person))
    if role == "broker":
        signer = Listen("signer", f"{RUNTIME_DIR}/signer.sock", "stream", 0o660, "jitwg")
        yield _daemon("jitwg-signer", "signer", user="jitwg-ca", capabilities=(), listen=(signer,))
        local = Listen("broker", f"{RUNTIME_DIR}/broker.sock", "stream", 0o666)
        far = Listen("tls", str(BROKER_PORT), "tcp")
        yield _daemon("jitwgd", "broker", user="jitwg", capabilities=(), listen=(local, far))
    if role == "gateway":
        # Only where the kernel has no WireGuard. As the gateway's own user, so that the gateway
        # may use the control socket without being root.
        yield Program(
            "wireguard-go",
            ("/usr/bin/wireguard-go", "-f", "jitwg0"),
            user="jitwg-gw",
            capabilities=("net_admin",),
            ready=UAPI_SOCKET,
            env={"LOG_LEVEL": "error"},
        )
        selftest = (f"{BIN_DIR}/jitwg-gateway", "selftest", "--config", "/etc/jitwg/gateway.conf")
        yield _daemon(
            "jitwg-gateway", "gateway", user="jitwg-gw", capabilities=("net_admin",), before=selftest
        )
    if role == "jumphost":
        local = Listen("hostd", f"{RUNTIME_DIR}/hostd.sock", "seqpacket", 0o666)
        yield _daemon("jitwg-hostd", "hostd", listen=(local,))
        yield Program("sshd", ("/usr/sbin/sshd", "-D"))


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
    """For a host: a link to its CONTROL_SOCKET, through /proc, which leads past mount namespaces."""
    return f"{state_dir(lab)}/{host}.sock"
