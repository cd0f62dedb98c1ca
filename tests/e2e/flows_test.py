"""What a tunnel carries, and that it stops: TCP, UDP and ping, by IPv4 and IPv6, through the whole system in a lab.

Each session has six flows at once, to the one database that it may reach. Whether they go on or stop is told by when
the last answer came; that nothing forbidden passes, by what every host of the network has seen arrive.
"""

import calendar
import json
import time
from pathlib import Path

import pytest

from access_test import approved, show, up, wait_state
from labs import CHECKOUT, EMULATED, PATIENCE, Lab, wait_for

DB, JUMP = ("10.60.10.20", "fd00:60::10:20"), "10.60.0.5"
POOLS = ("10.90.0.0/16", "fd00:90::/64")
PEER = Path(CHECKOUT, "tests/support/flow_peer.py").read_text()
ECHO = Path(CHECKOUT, "contrib/lib/lab/echo_service.py").read_text()
EVERY = 0.05 if EMULATED else 0.02
DAEMONS = (("broker", "jitwg-signer"), ("broker", "jitwgd"), ("gw", "jitwg-gateway"), ("jump", "jitwg-hostd"))
# How long after the broker's record of a revocation the last answer may come: it takes milliseconds, and the rest is for
# two busy processors.
CUT_WITHIN = 1.0 if EMULATED else 0.25


@pytest.fixture(scope="module")
def lab(_possible):
    made = Lab()
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def start(lab):
    """Starts programs that answer on stdout to lines on stdin; all end with the test."""
    running = []

    def begin(host, *words, as_=None):
        running.append(lab.popen(host, *words, as_=as_))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def ask(process, line=""):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    said = process.stdout.readline()
    assert said, process.stderr.read()
    return json.loads(said)


def ready(process):
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def addresses(lab, session, person):
    return [prefix.split("/")[0] for prefix in show(lab, session, person)["address"]]


def dual(lab, person, duration="10m"):
    """A live session with its interface up."""
    return up(lab, approved(lab, target="db-dual", duration=duration, person=person), person)


class Flows:
    """The six of one session, going on until the test ends."""

    def __init__(self, lab, start, person, session):
        self.session, self.person, self.addresses = session, person, addresses(lab, session, person)
        specs = []
        for version, source, to in zip("46", self.addresses, DB):
            for kind, port in (("tcp", 5432), ("udp", 5433), ("ping", None)):
                specs.append([kind + version, kind, source, to, port, EVERY])
        self._process = ready(start("person", "python3", "-c", PEER, "talk", json.dumps(specs), as_=person))

    def report(self):
        return ask(self._process)

    def last(self):
        """When the last answer came, of each."""
        return {name: flow["got"][-1][1] for name, flow in self.report().items()}

    def all_go_on(self):
        """New answers on all six from now on."""
        now = time.monotonic()
        wait_for(lambda: min(self.last().values()) > now, f"all flows of {self.session} to go on: {self.last()}")

    def lost(self, since):
        """The messages since then that had no answer within a second."""
        until, lost = time.monotonic() - 1, {}
        for name, flow in self.report().items():
            had = {number for number, _ in flow["got"]}
            lost[name] = [n for n, when in enumerate(flow["sent"]) if since <= when <= until and n not in had]
        return {name: numbers for name, numbers in lost.items() if numbers}

    def stopped(self, told, within=CUT_WITHIN):
        """Seconds from `told` to the last answer of each; all have ended within so many, and stay so."""
        time.sleep(max(0, told + within - time.monotonic()))
        time.sleep(0.6)
        after = {name: round(last - told, 4) for name, last in self.last().items()}
        assert max(after.values()) <= within, f"the last answers came {after} s after it was over"
        return after


def opened(lab, start, person, duration="10m"):
    flows = Flows(lab, start, person, dual(lab, person, duration))
    flows.all_go_on()
    return flows


def told(lab, person, *words):
    """Runs jitwg; when it had come back. By then it is over."""
    done = lab.jitwg(person, *words)
    assert done.returncode == 0, done.stderr
    return time.monotonic()


def last_seen(sniffer, flows):
    """When the last packet of this session came in there."""
    return max(last for _, way, source, *_, last in ask(sniffer) if way == "in" and source in flows.addresses)


