"""Whatever dies or is moved under a gateway: itself by SIGKILL, its machine, its interface, its table, the broker, the clock.

Within 2 s of running it holds exactly the live sessions. A live one loses no packet where the kernel's state was whole; a
dead one passes none, whoever presents its grant again. `served`: a world with a broker that says what the test wants.
"""

import json
import os
import pathlib
import random
import re
import signal
import time

import pytest

import netns
from fake_broker import FakeBroker
from gateway_test import BUILD, GATEWAY, IN_KERNEL, INSIDE, INSIDE6, OTHER, ROOT, World, session_id
from netns import wait_for

pytestmark = pytest.mark.alone
WITHIN = 2.0  # of running, in seconds
FLOW = os.path.join(ROOT, "tests", "support", "counted_flow.py")
PORT = 7001
SCOPE = [f"tcp {INSIDE}:5432", f"udp {INSIDE}:{PORT}"]


class Served(World):
    def __init__(self, directory):
        super().__init__(directory)
        self.documents = {}
        self.broker = FakeBroker(self.path("no-broker.sock"))

    def open(self, n, scope=SCOPE, seconds=600, **changes):
        if n not in self.documents:
            self.documents[n] = self.signed(self.body(n, scope, seconds, **changes))
        self.broker.open(session_id(n), self.documents[n])

    def shut(self, n, reason="revoked"):
        self.broker.close(session_id(n), reason)

    def reported(self, n, state):
        return self.broker.report(session_id(n), state)

    def held(self):
        """Which sessions the kernel has: those with a peer, and those with elements."""
        peers = self.gw.run("wg show jitwg0 peers", check=False).stdout.split()
        listing = self.gw.run("nft list table inet jitwg", check=False).stdout
        return ({n for n, keys in self.keys.items() if keys[1] in peers},
                {int(each) for each in re.findall(r'comment "[0-9a-f-]{24}(\d{12})"', listing)})  # fmt: skip

    def holds(self, *numbers):
        return self.held() == (set(numbers), set(numbers))

    def wait_holds(self, *numbers, timeout=WITHIN):
        try:
            wait_for(lambda: self.holds(*numbers), f"exactly {numbers}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it holds {self.held()}\n{self.log()[-3000:]}") from None

    def run(self, **more):
        """Starts the daemon and waits for nothing."""
        with open(self.path("log"), "a") as log:
            self.daemon = self.gw.popen([GATEWAY, "--config", self.path("gateway.conf")], stdout=log, stderr=log, **more)

    def log(self):
        with open(self.path("log")) as f:
            return f.read()

    def tombstone(self, n):
        path = self.path(f"state/tombstones/{session_id(n)}.json")
        return json.load(open(path)) if os.path.exists(path) else None

    def count_packets(self):
        self.counted = self.path("counted")
        with open(self.counted, "w") as out:
            self.counter = self.inside.popen(["python3", FLOW, "count", str(PORT)], stdout=out)
        wait_for(lambda: "ready" in open(self.counted).read(), "the counter")

    def send_packets(self, n):
        """A flow of session n that never gives up."""
        with open(self.path(f"sent{n}"), "w") as out:
            self.person.popen(["python3", FLOW, "send", INSIDE, str(PORT), f"jw{n}"], stdout=out)

    def sent(self, n):
        """number -> before it was sent"""
        lines = [line.split() for line in open(self.path(f"sent{n}")).read().split("\n")[:-1]]
        return {int(number): float(at) for number, at in lines}

    def came(self, n):
        """number -> when it came"""
        lines = [line.split() for line in open(self.counted).read().split("\n")[1:-1]]
        return {int(number): float(at) for source, number, at in lines if source == f"10.90.0.{n}"}

    def lost(self, n):
        """Those that did not come, between the first and the last that did."""
        came = self.came(n)
        return sorted(set(range(min(came), max(came) + 1)) - set(came))

    def flows(self, n):
        before = len(self.came(n))
        wait_for(lambda: len(self.came(n)) > before + 5, f"packets of session {n}", 30)
        return True

    def broker_leaves(self):
        self.broker.stop()
        self.broker.say_raw(None)
        os.remove(self.path("no-broker.sock"))

    def broker_comes(self):
        """One that knows of no end: all sessions there were are to be open."""
        self.broker = FakeBroker(self.path("no-broker.sock"))
        for n in self.documents:
            self.open(n)

    def close(self):
        self.broker.stop()
        super().close()


@pytest.fixture
def served(tmp_path):
    it = Served(tmp_path)
    try:
        yield it
    finally:
        it.close()


@pytest.fixture
def two(served):
    """Session 1 lives, session 2 has been closed; both persons go on sending."""
    served.count_packets()
    served.open(1)
    served.open(2)
    served.start()
    served.wait_holds(1, 2, timeout=20)
    for n in (1, 2):
        served.tunnel(n)
        served.send_packets(n)
        assert served.flows(n)
    served.shut(2)
    wait_for(lambda: served.reported(2, "closed"), "evidence")
    served.closed_at = time.time()
    yield served
    wait_for(lambda: max(served.sent(2).values()) > served.closed_at + 1, "it to have tried")
    late = [number for number, at in served.came(2).items() if at > served.closed_at]
    assert late == [], "packets of a dead session"


