"""A gateway whose kernel answers with errors, whose state directory is full, read-only or gone: it never opens wider, what is
live goes on, what is over ends, and closed is said on evidence only.
"""

import errno
import os
import signal
import time

import pytest

from gateway_death_test import SCOPE, WITHIN, Served, served  # noqa: F401
from gateway_test import BUILD, session_id
from netns import wait_for

FAULTS = [("recv", errno.ENOBUFS), ("recv", errno.EINTR), ("recv", errno.EAGAIN), ("recv", 0), ("send", errno.ENOBUFS),
          ("send", errno.EBUSY), ("send", errno.ENOMEM), ("send", errno.EINTR)]  # fmt: skip
STEPS = 80  # more calls than opening, closing or starting makes


class Faulty(Served):
    def __init__(self, directory):
        super().__init__(directory)
        self.environment = {**os.environ, "LD_PRELOAD": f"{BUILD}/tests/netlink_faults.so", "JITWG_TEST_FAULTS": self.path("fault")}
        self.newest = 1

    def fail_next(self, kind, number, error):
        self._write("fault.new", f"{kind} {number} {error}")
        os.rename(self.path("fault.new"), self.path("fault"))

    def hit(self):
        with open(self.path("fault")) as f:
            return "hit" in f.read()

    def next(self):
        self.newest = self.newest % 200 + 1
        self.documents.pop(self.newest, None)
        return self.newest


@pytest.fixture
def faulty(tmp_path):
    it = Faulty(tmp_path)
    try:
        yield it
    finally:
        it.close()


@pytest.mark.parametrize("kind, error", FAULTS)
def test_each_netlink_call_may_fail(faulty, kind, error):
    """While one opens and another closes, the nth call fails, for each n until none is left to fail."""
    faulty.open(1)
    faulty.run(env=faulty.environment)
    faulty.wait_holds(1, timeout=20)
    previous = None
    for number in range(1, STEPS):
        session = number + 1
        faulty.documents[session] = faulty.signed(faulty.body(session, SCOPE))
        faulty.fail_next(kind, number, error)
        if previous:
            faulty.shut(previous)
        faulty.open(session)
        wanted = {1, session}
        deadline = time.monotonic() + 8  # an answer that lost its end is waited for a second
        while True:
            closed = previous is None or faulty.reported(previous, "closed")
            peers, elements = faulty.held()  # after what was reported
            if closed and (peers, elements) == (wanted, wanted):
                break
            assert peers | elements <= wanted | {previous}, "wider than was ever wanted"
            assert not closed or previous not in peers | elements, "closed without evidence"
            assert faulty.daemon.poll() is None, faulty.log()[-2000:]
            assert time.monotonic() < deadline, f"call {number}: {faulty.held()}\n{faulty.log()[-3000:]}"
        if not faulty.hit():
            break
        previous = session
    assert 3 < number < STEPS - 1


@pytest.mark.parametrize("kind, error", [("recv", errno.ENOBUFS), ("send", errno.EBUSY), ("recv", errno.EINTR)])
def test_each_netlink_call_may_fail_at_start(faulty, kind, error):
    """It starts or says why it does not; started again it holds what is live."""
    faulty.open(1)
    faulty.open(2)
    faulty.run()
    faulty.wait_holds(1, 2, timeout=20)
    faulty.shut(2)
    wait_for(lambda: faulty.reported(2, "closed"), "evidence")
    for number in range(1, STEPS, 2):
        faulty.stop(signal.SIGKILL)
        faulty.fail_next(kind, number, error)
        faulty.run(env=faulty.environment)
        wait_for(lambda: faulty.daemon.poll() is not None or faulty.hit() or faulty.broker.watched(), "it to get so far")
        if faulty.daemon.poll() is not None:
            assert faulty.log().splitlines()[-1], "with a reason"
            assert faulty.held()[1] <= {1}
            faulty.run()
        faulty.wait_holds(1, timeout=WITHIN + 5)
        if not faulty.hit():
            break


def in_gateway(world, script):
    return world.gw.run(["sh", "-ec", script.replace("STATE", world.path("state"))])


