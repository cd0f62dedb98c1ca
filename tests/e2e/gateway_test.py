"""jitwg-gateway alone: real packets through real WireGuard at both ends (the kernel's where it has one, otherwise
wireguard-go), grants signed by ssh-keygen.

No broker: a gateway serves exactly its stored live grants (DESIGN §7). person -- gw -- inside; in the person's
tunnels, 10.90.0.N and fd00:90::N are session N.
"""

import base64
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

import netns  # noqa: E402
from netns import wait_for  # noqa: E402

BUILD = os.environ.get("JITWG_BUILD", os.path.join(ROOT, "build", "dev"))
GATEWAY = f"{BUILD}/bin/jitwg-gateway"
PEER = os.path.join(ROOT, "tests", "support", "echo_peer.py")
INSIDE, INSIDE6, OTHER = "10.60.10.20", "fd00:60::20", "10.60.10.30"

IN_KERNEL = netns.kernel_has_wireguard()

for needed in ("wg" if IN_KERNEL else "wireguard-go", "wg", "nft", "ssh-keygen", "unshare"):
    if shutil.which(needed) is None:
        pytest.skip(f"SKIPPED: {needed} is not installed", allow_module_level=True)
if netns.why_not():
    pytest.skip(f"SKIPPED: {netns.why_not()}", allow_module_level=True)
if not os.path.exists(GATEWAY):
    pytest.skip(f"SKIPPED: {GATEWAY} is not built", allow_module_level=True)


def session_id(n):
    return f"0197f4a0-0000-7000-8000-{n:012d}"


def wg_pair():
    private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout
    public = subprocess.run(["wg", "pubkey"], check=True, capture_output=True, text=True, input=private)
    return private, public.stdout.strip()


def make_wireguard(host, name, *prefix):
    if IN_KERNEL:
        host.run([*prefix, "ip", "link", "add", name, "type", "wireguard"])
        return
    # Goes to the background: it must not hold pipes of ours.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert host.popen([*prefix, "wireguard-go", name], **quiet).wait(20) == 0