def check_cut(lab, flows, over):
    flows.stopped(over)
    (record,) = lab.wait_journal("broker", "JITWG_EVENT=session.closing", f"JITWG_SESSION_ID={flows.session}")
    began = int(record["__REALTIME_TIMESTAMP"]) / 1e6 - time.time() + time.monotonic()
    took = {name: round((last - began) * 1000, 1) for name, last in flows.last().items()}
    print(f"{record['MESSAGE']}: last answers {took} ms after this record")
    assert max(took.values()) <= CUT_WITHIN * 1000


def check_closed(lab, flows, reason):
    closed = wait_state(lab, flows.session, "closed", PATIENCE, flows.person)
    assert closed["close_reason"] == reason
    gateway, jump = closed["evidence"]["gw1"], closed["evidence"]["jump1"]
    assert gateway == gateway | {"result": "verified", "peer": False, "elements": 0, "flows": 0}
    assert jump == jump | {"result": "verified", "processes": 0}
    events = [e["JITWG_EVENT"] for e in lab.wait_journal("gw", f"JITWG_SESSION_ID={flows.session}")]
    assert [e for e in events if e in ("tunnel.opened", "tunnel.closed")] == ["tunnel.opened", "tunnel.closed"]


@pytest.fixture
def ends(lab):
    """Sessions that the test leaves open are given back."""
    yield
    for person in ("alice", "bob"):
        for session in lab.jitwg_json(person, "list")[1]:
            if session["state"] == "active" and session["person"] == person:
                lab.jitwg(person, "return", session["session"])


def test_a_revocation_stops_all_flows_of_its_session_and_of_no_other(lab, start, ends):
    at_db, at_gateway = (ready(start(host, "python3", "-c", PEER, "sniff", *POOLS)) for host in ("db", "gw"))
    alice, bob = opened(lab, start, "alice"), opened(lab, start, "bob")
    began = time.monotonic()
    over = told(lab, "carol", "revoke", alice.session, "--reason", "enough", "--yes")
    check_cut(lab, alice, over)
    assert last_seen(at_db, alice) - over <= CUT_WITHIN
    # Both sides go on sending, and nothing leaves the gateway again. (The kernel's WireGuard drops the person's packets
    # before they come in by anything, and the target soon falls silent.)
    late = [row for row in ask(at_gateway) if set(row[2:4]) & set(alice.addresses) and row[-1] > over + CUT_WITHIN]
    assert {row[1] for row in late} <= {"in"}, late
    assert late or EMULATED
    bob.all_go_on()
    assert bob.lost(began - 1) == {}
    check_closed(lab, alice, "revoked")


@pytest.mark.parametrize("what", ["person", "target", "node"])
def test_a_lock_stops_all_flows_and_lets_nothing_new_open(lab, start, ends, what):
    subject = {"person": ["alice"], "target": ["--target", "db-dual"], "node": ["--node", "gw1"]}[what]
    alice = opened(lab, start, "alice")
    waiting = approved(lab, target="db-dual")
    over = told(lab, "carol", "lock", *subject, "--reason", "laptop stolen", "--yes")
    try:
        check_cut(lab, alice, over)
        assert lab.jitwg("alice", "up", waiting, "--detach").returncode != 0
        code, answer = lab.jitwg_json("alice", "request", "db-dual", "--reason", "again")
        if code == 0:  # it may be asked for; it is not opened
            lab.jitwg("carol", "approve", answer["session"], "--yes")
            code, answer = lab.jitwg_json("alice", "activate", answer["session"])
        assert code in (3, 5), answer
        check_closed(lab, alice, "locked")
    finally:
        told(lab, "carol", "unlock", *subject, "--reason", "found again", "--yes")


def test_closing_the_incident_stops_all_flows_of_its_sessions(lab, start, ends):
    opening = lab.jitwg_json("carol", "incident", "open", "db-dual", "--reason", "INC-7", "--for", "1h", "--yes")[1]
    code, asked = lab.jitwg_json("bob", "request", "db-dual", "--reason", "INC-7", "--for", "10m", "--incident", opening["incident"])
    assert code == 0, asked
    bob = Flows(lab, start, "bob", up(lab, asked["session"], "bob"))
    bob.all_go_on()
    over = told(lab, "carol", "incident", "close", opening["incident"], "--reason", "over", "--yes")
    check_cut(lab, bob, over)
    check_closed(lab, bob, "incident_closed")