@pytest.fixture
def small(served):  # noqa: F811
    """Its state directory is a small file system; sessions 1 and 2 are open."""
    os.makedirs(served.path("state"))
    in_gateway(served, "mount -t tmpfs -o size=128k,mode=700 none STATE")
    served.open(1)
    served.open(2)
    served.start()
    served.wait_holds(1, 2, timeout=20)
    return served


def refuses_new_and_closes_old(world, code):
    world.open(3)
    wait_for(lambda: world.reported(3, "refused"), "the refusal")
    assert world.reported(3, "refused")["reason"] == code
    world.shut(2)
    wait_for(lambda: world.reported(2, "closed"), "evidence")
    evidence = world.reported(2, "closed")["evidence"]
    assert (evidence["peer"], evidence["elements"], evidence["flows"]) == (False, 0, 0)
    assert world.holds(1)
    world.open(2)  # again
    world.open(4)
    wait_for(lambda: world.reported(4, "refused"), "the next refusal")
    assert world.holds(1)


def test_a_full_state_directory(small):
    in_gateway(small, "cat /dev/zero > STATE/ballast 2>/dev/null || true")
    refuses_new_and_closes_old(small, "io")
    assert small.log().count("tombstone not stored") <= 2, "once that it ends, once that the broker knows"
    small.stop(signal.SIGKILL)
    small.run()
    time.sleep(1)
    assert small.holds(1), "its tombstone took the room of its grant"
    in_gateway(small, "rm STATE/ballast")
    small.open(5)
    small.wait_holds(1, 5)


def test_a_read_only_state_directory(small):
    in_gateway(small, "mount -o remount,ro STATE")
    refuses_new_and_closes_old(small, "io")
    assert small.log().count("tombstone not stored, trying again") == 1
    # Nothing on disk says that session 2 is over. Started so without a broker, nothing is opened on the disk's word.
    small.broker_leaves()
    small.stop(signal.SIGKILL)
    small.run()
    wait_for(lambda: small.holds(), "nothing to be held")
    assert "waits for the broker's word" in small.log()
    del small.documents[2], small.documents[3], small.documents[4]
    small.broker_comes()
    small.wait_holds(1, timeout=20)  # whom the broker does not name is over
    in_gateway(small, "mount -o remount,rw STATE")
    small.open(5)
    small.wait_holds(1, 5)
    wait_for(lambda: session_id(2) in in_gateway(small, "ls STATE/tombstones").stdout, "its tombstone")
    small.broker_leaves()
    small.stop(signal.SIGKILL)
    small.run()
    small.wait_holds(1, 5)
    wait_for(lambda: session_id(2) not in in_gateway(small, "ls STATE/grants").stdout, "its grant to be gone")


def test_a_state_directory_that_is_taken_away(small):
    in_gateway(small, "rm -rf STATE/grants STATE/tombstones STATE/boot.json")
    refuses_new_and_closes_old(small, "io")


def test_a_directory_in_the_place_of_a_file(small):
    in_gateway(small, f"mkdir -p STATE/grants/{session_id(3)}.json STATE/tombstones/{session_id(2)}.json")
    small.open(3)
    wait_for(lambda: small.reported(3, "refused"), "the refusal")
    small.shut(2)
    wait_for(lambda: small.reported(2, "closed"), "evidence")
    small.open(2)
    small.stop(signal.SIGKILL)
    small.run()
    time.sleep(1)
    assert small.holds(1)
    assert not any(report["session"] == session_id(2) and report["state"] == "open" for report in small.broker.reports[-3:])


@pytest.mark.parametrize("what", ["grants", "tombstones"])
def test_a_file_in_the_place_of_a_directory_is_said_at_start(small, what):
    small.stop(signal.SIGKILL)
    in_gateway(small, f"mv STATE/{what} STATE/{what}.away; touch STATE/{what}")
    small.run()
    assert small.daemon.wait(20) != 0
    assert f"state/{what}" in small.log().splitlines()[-1]
    assert small.holds(1, 2), "and the kernel goes on by its timeouts"
    in_gateway(small, f"rm STATE/{what}; mv STATE/{what}.away STATE/{what}")
    small.run()
    time.sleep(0.5)
    assert small.holds(1, 2)