class World:
    def __init__(self, directory):
        self.directory = directory
        self.daemon = None
        self.keys = {}
        self.person, self.gw, self.inside = (netns.Host(name) for name in ("person", "gw", "inside"))
        netns.connect(self.person, ["192.0.2.2/24"], self.gw, ["192.0.2.1/24"], "wan0")
        netns.connect(self.gw, ["10.60.10.1/24", "fd00:60::1/64"], self.inside,
                      [f"{INSIDE}/24", f"{OTHER}/24", f"{INSIDE6}/64"], "lan0")  # fmt: skip
        self.inside.run("ip route add default via 10.60.10.1")
        self.inside.run("ip route add fd00:90::/64 via fd00:60::1")
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.gw.run(["sysctl", "-qw", f"net.{key}=1"])
        self.service = self.inside.popen(["python3", PEER, "serve", "5432", "5433", "2001", "2002"],
                                         stdout=subprocess.PIPE)  # fmt: skip
        assert self.service.stdout.readline() == "ready\n"
        self._configure()
        self.selftest()

    def path(self, name):
        return str(self.directory / name)

    def _configure(self):
        for name in ("ca", "node_key", "other_ca"):
            subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", self.path(name)], check=True)
        private, self.gateway_key = wg_pair()
        self._write("wg.key", private)
        self._write("gateway.conf", "\n".join([
            f"broker = unix:{self.path('no-broker.sock')}", "node = gw1", f"node-key = {self.path('node_key')}",
            f"ca = {self.path('ca.pub')}", "realm = test", "interface = jitwg0",
            f"wireguard-key = {self.path('wg.key')}", "pool = 10.90.0.0/16", "pool = fd00:90::/64",
            f"state-dir = {self.path('state')}", f"runtime-dir = {self.path('run')}", ""]))  # fmt: skip

    def _write(self, name, text):
        with open(os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(text)

    def body(self, n, scope, seconds=600, start=0, **changes):
        """A grant for session n, not yet signed. A value of None leaves the key out."""
        if n not in self.keys:
            self.keys[n] = wg_pair()
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=start)
        end = now + datetime.timedelta(seconds=seconds)
        body = {
            "type": "grant", "v": 1, "realm": "test", "session": session_id(n), "person": "alice",
            "target": "db-prod", "wg_public_key": self.keys[n][1],
            "address": [f"10.90.0.{n}/32", f"fd00:90::{n}/128"], "scope": scope,
            "gateway": {"name": "gw1", "wireguard_key": self.gateway_key, "endpoint": "192.0.2.1:51820"},
            "jump_hosts": [], "not_before": f"{now:%Y-%m-%dT%H:%M:%SZ}", "not_after": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "policy_sha256": "0" * 64, "break_glass": False, **changes,
        }  # fmt: skip
        return {key: value for key, value in body.items() if value is not None}

    def signed(self, body, ca="ca", namespace="jitwg-grant"):
        text = body if isinstance(body, str) else json.dumps(body)
        signature = subprocess.run(["ssh-keygen", "-qY", "sign", "-f", self.path(ca), "-n", namespace],
                                   input=text, capture_output=True, text=True, check=True).stdout  # fmt: skip
        return {"body": base64.b64encode(text.encode()).decode(), "signature": signature}

    def grant(self, n, scope, seconds=600, ca="ca", **changes):
        """Stores a signed grant, as the gateway does with one that a broker handed over; returns when it ends."""
        body = self.body(n, scope, seconds, **changes)
        os.makedirs(self.path("state/grants"), mode=0o700, exist_ok=True)
        self._write(f"state/grants/{session_id(n)}.json", json.dumps(self.signed(body, ca)))
        pathlib.Path(self.path("state/boot.json")).unlink(missing_ok=True)  # or it counts as taken when the first process began
        return datetime.datetime.fromisoformat(body["not_after"].replace("Z", "+00:00")).timestamp()

    def forget(self, n):
        os.remove(self.path(f"state/grants/{session_id(n)}.json"))

    def selftest(self):
        """As the gateway's unit does before each start."""
        self.gw.run([GATEWAY, "selftest", "--config", self.path("gateway.conf")])

    def start(self, *prefix, program=GATEWAY, **more):
        log = open(self.path("log"), "a")
        self.daemon = self.gw.popen([*prefix, program, "--config", self.path("gateway.conf")], stdout=log, stderr=log, **more)
        log.close()
        wait_for(lambda: self.daemon.poll() is not None or self.status_or_none() is not None, "the gateway")
        assert self.daemon.poll() is None, open(self.path("log")).read()

    def stop(self, number=signal.SIGTERM):
        self.gw.signal(self.daemon, number)
        self.daemon.wait(10)

    def restart(self):
        self.stop()
        self.start()

    def status_or_none(self):
        """The peers that the kernel holds, with their sessions."""
        rows = self.status()[1]
        return [row for row in rows if row["rx"] is not None] if isinstance(rows, list) else None

    def status(self):
        done = self.gw.run([GATEWAY, "status", "--json", "--config", self.path("gateway.conf")], check=False)
        return done.returncode, json.loads(done.stdout or "null")

    def wait_open(self, *numbers):
        wanted = {session_id(n) for n in numbers}
        wait_for(lambda: {row["session"] for row in self.status_or_none() or []} == wanted
                 and all(self.elements(n) for n in numbers), f"sessions {numbers}")  # fmt: skip

    def elements(self, n):
        listing = self.gw.run("nft list table inet jitwg", check=False).stdout
        return re.findall(rf'comment "{session_id(n)}"', listing)

    def tunnel(self, n):
        """The person's end: an interface of its own, as the CLI makes it."""
        name = f"jw{n}"
        make_wireguard(self.person, name)
        self._write(f"jw{n}.conf", f"[Interface]\nPrivateKey = {self.keys[n][0]}\n[Peer]\nPublicKey = {self.gateway_key}\n"
                    "Endpoint = 192.0.2.1:51820\nAllowedIPs = 0.0.0.0/0, ::/0\n")  # fmt: skip
        self.person.run(["wg", "setconf", name, self.path(f"jw{n}.conf")])
        self.person.run(f"ip addr add 10.90.0.{n}/32 dev {name}")
        self.person.run(f"ip addr add fd00:90::{n}/128 dev {name} nodad")
        self.person.run(f"ip link set {name} up mtu 1420")
        self.person.run(f"ip route add 10.60.10.0/24 dev {name} src 10.90.0.{n} metric {n}")
        self.person.run(f"ip route add 10.90.0.0/16 dev {name} src 10.90.0.{n} metric {n}")
        self.person.run(f"ip -6 route add fd00:60::/64 dev {name} src fd00:90::{n} metric {n}")

    def reaches(self, kind, address, port, timeout=1.0):
        """Does one question get an answer?"""
        code = f"""
import socket, sys
s = socket.socket(socket.{'AF_INET6' if ':' in address else 'AF_INET'}, socket.SOCK_{'STREAM' if kind == 'tcp' else 'DGRAM'})
s.settimeout({timeout}); s.connect(('{address}', {port})); s.send(b'x'); sys.exit(s.recv(9) != b'x')"""
        return self.person.run(["python3", "-c", code], check=False).returncode == 0

    def source_at(self, kind, address, port):
        """Whom does the service there see? None when it does not answer."""
        code = f"""
import socket
s = socket.socket(socket.{'AF_INET6' if ':' in address else 'AF_INET'}, socket.SOCK_{'STREAM' if kind == 'tcp' else 'DGRAM'})
s.settimeout(2); s.connect(('{address}', {port})); s.send(b'who'); print(s.recv(64).decode())"""
        done = self.person.run(["python3", "-c", code], check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def refused(self, address, port):
        """Does UDP to there come back as port unreachable?"""
        code = f"""
import socket, sys
s = socket.socket(socket.{'AF_INET6' if ':' in address else 'AF_INET'}, socket.SOCK_DGRAM)
s.settimeout(1); s.connect(('{address}', {port})); s.send(b'x')
try: s.recv(9)
except ConnectionRefusedError: sys.exit(7)"""
        return self.person.run(["python3", "-c", code], check=False).returncode == 7

    def pings(self, address):
        return self.person.run(["ping", "-c1", "-W1", address], check=False).returncode == 0

    def talk(self, kind, address, port):
        return Talk(self, kind, address, port)

    def close(self):
        for host in (self.person, self.gw, self.inside):
            host.close()
        for process in filter(None, (self.daemon, self.service)):
            process.wait(10)


class Talk:
    """An established flow that keeps asking; last() is when the last answer came."""

    def __init__(self, world, kind, address, port):
        self.path = world.path(f"talk-{kind}-{port}-{time.monotonic_ns()}")
        with open(self.path, "w") as out:
            self.process = world.person.popen(["python3", PEER, "talk", kind, address, str(port)],
                                              stdout=out, stderr=subprocess.DEVNULL)  # fmt: skip
        wait_for(lambda: len(self.answers()) > 2, f"a {kind} flow to {address} {port}")

    def answers(self):
        with open(self.path) as f:
            return [float(line) for line in f.read().split("\n")[1:-1]]

    def last(self):
        return self.answers()[-1]

    def runs(self):
        before = len(self.answers())
        wait_for(lambda: len(self.answers()) > before + 2, "the flow to go on", 5)
        return True

    def stopped(self, patience=10):
        wait_for(lambda: time.time() - self.last() > 1.0, "the flow to stop", patience)
        return self.last()


@pytest.fixture
def world(tmp_path):
    it = World(tmp_path)
    try:
        yield it
    finally:
        it.close()


def test_exactly_the_scope(world):
    scope = [f"tcp {INSIDE}:5432", f"udp {INSIDE}:2001,2009", f"icmp {INSIDE}"]
    world.grant(1, [*scope, f"tcp [{INSIDE6}]:5432", f"icmp {INSIDE6}", f"udp [{INSIDE6}]:2009"])
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    assert world.reaches("tcp", INSIDE, 5432, 5)
    assert world.reaches("udp", INSIDE, 2001)
    assert world.pings(INSIDE)
    assert world.reaches("tcp", INSIDE6, 5432)
    assert world.pings(INSIDE6)

    assert not world.reaches("tcp", INSIDE, 5433), "another port"
    assert not world.reaches("udp", INSIDE, 5432), "another protocol"
    assert not world.reaches("tcp", OTHER, 5432), "another host"
    assert not world.pings(OTHER)
    assert not world.reaches("tcp", INSIDE6, 5433)
    assert not world.reaches("udp", INSIDE6, 2001)
    assert not world.pings("10.60.10.1"), "the gateway itself"
    assert not world.pings("fd00:60::1")

    # Nobody listens there: the error that says so belongs to a live tuple, and passes.
    assert world.refused(INSIDE, 2009)
    assert world.refused(INSIDE6, 2009)
    assert not world.refused(INSIDE, 2010), "out of scope: silence"


def test_segment_and_port_range(world):
    world.grant(1, ["tcp 10.60.10.0/24:5432-5433", "udp [fd00:60::/64]:2001"])
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    assert world.reaches("tcp", INSIDE, 5432, 5)
    assert world.reaches("tcp", OTHER, 5433)
    assert world.reaches("udp", INSIDE6, 2001)
    assert not world.reaches("tcp", INSIDE, 2001)
    assert not world.reaches("udp", INSIDE6, 2002)
    assert not world.reaches("udp", INSIDE, 2001)


JUMP, JUMP6 = "10.60.0.5", "fd00:60:0:5::5"


@pytest.fixture
def site(world):
    """A site whose target knows no way back to the pool; the jump host does."""
    jump = netns.Host("jump")
    netns.connect(world.gw, ["10.60.0.1/24", "fd00:60:0:5::1/64"], jump, [f"{JUMP}/24", f"{JUMP6}/64"], "lan1")
    jump.run("ip route add 10.90.0.0/16 via 10.60.0.1")
    jump.run("ip route add fd00:90::/64 via fd00:60:0:5::1")
    world.inside.run("ip route del default via 10.60.10.1")
    world.inside.run("ip route del fd00:90::/64 via fd00:60::1")
    service = jump.popen(["python3", PEER, "serve", "22", "5432"], stdout=subprocess.PIPE)
    assert service.stdout.readline() == "ready\n"
    world.jump_hosts = {"login": "alice", "serial": "1", "certificate_sha256": "0" * 64, "jump_hosts": [
        {"name": "jump1", "addresses": [JUMP, JUMP6], "host_keys": [open(world.path("ca.pub")).read().rsplit(" ", 1)[0]]}]}
    yield world
    jump.close()
    service.wait(10)


def tunnel_to_site(site, n):
    site.tunnel(n)
    site.person.run(f"ip route add 10.60.0.0/24 dev jw{n} src 10.90.0.{n}")
    site.person.run(f"ip -6 route add fd00:60:0:5::/64 dev jw{n} src fd00:90::{n}")


# The target's own scope covers the jump host, as a segment may.
SITE_SCOPE = ["tcp 10.60.0.0/16:22,5432", f"udp {INSIDE}:2001,2009", f"icmp {INSIDE}", "tcp [fd00:60::/32]:22,5432", f"icmp {INSIDE6}"]


def test_nat_gives_the_target_the_gateways_address_and_the_jump_host_the_inner_one(site):
    site.grant(1, SITE_SCOPE, nat=True, **site.jump_hosts)
    site.grant(2, SITE_SCOPE, **site.jump_hosts)
    site.start()
    site.wait_open(1, 2)
    tunnel_to_site(site, 1)
    assert site.source_at("tcp", INSIDE, 5432) == "10.60.10.1"
    assert site.source_at("udp", INSIDE, 2001) == "10.60.10.1"
    assert site.source_at("tcp", INSIDE6, 5432) == "fd00:60::1"
    assert site.pings(INSIDE) and site.pings(INSIDE6)
    assert site.refused(INSIDE, 2009), "errors find their way back too"
    # sshd must see the address that the certificate is bound to; another service on that host is part of the target.
    assert site.source_at("tcp", JUMP, 22) == "10.90.0.1"
    assert site.source_at("tcp", JUMP6, 22) == "fd00:90::1"
    assert site.source_at("tcp", JUMP, 5432) == "10.60.0.1"
    assert not site.reaches("tcp", INSIDE, 5433), "it widens nothing"
    assert site.inside.run("ping -c1 -W1 10.90.0.1", check=False).returncode != 0

    site.person.run("ip link del jw1")
    tunnel_to_site(site, 2)
    assert site.source_at("tcp", JUMP, 22) == "10.90.0.2"
    assert site.source_at("tcp", JUMP, 5432) == "10.90.0.2", "without nat nobody's address changes"
    assert site.source_at("tcp", INSIDE, 5432) is None, "and a target without a return route does not answer"


def test_a_nat_flow_ends_with_its_session_and_survives_all_else(site):
    site.grant(1, SITE_SCOPE, nat=True, **site.jump_hosts)
    site.start()
    site.wait_open(1)
    tunnel_to_site(site, 1)
    flow = site.talk("tcp", INSIDE, 5432)
    site.restart()
    assert flow.runs()
    site.gw.run("nft flush ruleset")
    assert flow.runs(), "the chains came back, and with them the translation"
    assert site.source_at("tcp", INSIDE, 5432) == "10.60.10.1"
    site.stop()
    end = site.grant(1, SITE_SCOPE, seconds=15, nat=True, **site.jump_hosts)
    site.start()
    wait_for(lambda: re.search(r"expires 1?\ds", site.gw.run("nft list set inet jitwg nat4").stdout), "the new end in the kernel")
    site.stop(signal.SIGKILL)
    assert end - 1 < flow.stopped(30) < end + 1, "by the kernel's timeout alone"
    assert site.source_at("tcp", INSIDE, 5432) is None
    assert site.elements(1) == []


def test_nat_that_is_written_and_off_is_no_grant(world):
    world.grant(1, [f"tcp {INSIDE}:5432"], nat=False)
    world.grant(2, [f"tcp {INSIDE}:5432"])
    world.start()
    world.wait_open(2)


def test_no_gateway_service_and_nobody_reaches_a_person(world):
    world.grant(1, ["tcp 10.0.0.0/8:5432", "icmp 10.0.0.0/8"])
    world.grant(2, ["tcp 10.0.0.0/8:5432", "icmp 10.0.0.0/8"])
    world.start()
    world.wait_open(1, 2)
    world.tunnel(1)
    world.tunnel(2)
    # Even a scope that covers gateway and pool opens neither.
    on_gateway = world.gw.popen(["python3", PEER, "serve", "5432"], stdout=subprocess.PIPE)
    on_person = world.person.popen(["python3", PEER, "serve", "5432"], stdout=subprocess.PIPE)
    assert on_gateway.stdout.readline() and on_person.stdout.readline()
    assert world.reaches("tcp", INSIDE, 5432, 5)
    assert not world.reaches("tcp", "10.60.10.1", 5432)
    assert not world.pings("10.60.10.1")
    assert world.inside.run("ping -c1 -W1 10.90.0.1", check=False).returncode != 0, "from inside to a person"
    connect = "import socket; socket.create_connection(('10.90.0.1', 5432), 1)"
    assert world.inside.run(["python3", "-c", connect], check=False).returncode != 0
    # From one person to another: by the other's own tunnel address, over the tunnel.
    ask = "import socket; s = socket.socket(); s.settimeout(1); s.bind(('10.90.0.1', 0)); s.connect(('10.90.0.2', 5432))"
    world.person.run("ip addr del 10.90.0.2/32 dev jw2")
    assert world.person.run(["python3", "-c", ask], check=False).returncode != 0
    assert "jitwg0" in world.gw.run("nft list chain inet jitwg forward").stdout
    dropped = re.search(r'oifname "jitwg0" counter packets (\d+)', world.gw.run("nft list chain inet jitwg forward").stdout)
    assert int(dropped.group(1)) > 0, "the packet came as far as the gateway's forward chain"


def test_established_flows_stop_on_close(world):
    world.grant(1, [f"tcp {INSIDE}:5432", f"udp {INSIDE}:2001"])
    world.grant(2, [f"tcp {INSIDE}:5432"])
    world.start()
    world.wait_open(1, 2)
    world.tunnel(1)
    flows = [world.talk("tcp", INSIDE, 5432), world.talk("udp", INSIDE, 2001)]
    # Restarted with the same grants, nothing is interrupted.
    world.restart()
    for flow in flows:
        assert flow.runs()
    # Ended: the grant is gone while the daemon was away.
    world.stop()
    world.forget(1)
    before = time.time()
    world.start()
    world.wait_open(2)
    for flow in flows:
        assert flow.stopped() < before + 2
    assert world.elements(1) == []
    assert world.keys[1][1] not in world.gw.run("wg show jitwg0").stdout
    assert world.keys[2][1] in world.gw.run("wg show jitwg0").stdout


def test_deleted_element_stops_an_established_flow(world):
    world.grant(1, [f"tcp {INSIDE}:5432", f"tcp {INSIDE}:5433", "tcp 10.60.10.0/24:2001"])
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    flow, ranged, other = (world.talk("tcp", INSIDE, port) for port in (5432, 2001, 5433))
    world.stop()
    world.gw.run(["nft", f"delete element inet jitwg scope4 {{ 10.90.0.1 . {INSIDE} . tcp . 5432 }}"])
    world.gw.run(["nft", "delete element inet jitwg range4 { 10.90.0.1 . 10.60.10.0-10.60.10.255 . tcp . 2001 }"])
    assert flow.stopped() and ranged.stopped()
    assert other.runs()


def test_the_end_comes_on_the_second_with_everything_dead(world):
    scope = [f"tcp {INSIDE}:5432", f"udp {INSIDE}:2001", "tcp 10.60.10.0/24:2002"]
    world.grant(1, scope, seconds=300)
    end = world.grant(1, scope, seconds=8)
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    flows = [world.talk("tcp", INSIDE, 5432), world.talk("udp", INSIDE, 2001), world.talk("tcp", INSIDE, 2002)]
    world.stop(signal.SIGKILL)
    for flow in flows:
        assert end - 1 < flow.stopped(20) < end + 1
    assert not world.reaches("tcp", INSIDE, 5432)
    # Back again: what is over is swept away.
    world.start()
    wait_for(lambda: world.status_or_none() == [], "the ended session's peer to go")


def test_grants_that_do_not_count(world):
    world.grant(1, [f"tcp {INSIDE}:5432"])
    world.grant(2, [f"tcp {INSIDE}:5432"], ca="other_ca")
    world.grant(3, [f"tcp {INSIDE}:5432"], realm="another")
    world.grant(4, [f"tcp {INSIDE}:5432"], address=["10.91.0.4/32"])
    gateway = {"name": "gw1", "wireguard_key": wg_pair()[1], "endpoint": "192.0.2.1:51820"}
    world.grant(5, [f"tcp {INSIDE}:5432"], gateway=gateway)
    world.grant(6, [f"tcp {INSIDE}:5432"], gateway={**gateway, "name": "gw2", "wireguard_key": world.gateway_key})
    world.grant(7, [f"tcp {INSIDE}:5432"], seconds=-5, not_before="2026-01-01T00:00:00Z")
    world.start()
    world.wait_open(1)


def test_status_names_sessions_and_strangers(world):
    end = world.grant(1, [f"tcp {INSIDE}:5432"])
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    assert world.reaches("tcp", INSIDE, 5432, 5)
    stranger = wg_pair()[1]
    world.gw.run(f"wg set jitwg0 peer {stranger} allowed-ips 192.168.7.0/24")
    world.restart()  # a foreign peer survives it
    world.stop()     # and status needs no daemon
    code, listed = world.status()
    assert code == 0 and [row["state"] for row in listed] == ["open", "foreign"]
    rows = {row["public_key"]: row for row in listed}
    row = rows[world.keys[1][1]]
    assert row["session"] == session_id(1) and row["person"] == "alice" and row["target"] == "db-prod"
    assert row["address"] == ["10.90.0.1/32", "fd00:90::1/128"]
    assert datetime.datetime.fromisoformat(row["not_after"].replace("Z", "+00:00")).timestamp() == end
    assert row["last_handshake"] and row["rx"] > 0 and row["tx"] > 0 and row["first_packet"] is True
    assert row["endpoint"].startswith("192.0.2.2:") and end - time.time() - 3 < row["time_left"] <= end - time.time() + 1
    assert rows[stranger]["session"] is None and rows[stranger]["last_handshake"] is None
    table = world.gw.run([GATEWAY, "status", "--config", world.path("gateway.conf")]).stdout
    assert "alice" in table and session_id(1) in table
    # The same ID is what nft itself shows.
    assert session_id(1) in world.gw.run("nft list set inet jitwg scope4").stdout


def test_status_says_what_the_kernel_lacks_and_what_nobody_knows(world):
    """For scripts by its exit code; with no daemon, which would mend it."""
    world.grant(1, [f"tcp {INSIDE}:5432"], not_before="2026-01-01T00:00:00Z")
    world.grant(2, [f"tcp {INSIDE}:5432"], not_before="2026-01-01T00:00:00Z")
    world.start()
    world.wait_open(1, 2)
    world.stop()
    assert world.status()[0] == 0
    world.gw.run("nft flush table inet jitwg")
    world.gw.run(["nft", f"delete element inet jitwg scope4 {{ 10.90.0.1 . {INSIDE} . tcp . 5432 }}"])
    world.gw.run(f"wg set jitwg0 peer {world.keys[2][1]} remove")
    intruder = wg_pair()[1]
    world.gw.run(f"wg set jitwg0 peer {intruder} allowed-ips 10.90.0.9/32")
    code, rows = world.status()
    assert code == 1
    assert [(row["state"], row["session"]) for row in rows] == [
        ("missing", session_id(1)), ("missing", session_id(2)), ("unknown", None)]  # fmt: skip
    assert rows[0]["rx"] == 0 and rows[1]["rx"] is None and rows[1]["first_packet"] is False
    world.gw.run("nft delete table inet jitwg")
    table = world.gw.run([GATEWAY, "status", "--config", world.path("gateway.conf")], check=False)
    assert table.returncode == 1 and table.stdout.count("missing") == 2 and intruder[:12] in table.stdout and not table.stderr
    world.start()
    world.wait_open(1, 2)
    assert world.status()[0] == 0
    world.stop()  # it would make it anew at once
    world.gw.run("ip link del jitwg0")
    code, error = world.status()
    assert code != 0 and "jitwg0" in error["error"]["message"]


@pytest.mark.parametrize("what", ["adopting", "making"])
def test_an_interface_takes_cap_net_admin_alone(what):
    if what == "making" and not IN_KERNEL:
        pytest.skip("SKIPPED: this kernel has no WireGuard; wireguard-go also takes /dev/net/tun, which is root's")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="jitwg-"))  # tmp_path is root's alone
    world = World(directory)
    try:
        world.grant(1, [f"tcp {INSIDE}:5432"])
        program = shutil.copy(GATEWAY, directory)
        subprocess.run(["chown", "-R", "65534:65534", directory], check=True)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
        with_caps = lambda caps: [f"--{kind}={caps}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]  # noqa: E731
        if what == "adopting":
            make_wireguard(world.gw, "jitwg0", *as_nobody, *with_caps("-all,+net_admin,+dac_override"))
        world.start(*as_nobody, *with_caps("-all,+net_admin"), program=program)
        world.wait_open(1)
        world.tunnel(1)
        assert world.reaches("tcp", INSIDE, 5432, 5)
    finally:
        world.close()
        shutil.rmtree(directory)


@pytest.mark.parametrize("mishap, words", [
    ("no key", "wg.key"), ("open key", "wg.key"), ("bad key", "wg.key"), ("no ca", "ca.pub"), ("no pool", "pool"),
])  # fmt: skip
def test_errors_at_start_name_the_file(world, mishap, words):
    if mishap == "no key":
        os.remove(world.path("wg.key"))
    elif mishap == "open key":
        os.chmod(world.path("wg.key"), 0o644)
    elif mishap == "bad key":
        world._write("wg.key", "hello\n")
    elif mishap == "no ca":
        os.remove(world.path("ca.pub"))
    else:
        with open(world.path("gateway.conf")) as f:
            text = f.read()
        world._write("gateway.conf", re.sub("pool = .*\n", "", text))
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0
    assert words in done.stderr, done.stderr


def link_kind(world):
    shown = world.gw.run(["ip", "-json", "-details", "link", "show", "jitwg0"], check=False)
    return json.loads(shown.stdout)[0]["linkinfo"]["info_kind"] if shown.returncode == 0 else None


def set_transport(world, name):
    with open(world.path("gateway.conf"), "a") as f:
        f.write(f"transport = {name}\n")


def test_auto_makes_it_in_the_kernel_where_that_has_wireguard(world):
    world.start()
    assert link_kind(world) == ("wireguard" if IN_KERNEL else "tun")


@pytest.mark.parametrize("chosen", ["kernel", "userspace"])
def test_an_interface_of_the_other_transport_is_refused(world, chosen):
    if chosen == "kernel":
        world.gw.run("ip tuntap add jitwg0 mode tun")
    elif IN_KERNEL:
        make_wireguard(world.gw, "jitwg0")
    else:
        pytest.skip("SKIPPED: this kernel has no WireGuard")
    set_transport(world, chosen)
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0
    assert "interface jitwg0 is" in done.stderr and "transport = auto" in done.stderr, done.stderr


def test_transport_kernel_never_falls_back(world):
    if IN_KERNEL:
        pytest.skip("SKIPPED: this kernel has WireGuard")
    set_transport(world, "kernel")
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0 and "WireGuard" in done.stderr, done.stderr
    assert link_kind(world) is None


def test_an_unknown_transport_is_an_error(world):
    set_transport(world, "quantum")
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0 and "quantum" in done.stderr and "userspace" in done.stderr, done.stderr