def test_with_every_daemon_killed_all_flows_end_on_the_second(lab, start, ends):
    alice = opened(lab, start, "alice", "60s" if EMULATED else "16s")
    text = show(lab, alice.session)["not_after"]
    over = calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.time() + time.monotonic()
    try:
        for host, daemon in DAEMONS:
            lab.kill(host, daemon)
        assert time.monotonic() < over - 2, "killed too late to show anything"
        alice.all_go_on()
        programs = {host: about["programs"] for host, about in lab.status()["hosts"].items()}
        assert not [d for d in DAEMONS if programs[d[0]][d[1]]["alive"]]
        after = alice.stopped(over, 1.0)
        print(f"last answers after not_after: {after}")
        assert min(after.values()) >= -1.0
        assert "jitwg0" in lab.exec("gw", "ip", "link").stdout, "the tunnel itself is still there"
    finally:
        for host, daemon in DAEMONS:
            lab.start(host, daemon)
    check_closed(lab, alice, "expired")


# ---- what nobody is let through to ----

HOSTS = {  # name: its addresses, IPv4 and IPv6, that are not her own
    "db": DB, "other": ("10.60.10.30", "fd00:60::10:30"), "jump": (JUMP, "fd00:60::5"), "jump2": ("10.60.0.6", "fd00:60::6"),
    "broker": ("10.60.0.2", "fd00:60::2", "192.0.2.5", "2001:db8:2::5"),
    "gw2": ("10.60.0.3", "fd00:60::3", "192.0.2.11", "2001:db8:2::11"),
}  # fmt: skip
GATEWAY = ("10.60.0.1", "fd00:60::1", "192.0.2.10", "2001:db8:2::10")
OTHER_PROTOCOLS = ("sctp", "udplite", "gre", "esp")
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136, "gre": 47, "esp": 50, "ipip": 4, "ip6ip6": 41, "icmp": 1, "icmp6": 58}
ECHO_REQUEST, TIMESTAMP, NODE_INFORMATION = {4: 8, 6: 128}, 13, 139


def allowed(own):
    for source, to in zip(own, DB):
        yield from (["tcp", source, to, 5432], ["udp", source, to, 5433], ["ping", source, to, 0])
    yield ["tcp", own[0], JUMP, 22]


def forbidden(own, of_bob):
    """[protocol, from, to, port]: each one would arrive, did the gateway not stop it."""
    to_all = [*(("tcp", port) for port in (22, 443, 5432, 5433, 7443, 8080)), *(("udp", port) for port in (53, 5432, 5433, 51820)), ("ping", 0)]
    let = list(allowed(own))
    for to in (*(a for each in HOSTS.values() for a in each), *GATEWAY, *of_bob):
        source = own[":" in to]
        for protocol, port in to_all:
            if [protocol, source, to, port] not in let:
                yield [protocol, source, to, port]
        if to in (*DB, *of_bob):
            yield from ([protocol, source, to, 5432] for protocol in OTHER_PROTOCOLS)
            yield ["ip6ip6" if ":" in to else "ipip", source, to, 0]
            yield ["icmp6", source, to, NODE_INFORMATION] if ":" in to else ["icmp", source, to, TIMESTAMP]


def unanswerable(own):
    """What a router answers by itself, with an ICMP error from an address of its own, before its firewall sees it."""
    for source, to, nowhere in zip(own, DB, ("198.51.100.1", "2001:db8:ffff::1")):
        yield from (["ttl1", source, to, 9], ["udp", source, nowhere, 9])


def on_the_wire(probes):
    """(from, to, protocol number, port), as sniffers say it."""
    for protocol, source, to, port in probes:
        version = 6 if ":" in to else 4
        if protocol == "ping":
            protocol, port = ("icmp6" if version == 6 else "icmp"), ECHO_REQUEST[version]
        yield source, to, PROTOCOL_NUMBERS[protocol], 0 if protocol in ("gre", "esp", "ipip", "ip6ip6") else port