def test_killed_at_any_moment(two):
    seed = int(os.environ.get("JITWG_SEED", time.time_ns() % 1_000_000))
    print(f"JITWG_SEED={seed}")
    pick = random.Random(seed)
    live, newest = [1], 9
    for _ in range(8):
        for _ in range(pick.randint(1, 4)):
            if len(live) > 1 and pick.random() < 0.5:
                two.shut(live.pop(pick.randrange(1, len(live))))
            else:
                newest += 1
                live.append(newest)
                two.open(newest)
            time.sleep(pick.uniform(0, 0.02))
        time.sleep(pick.uniform(0, 0.2))
        two.stop(signal.SIGKILL)
        time.sleep(pick.uniform(0, 0.2))
        two.open(2)  # a broker that forgot that it is closed presents the grant again
        two.run()
        two.wait_holds(*live)
    assert two.flows(1)
    assert two.lost(1) == [], "the kernel's state was whole all the while"
    assert not two.reported(2, "open") or two.reported(2, "open") in two.broker.reports[: two.broker.reports.index(two.reported(2, "closed"))]


def test_the_machine_starts_anew(two):
    two.gw.close()
    two.daemon.wait(10)
    for host, cable in ((two.person, "wan0"), (two.inside, "lan0")):
        wait_for(lambda: host.run(f"ip link show {cable}", check=False).returncode != 0, "its cables to be gone")
    two.broker_leaves()  # what is on disk must do
    for path in pathlib.Path(two.path("state")).rglob("*.json"):
        path.write_text(re.sub(r'"boot_id":"[^"]*"', '"boot_id":"of another boot"', path.read_text()))
    two.gw = netns.Host("gw")
    netns.connect(two.person, ["192.0.2.2/24"], two.gw, ["192.0.2.1/24"], "wan0")
    netns.connect(two.gw, ["10.60.10.1/24", "fd00:60::1/64"], two.inside, [f"{INSIDE}/24", f"{OTHER}/24", f"{INSIDE6}/64"], "lan0")
    two.inside.run("ip route add default via 10.60.10.1")
    for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        two.gw.run(["sysctl", "-qw", f"net.{key}=1"])
    two.run()
    two.wait_holds(1)
    assert two.flows(1)


DEEDS = ["ip link del jitwg0", "ip link set jitwg0 down", "nft flush ruleset", "nft delete table inet jitwg",
         *([] if IN_KERNEL else ["pkill -KILL -x wireguard-go"])]  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_taken_away_under_it_comes_back(two, deed):
    two.gw.run(deed)
    if "jitwg0" in deed or "wireguard" in deed:
        wait_for(lambda: "LOWER_UP" in two.gw.run("ip link show jitwg0", check=False).stdout
                 and "10.90.0.0/16" in two.gw.run("ip route show dev jitwg0", check=False).stdout, "interface and route", WITHIN)  # fmt: skip
    two.wait_holds(1)
    assert two.flows(1)  # a peer made anew knows no key; the person's end asks again within 15 s


@pytest.fixture
def clocked(served):
    """Its daemon's wall clock is shifted by set_clock(seconds)."""
    served.env = {**os.environ, "LD_PRELOAD": f"{BUILD}/tests/shifted_clock.so", "JITWG_TEST_CLOCK": served.path("clock")}
    served.set_clock = lambda seconds: served._write("clock", str(seconds))
    return served


def test_a_clock_set_back_a_day_gives_nobody_a_day(clocked):
    clocked.open(1, seconds=14)
    clocked.open(2, seconds=600)
    end = time.time() + 14
    clocked.run(env=clocked.env)
    clocked.wait_holds(1, 2, timeout=10)
    stored = open(clocked.path(f"state/grants/{session_id(1)}.json")).read()
    clocked.set_clock(-86400)
    clocked.stop(signal.SIGKILL)
    clocked.run(env=clocked.env)
    time.sleep(1)
    assert clocked.holds(1, 2), "what runs goes on"
    wait_for(lambda: clocked.holds(2), "the end by the boot clock", end - time.time() + 3)
    assert end - 2 < time.time()
    wait_for(lambda: (clocked.tombstone(1) or {}).get("evidence"), "evidence", WITHIN)
    assert clocked.tombstone(1)["reason"] == "expired"
    clocked.stop(signal.SIGKILL)
    os.remove(clocked.path(f"state/tombstones/{session_id(1)}.json"))  # the stored grant itself knows
    clocked._write(f"state/grants/{session_id(1)}.json", stored)
    clocked.run(env=clocked.env)
    time.sleep(WITHIN)
    assert clocked.holds(2)


def test_dead_over_the_end_with_the_clock_set_back_it_stays_ended(clocked):
    clocked.open(1, seconds=8)
    end = time.time() + 8
    clocked.run(env=clocked.env)
    clocked.wait_holds(1, timeout=8)
    clocked.stop(signal.SIGKILL)
    clocked.set_clock(-86400)
    time.sleep(max(0.0, end + 0.5 - time.time()))
    clocked.run(env=clocked.env)
    wait_for(lambda: clocked.tombstone(1), "the tombstone", WITHIN + 1)
    assert clocked.holds()


def test_a_clock_set_ahead_a_day_ends_it_for_good(clocked):
    clocked.open(1)
    clocked.run(env=clocked.env)
    clocked.wait_holds(1, timeout=10)
    clocked.broker_leaves()
    clocked.set_clock(86400)
    clocked.wait_holds()
    clocked.set_clock(0)
    clocked.stop(signal.SIGKILL)
    clocked.broker_comes()
    clocked.run(env=clocked.env)
    wait_for(lambda: clocked.reported(1, "closed"), "evidence")
    assert clocked.holds() and not clocked.reported(1, "open")


def test_the_broker_is_away_over_the_end(served):
    end = time.time() + 10
    served.open(1, seconds=10)
    served.open(2)
    served.start()
    served.wait_holds(1, 2, timeout=8)
    served.broker_leaves()
    served.stop(signal.SIGKILL)
    served.run()
    served.wait_holds(1, 2)
    wait_for(lambda: served.holds(2), "the end", end - time.time() + 3)
    served.broker_comes()
    wait_for(lambda: served.reported(1, "closed") and served.reported(2, "open"), "both to be told", 30)
    assert served.holds(2)
