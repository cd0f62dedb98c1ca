"""Packets made by hand, whole and in pieces, from the tunnel and towards it: nothing but the scope passes, and what an
allowed flow needs (fragments, errors) does."""

import itertools
import json
import os
import struct
import subprocess

import pytest

import raw_packets
from gateway_test import INSIDE, INSIDE6, OTHER, PEER, ROOT, World, world  # noqa: F401
from netns import Host, connect, wait_for
from raw_packets import DESTINATION, HOP_BY_HOP, ICMP, ICMP6, ROUTING, UDP, fragments, icmp, ip, packed, tcp, udp

RAW = os.path.join(ROOT, "tests", "support", "raw_packets.py")
ME, ME6, YOU, YOU6 = "10.90.0.1", "fd00:90::1", "10.90.0.2", "fd00:90::2"
PORT, CLOSED = 2101, 2102  # nobody listens on either
SCOPE = [f"udp {INSIDE}:{PORT}", f"udp [{INSIDE6}]:{PORT}", f"tcp {INSIDE}:5432", f"icmp {INSIDE}", f"icmp {INSIDE6}"]
SILENT = """table inet silent {
 chain output {
  type filter hook output priority 0
  icmp type destination-unreachable drop
  icmpv6 type destination-unreachable drop
  tcp flags rst drop
 }
}
"""


class Wire:
    """Sends by hand at one end, and tells what came by at another, up to a packet that surely passes."""

    def __init__(self, host, interface, mac, at, at_interface, proof):
        self.host, self.interface, self.mac, self.proof = host, interface, mac, proof
        self.numbers = itertools.count(1)
        self.watcher = at.popen(["python3", RAW, "watch", at_interface], stdout=subprocess.PIPE)
        assert self.watcher.stdout.readline() == "ready\n"

    def arrives(self, *packets):
        """Those of the bytes b"<<word>>" that came through, in order."""
        proof = b"<<proof %d>>" % next(self.numbers)
        hexes = [packet.hex() for packet in (*packets, self.proof(proof))]
        self.host.run(["python3", RAW, "send", self.interface, self.mac, *hexes])
        seen = b""
        while proof not in seen:
            line = self.watcher.stdout.readline()
            assert line, "what surely passes did not"
            seen += bytes.fromhex(line)
        return seen

    def passes(self, *packets):
        return b"<<this>>" in self.arrives(*packets)

    def close(self):
        self.watcher.kill()
        self.watcher.wait()


@pytest.fixture
def wires(world):  # noqa: F811
    """out: from the person's tunnel to the network inside; back: the other way."""
    for n in (1, 2):
        world.grant(n, SCOPE if n == 1 else [*SCOPE, f"udp {INSIDE}:{CLOSED}", f"udp {OTHER}:{PORT}"])
    world.start()
    world.wait_open(1, 2)
    for n in (1, 2):
        world.tunnel(n)
    for host in (world.person, world.inside):
        host.run(["nft", SILENT])
    mac = json.loads(world.gw.run("ip -json link show lan0").stdout)[0]["address"]
    for n in (1, 2):  # handshakes done, and the neighbours known
        world.person.run(f"ping -c1 -W5 -I jw{n} {INSIDE}")
    world.person.run(f"ping -c1 -W5 -I jw1 {INSIDE6}")
    world.out = Wire(world.person, "jw1", "-", world.inside, "lan0",
                     lambda mark: ip(ME, INSIDE, UDP, udp(ME, INSIDE, 4000, PORT, mark)))  # fmt: skip
    world.back = Wire(world.inside, "lan0", mac, world.person, "jw1",
                      lambda mark: ip(INSIDE, ME, UDP, udp(INSIDE, ME, PORT, 4000, mark)))  # fmt: skip
    assert not world.out.passes(), "the flow that the way back proves itself by"
    yield world
    world.out.close()
    world.back.close()


def datagram(source=ME, to=INSIDE, dport=PORT, data=b"<<this>>", sport=4000):
    return ip(source, to, UDP, udp(source, to, sport, dport, data))