class Hostile:
    """A person's tunnel in the hands of somebody who sends whatever they like through it: in a network of its own, so that
    the two people of this workstation meet at the gateway alone, with every address allowed at this end."""

    def __init__(self, lab, start, person, *words):
        self.lab, self.session = lab, dual(lab, person)
        self.addresses = addresses(lab, self.session, person)
        self.process = start("person", "unshare", "--net", "sh", "-c", 'echo $$; exec "$@"', "sh", *words)
        self._pid = self.process.stdout.readline().strip()
        interface = f"jw-{self.session[-8:]}"
        lab.exec("person", "ip", "link", "set", interface, "netns", self._pid)
        self.inside("sh", "-ec", """
            echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range
            ip link set lo up; ip link set $1 up; ip address add $2 dev $1; ip address add $3 dev $1 nodad
            ip route add default dev $1; ip -6 route add default dev $1
            wg set $1 peer $(wg show $1 peers) allowed-ips 0.0.0.0/0,::/0""", "sh", interface, *self.addresses)  # fmt: skip

    def net(self):
        return ["nsenter", f"--net=/proc/{self._pid}/ns/net", "--"]

    def inside(self, *words):
        return self.lab.exec("person", *self.net(), *words)


@pytest.mark.alone  # thousands of packets, each to be caught
def test_only_the_scope_is_let_through(lab, start, ends):
    """First as it is, then with the gateway's chains out of the way: what did not arrive would have."""
    sniff = ["python3", "-c", PEER, "sniff", *POOLS]
    bob = Hostile(lab, start, "bob", "python3", "-c", ECHO, "bob", "22", "5432", "5433")
    alice = Hostile(lab, start, "alice", "python3", "-c", PEER, "probe")
    ready(alice.process)
    start("gw", "python3", "-c", ECHO, "gw", "22", "53", "8080")
    at = {host: ready(start(host, *sniff)) for host in (*HOSTS, "gw")}
    at["bob"] = ready(start("person", *bob.net(), *sniff))
    at["alice"] = ready(start("person", *alice.net(), *sniff))
    let, not_let = list(allowed(alice.addresses)), list(forbidden(alice.addresses, bob.addresses))
    errors = list(unanswerable(alice.addresses))

    def send(wait, probes):
        return ask(alice.process, json.dumps([wait, probes]))

    def seen():
        """What has come in from her, by host; what the gateway itself sent her, and all that came to her."""
        rows = {host: [row for row in ask(sniffer) if set(alice.addresses) & set(row[2:4])] for host, sniffer in at.items()}
        came = {host: {tuple(row[2:6]) for row in rows[host] if row[1] == "in" and row[2] in alice.addresses} for host in (*HOSTS, "bob")}
        by_gateway = {tuple(row[2:6]) for row in rows["gw"] if row[:2] == ["jitwg0", "out"] and row[2] in GATEWAY}
        return came, by_gateway, {row[2] for row in rows["alice"] if row[1] == "in"}

    wait_for(lambda: len(send(2, let)) == len(let), "what is allowed to answer")
    assert send(0.5, errors + not_let) == []  # errors first: routers send few of them
    assert len(send(PATIENCE, let)) == len(let)  # sent last: all before it has been dealt with
    came, by_gateway, answered = seen()
    expected = set(on_the_wire(let))
    assert {host: what for host, what in came.items() if what} == {
        "db": {each for each in expected if each[1] in DB}, "jump": {each for each in expected if each[1] == JUMP}}  # fmt: skip
    assert by_gateway == set() and answered == {*DB, JUMP}

    lab.kill("gw", "jitwg-gateway")
    try:
        for sniffer in at.values():
            ask(sniffer, "forget")
        for chain in ("forward", "input", "output"):
            lab.exec("gw", "nft", "insert", "rule", "inet", "jitwg", chain, "accept")
        send(1, errors)
        _, _, answered = seen()
        answers = send(3, not_let)
        came, by_gateway, _ = seen()
    finally:
        lab.start("gw", "jitwg-gateway")
    wanted = set(on_the_wire(not_let))
    arrived = {each for what in came.values() for each in what}
    assert {each for each in wanted if each[1] not in GATEWAY} - arrived == set()
    for to in (*GATEWAY, *bob.addresses):
        own = alice.addresses[":" in to]
        assert all([*what, 22 if what[0] == "tcp" else 0] in answers for what in (["tcp", own, to], ["ping", own, to])), to
    assert by_gateway and {":" in each for each in answered & set(GATEWAY)} == {False, True}
    wait_for(lambda: send(0.5, not_let) == [], "the gateway to have its chains back")