def long(source, to, dport, size=2400):
    return udp(source, to, 4000, dport, b"<<this>>" * (size // 8))


def families():
    return (ME, INSIDE), (ME6, INSIDE6)


def test_in_pieces(wires):
    out = wires.out
    idents = itertools.count(100)
    for me, inside in families():
        cut = lambda data, *starts: fragments(me, inside, UDP, data, *starts, ident=next(idents))  # noqa: E731
        assert out.passes(datagram(me, inside)), "whole"
        assert out.passes(*cut(long(me, inside, PORT), 1200)), "in two"
        assert out.passes(*reversed(cut(long(me, inside, PORT), 800, 1600))), "the last first"
        assert out.passes(*cut(long(me, inside, PORT), 8, 1208)), "nothing but its ports in the first"
        assert not out.passes(*cut(long(me, inside, CLOSED), 1200)), "another port"
        assert not out.passes(cut(long(me, inside, PORT), 1200)[0]), "the first alone"
        assert not out.passes(cut(long(me, inside, PORT), 1200)[1]), "a later one alone"
        # Another first piece has other ports: the one that came first counts, and one that overlaps spoils all.
        ident, whole, other = next(idents), long(me, inside, PORT), long(me, inside, CLOSED)
        first, false = (fragments(me, inside, UDP, data, 1200, ident=ident) for data in (whole, other))
        assert not out.passes(false[0], first[0], first[1]), "the first piece twice"
        ident = next(idents)
        first, over = fragments(me, inside, UDP, whole, 1200, ident=ident), fragments(me, inside, UDP, other, 8, 1208, ident=ident)
        assert not out.passes(first[0], over[1], first[1]), "overlapping"
    tiny = udp(ME, INSIDE, 4000, PORT, b"<<this>>")
    assert not out.passes(ip(ME, INSIDE, UDP, tiny[:4], fragment=0x2000, ident=77), ip(ME, INSIDE, UDP, tiny[8:], fragment=1, ident=77))


def test_answers_in_pieces(wires):
    assert wires.back.passes(*fragments(INSIDE, ME, UDP, udp(INSIDE, ME, PORT, 4000, b"<<this>>" * 300), 1200))
    assert not wires.out.passes(*fragments(YOU, INSIDE, UDP, long(YOU, INSIDE, PORT), 1200)), "of somebody else's flow"
    assert not wires.back.passes(*fragments(INSIDE, ME, UDP, udp(INSIDE, ME, CLOSED, 4000, b"<<this>>" * 300), 1200))


def extended(to, *headers, dport=PORT, protocol=UDP):
    """headers: (its number, the bytes after next header), each a multiple of eight long with it."""
    data, following = udp(ME6, to, 4000, dport, b"<<this>>"), protocol
    for number, rest in reversed(headers):
        data, following = bytes([following]) + rest + data, number
    return ip(ME6, to, following, data)


PADDING = bytes([0, 1, 4]) + bytes(4)  # a PadN option


def routing(kind, via=INSIDE6):
    return ROUTING, bytes([2, kind, 1, 0, 0, 0, 0]) + packed(via)


def test_extension_headers_hide_nothing(wires):
    out = wires.out
    assert out.passes(extended(INSIDE6))
    for headers in ([(DESTINATION, PADDING)], [(HOP_BY_HOP, PADDING)], [(HOP_BY_HOP, PADDING), (DESTINATION, PADDING)]):
        assert out.passes(extended(INSIDE6, *headers)), "the same flow"
        assert not out.passes(extended(INSIDE6, *headers, dport=CLOSED)), headers
    # A host in scope could pass these on to one that is not.
    for kind in (0, 2, 3, 4, 253):
        assert not out.passes(extended(INSIDE6, routing(kind))), f"routing header {kind}"
        assert not out.passes(extended(INSIDE6, (DESTINATION, PADDING), routing(kind))), f"routing header {kind}, later"
    authentication = 51, bytes([4]) + bytes(22)
    assert not out.passes(extended(INSIDE6, authentication, dport=CLOSED))
    assert not out.passes(extended(INSIDE6, protocol=59)), "no next header"
    assert not out.passes(extended(INSIDE6, *[(DESTINATION, PADDING)] * 20, dport=CLOSED))
    atomic = fragments(ME6, INSIDE6, UDP, udp(ME6, INSIDE6, 4000, CLOSED, b"<<this>>"))
    assert not out.passes(*atomic)
    body = bytes([UDP, 0, 1, 4, 0, 0, 0, 0]) + udp(ME6, INSIDE6, 4000, CLOSED, b"<<this>>" * 9)
    assert not out.passes(*fragments(ME6, INSIDE6, DESTINATION, body, 8)), "the first piece ends before the ports"


def test_ip_options(wires):
    data = udp(ME, INSIDE, 4000, PORT, b"<<this>>")
    for name, number in (("loose source route", 131), ("strict source route", 137), ("record route", 7)):
        option = bytes([number, 7, 4]) + packed(OTHER) + b"\0"
        assert not wires.out.passes(ip(ME, INSIDE, UDP, data, options=option)), name


def test_other_protocols(wires):
    ports = struct.pack("!2H", 4000, PORT)
    inner = ip(ME, OTHER, UDP, udp(ME, OTHER, 4000, CLOSED, b"<<this>>"))
    inner6 = ip(ME6, INSIDE6, UDP, udp(ME6, INSIDE6, 4000, CLOSED, b"<<this>>"))
    for name, number, data in (
        ("IP in IP", 4, inner), ("IPv6 in IP", 41, inner6), ("GRE", 47, bytes([0, 0, 8, 0]) + inner), ("GRE, bare", 47, b"<<this>>"),
        ("ESP", 50, ports + b"<<this>>"), ("AH", 51, bytes([UDP, 4]) + bytes(22) + udp(ME, INSIDE, 4000, PORT, b"<<this>>")),
        ("SCTP", 132, ports + bytes(8) + b"<<this>>"), ("DCCP", 33, ports + bytes(12) + b"<<this>>"),
        ("UDP-Lite", 136, ports + bytes(4) + b"<<this>>"), ("OSPF", 89, ports + b"<<this>>"), ("IGMP", 2, ports + b"<<this>>"),
        ("none", 255, ports + b"<<this>>"),
    ):  # fmt: skip
        assert not wires.out.passes(ip(ME, INSIDE, number, data)), name
        assert not wires.out.passes(ip(ME6, INSIDE6, number, data)), name + " over IPv6"
    for kind in (0, 5, 9, 13, 15, 17, 42):  # all but the echo request
        assert not wires.out.passes(ip(ME, INSIDE, ICMP, icmp(ME, INSIDE, kind, 0, 1, b"<<this>>"))), f"ICMP {kind}"
    for kind in (129, 130, 133, 134, 135, 136, 137, 139):
        assert not wires.out.passes(ip(ME6, INSIDE6, ICMP6, icmp(ME6, INSIDE6, kind, 0, 1, b"<<this>>"), ttl=255)), f"ICMPv6 {kind}"
    assert wires.out.passes(ip(ME, INSIDE, ICMP, icmp(ME, INSIDE, 8, 0, 1, b"<<this>>")))
    assert wires.out.passes(ip(ME6, INSIDE6, ICMP6, icmp(ME6, INSIDE6, 128, 0, 1, b"<<this>>")))


def test_addresses_that_are_none_of_ones_own(wires):
    out = wires.out
    for source in (YOU, "10.90.0.77", "10.60.10.1", INSIDE, "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"):
        assert not out.passes(datagram(source)), source
    for source in (YOU6, "fd00:90::77", "fd00:60::1", "::1", "::", "fe80::1", "ff02::1", f"::ffff:{ME}"):
        assert not out.passes(datagram(source, INSIDE6)), source
    for to in (OTHER, "10.60.10.255", "255.255.255.255", "224.0.0.1", "239.1.1.1", "169.254.1.1", "127.0.0.1", "0.0.0.0", YOU, ME):
        assert not out.passes(datagram(ME, to)), to
    for to in ("ff02::1", "ff05::2", "fe80::1", "::1", "::", f"::ffff:{INSIDE}", YOU6, "2002:0a3c:0a14::1"):
        assert not out.passes(datagram(ME6, to)), to


def test_neighbour_discovery_on_the_tunnel_changes_nothing(wires):
    before = wires.gw.run("ip -6 neigh show dev jitwg0").stdout, wires.gw.run("ip -6 route").stdout, wires.gw.run("ip -6 addr").stdout
    prefix = bytes([3, 4, 64, 0xC0]) + struct.pack("!3I", 9999, 9999, 0) + packed("2001:db8::")
    for to in ("ff02::1", "fd00:60::1", "fe80::1"):
        for kind, data in ((133, b""), (134, struct.pack("!2I", 0, 0) + prefix), (135, packed(INSIDE6)), (136, packed(INSIDE6)), (137, packed(INSIDE6) * 2)):
            wires.out.arrives(ip(ME6, to, ICMP6, icmp(ME6, to, kind, 0, 0, data), ttl=255))
    after = wires.gw.run("ip -6 neigh show dev jitwg0").stdout, wires.gw.run("ip -6 route").stdout, wires.gw.run("ip -6 addr").stdout
    assert before == after


def test_nobody_inside_begins_anything(wires):
    back = wires.back
    assert back.passes(datagram(INSIDE, ME, 4000, sport=PORT)), "the answer"
    assert not back.passes(datagram(INSIDE, ME, 4001, sport=PORT)), "to a port that did not ask"
    assert not back.passes(datagram(OTHER, ME, 4000, sport=PORT)), "from another host"
    assert not back.passes(datagram(INSIDE, ME, 4000, sport=CLOSED)), "from another port"
    assert not back.passes(datagram(INSIDE6, ME6, 4000, sport=PORT)), "in the other family"
    for flags in (0x02, 0x12, 0x10, 0x04, 0x01, 0x29, 0x00):  # SYN, SYN ACK, ACK, RST, FIN, all, none
        assert not back.passes(ip(INSIDE, ME, 6, tcp(INSIDE, ME, 5432, 4000, flags, b"<<this>>"))), flags
    for kind in (0, 8, 13):
        assert not back.passes(ip(INSIDE, ME, ICMP, icmp(INSIDE, ME, kind, 0, 9, b"<<this>>"))), kind
    for kind in (128, 129, 134, 135, 137):
        assert not back.passes(ip(INSIDE6, ME6, ICMP6, icmp(INSIDE6, ME6, kind, 0, 9, b"<<this>>"), ttl=255)), kind
    for number in (4, 41, 47, 50, 132):
        assert not back.passes(ip(INSIDE, ME, number, b"<<this>>"))


def test_inner_addresses_come_from_the_tunnel_alone(wires):
    """Somebody inside with a person's address, by the gateway to others and back to its own network."""
    mac = wires.back.mac
    echo = Wire(wires.inside, "lan0", mac, wires.inside, "lan0",
                lambda mark: ip("10.60.10.40", OTHER, UDP, udp("10.60.10.40", OTHER, 1, 2, mark)))  # fmt: skip
    wires.gw.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan0.rp_filter=0 net.ipv4.conf.all.send_redirects=0")
    assert echo.passes(datagram("10.60.10.41", OTHER)), "a router like any other"
    for source in (ME, YOU, "10.90.200.1"):
        assert not echo.passes(datagram(source, OTHER)), source
        assert not echo.passes(datagram(source, INSIDE)), source
    assert not echo.passes(datagram(ME6, INSIDE6))
    assert not wires.back.passes(datagram(YOU, ME)), "nor as one person to another"
    # Its own services do not believe it either.
    own = wires.gw.popen(["python3", PEER, "serve", "2222"], stdout=subprocess.PIPE)
    assert own.stdout.readline() == "ready\n"
    wires.back.arrives(datagram(ME, "10.60.10.1", 2222))
    assert "4000" not in wires.gw.run("conntrack -L -p udp --dport 2222", check=False).stdout
    own.kill()
    own.wait()
    echo.close()


def test_a_renamed_interface_lets_nothing_through(wires):
    """Rules that know it by its name alone would let all of it through."""
    wires.gw.run("ip link set jitwg0 down")
    wires.gw.run("ip link set jitwg0 name other0")
    wires.gw.run("ip link set other0 up")
    wires.gw.run("ip route replace 10.90.0.0/16 dev other0")
    wires.person.run(["python3", RAW, "send", "jw1", "-", *(datagram(ME, to, port).hex() for to in (INSIDE, OTHER) for port in (PORT, CLOSED))])
    assert not wires.reaches("tcp", INSIDE, 5433, 1) and not wires.reaches("tcp", "10.60.10.1", 22, 0.5)
    listing = wires.gw.run("nft list chain inet jitwg forward").stdout
    assert int(listing.split("ip saddr 10.90.0.0/16 counter packets ")[1].split()[0]) >= 4, listing


def error(source, to, kind, code, quoted, rest=0):
    return ip(source, to, ICMP6 if ":" in source else ICMP, icmp(source, to, kind, code, rest, quoted))


ERRORS = {4: ((3, 0, 0), (3, 1, 0), (3, 3, 0), (3, 4, 1300), (3, 13, 0), (11, 0, 0), (12, 0, 0)),
          6: ((1, 0, 0), (1, 4, 0), (2, 0, 1300), (3, 0, 0), (4, 0, 0))}  # fmt: skip


def test_errors_of_live_flows_pass_and_no_others(wires):
    good, bad = {}, {}  # what it is -> the packet, which has that in it

    def add(to, family, source, me, kind, quoted, why):
        what = f"<<{why}: ICMP {kind[:2]} from {source}>>"
        to[what] = error(source, me, *kind[:2], quoted(what.encode()), kind[2])

    for family, me, you, inside, other, router, number, request, redirect in (
        (4, ME, YOU, INSIDE, OTHER, "10.60.10.99", ICMP, 8, (5, 1, 0)),
        (6, ME6, YOU6, INSIDE6, "fd00:60::30", "fd00:60::99", ICMP6, 128, (137, 0, 0)),
    ):
        datagrams = lambda source, to, sport, dport=PORT: lambda data: ip(source, to, UDP, udp(source, to, sport, dport, data))  # noqa: E731
        echo = lambda source, ident: lambda data: ip(source, inside, number, icmp(source, inside, request, 0, ident, data))  # noqa: E731
        wires.out.arrives(datagrams(me, inside, 4000)(b"x"), echo(me, 0x70001)(b"x" * 8))
        for quoted, why in ((datagrams(me, inside, 4000), "UDP"), (echo(me, 0x70001), "echo")):
            for kind in ERRORS[family]:
                add(good, family, inside, me, kind, quoted, why)
                add(good, family, router, me, kind, quoted, why)
            add(bad, family, router, me, redirect, quoted, "a redirect")
            add(bad, family, router, you, ERRORS[family][0], quoted, "to another person")
        for quoted, why in ((datagrams(me, inside, 4001), "never sent"), (datagrams(me, other, 4000), "to nobody in scope"),
                            (datagrams(me, inside, 4000, CLOSED), "port out of scope"), (echo(me, 0x80001), "never asked"),
                            (datagrams(you, inside, 4000), "another person's"), (echo(you, 0x70001), "another's echo")):  # fmt: skip
            for kind in ERRORS[family]:
                add(bad, family, router, me, kind, quoted, why)
    seen = wires.back.arrives(*good.values(), *bad.values())
    assert [what for what in good if what.encode() not in seen] == []
    assert [what for what in bad if what.encode() in seen] == []


def test_errors_from_the_persons_machine(wires):
    for me, inside, other in ((ME, INSIDE, OTHER), (ME6, INSIDE6, "fd00:60::30")):
        family = 6 if ":" in me else 4
        wires.out.arrives(datagram(me, inside))
        answer = ip(inside, me, UDP, udp(inside, me, PORT, 4000, b"<<this>>"))
        for kind, code, rest in ERRORS[family]:
            assert wires.out.passes(error(me, inside, kind, code, answer, rest)), "of its own flow"
            assert not wires.out.passes(error(me, other, kind, code, answer, rest)), "to somebody else"
    # Session 2 reaches the same port: still it says nothing about session 1's flow.
    second = Wire(wires.person, "jw2", "-", wires.inside, "lan0",
                  lambda mark: ip(YOU, INSIDE, UDP, udp(YOU, INSIDE, 4000, PORT, mark)))  # fmt: skip
    answer = ip(INSIDE, ME, UDP, udp(INSIDE, ME, PORT, 4000, b"<<this>>"))
    own = ip(INSIDE, YOU, UDP, udp(INSIDE, YOU, PORT, 4000, b"<<this>>"))
    second.arrives()
    assert second.passes(error(YOU, INSIDE, 3, 3, own))
    for kind, code, rest in ERRORS[4]:
        assert not second.passes(error(YOU, INSIDE, kind, code, answer, rest)), "about another person's flow"
    second.close()


def test_errors_end_with_the_session(wires):
    quoted = ip(ME, INSIDE, UDP, udp(ME, INSIDE, 4000, PORT, b"<<this>>"))
    assert wires.back.passes(error(INSIDE, ME, 3, 3, quoted))
    wires.stop()
    # Only the element goes; peer and conntrack entry stay, as when it times out with the daemon dead.
    wires.gw.run(["nft", f"delete element inet jitwg scope4 {{ {ME} . {INSIDE} . udp . {PORT} }}"])
    wires.back.proof = lambda mark: ip(INSIDE, ME, ICMP, icmp(INSIDE, ME, 0, 0, 0x70001, mark))
    wires.person.run(["python3", RAW, "send", "jw1", "-", ip(ME, INSIDE, ICMP, icmp(ME, INSIDE, 8, 0, 0x70001, b"x")).hex()])
    assert not wires.back.passes(error(INSIDE, ME, 3, 3, quoted), error("10.60.10.99", ME, 3, 4, quoted, 1300))
    answer = ip(INSIDE, ME, UDP, udp(INSIDE, ME, PORT, 4000, b"<<this>>"))
    wires.out.proof = lambda mark: ip(ME, INSIDE, ICMP, icmp(ME, INSIDE, 8, 0, 0x70001, mark))
    assert not wires.out.passes(error(ME, INSIDE, 3, 3, answer))


FAR, FAR6 = "10.62.0.20", "fd00:62::20"


@pytest.fixture
def beyond(world):  # noqa: F811
    """Behind the gateway another router, and behind that a link that takes less."""
    router, far = Host("router"), Host("far")
    connect(world.gw, ["10.61.0.1/24", "fd00:61::1/64"], router, ["10.61.0.2/24", "fd00:61::2/64"], "lan2")
    connect(router, ["10.62.0.1/24", "fd00:62::1/64"], far, [f"{FAR}/24", f"{FAR6}/64"], "lan3")
    for host in (router, far):
        host.run("ip link set lan3 mtu 1300")
    router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for way, gateway, hosts in (("10.62.0.0/24", "10.61.0.2", [world.gw]), ("fd00:62::/64", "fd00:61::2", [world.gw]),
                                ("10.90.0.0/16", "10.61.0.1", [router]), ("fd00:90::/64", "fd00:61::1", [router]),
                                ("default", "10.62.0.1", [far]), ("fd00:90::/64", "fd00:62::1", [far])):  # fmt: skip
        for host in hosts:
            host.run(f"ip route add {way} via {gateway}")
    service = far.popen(["python3", PEER, "serve", "2001", "5432"], stdout=subprocess.PIPE)
    assert service.stdout.readline() == "ready\n"
    world.grant(1, ["icmp 10.62.0.0/24", "icmp fd00:62::/64", f"udp {FAR}:2001", f"udp [{FAR6}]:2001",
                    "tcp 10.62.0.0/24:5432", "tcp [fd00:62::/64]:5432"])  # fmt: skip
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    world.person.run(f"ip route add 10.62.0.0/24 dev jw1 src {ME}")
    world.person.run(f"ip -6 route add fd00:62::/64 dev jw1 src {ME6}")
    wait_for(lambda: world.pings(FAR) and world.pings(FAR6), "the far end")
    yield world
    for host in (router, far):
        host.close()
    service.wait(10)


LEARN = """
import socket, sys, time
six = ':' in sys.argv[1]
level, discover, mtu = (41, 23, 24) if six else (0, 10, 14)
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(level, discover, 2); s.connect((sys.argv[1], 2001)); s.settimeout(0.1)
for _ in range(30):
    try: s.send(b'x' * 1330)
    except OSError: pass
    if s.getsockopt(level, mtu) == 1300: sys.exit(0)
    time.sleep(0.1)
sys.exit(1)"""
BULK = """
import socket, sys
s = socket.create_connection((sys.argv[1], 5432), 10)
for _ in range(20):
    s.sendall(b'x' * 2000)
    left = 2000
    while left: left -= len(s.recv(left)) or sys.exit(1)"""


@pytest.mark.parametrize("far", [FAR, FAR6])
def test_errors_on_the_way_are_heard(beyond, far):
    assert beyond.person.run(["python3", "-c", LEARN, far], check=False).returncode == 0, "the path's MTU, for UDP"
    assert beyond.person.run(["python3", "-c", BULK, far], check=False).returncode == 0, "and for TCP"
    ping = lambda *words: beyond.person.run(["ping", "-n", "-c2", "-W1", *words], check=False).stdout  # noqa: E731
    beyond.person.run("ip route flush cache")
    beyond.person.run("ip -6 route flush cache")
    said = ping("-M", "do", "-s", "1330", far)
    assert "mtu = 1300" in said or "mtu=1300" in said, said
    said = ping("-t", "2", far)
    assert "10.61.0.2" in said or "fd00:61::2" in said and "exceeded" in said, said
    said = ping("-c5", "10.62.0.99" if far == FAR else "fd00:62::99")
    assert "nreachable" in said, said
