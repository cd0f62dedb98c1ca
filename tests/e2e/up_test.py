"""`jitwg up` from start to end in the lab: signals, several at once, and what is left on the machine afterwards."""

import json
import time

import pytest

from access_test import approved, request, show, wait_state
from labs import wait_for

STATE = "/home/alice/.local/state/jitwg"
KEYS = ["id", "id-cert.pub", "token", "wg.key"]


def up(lab, *words):
    return lab.popen("person", "jitwg", "up", *words, as_="alice")


def is_up(lab, session):
    return lab.exec("person", "ip", "link", "show", f"jw-{session[-8:]}", check=False).returncode == 0


def send(lab, name):
    """To each jitwg that runs on the person's machine, not to what started it."""
    lab.exec("person", "pkill", f"-{name}", "-x", "jitwg")


def keys_left(lab, session):
    return [name for name in lab.exec("person", "ls", f"{STATE}/{session}").stdout.split() if name in KEYS or name.endswith(".conf")]


def stage(lab):
    return request(lab, "web-stage", "5m")


def newest(lab, state):
    def find():
        code, listed = lab.jitwg_json("alice", "list")
        return code == 0 and listed and listed[0]["state"] == state and listed[0]["session"]
    return wait_for(find, f"a session that is {state}")


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_before_the_approval_cancels(lab, name):
    session = request(lab)
    waiting = up(lab, session)
    assert "waiting for approval" in waiting.stderr.readline()
    send(lab, name)
    assert waiting.wait(30) == 0
    assert show(lab, session)["state"] == "cancelled" and keys_left(lab, session) == []


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_in_front_gives_it_back(lab, name):
    session = stage(lab)
    front = up(lab, session)
    wait_for(lambda: is_up(lab, session), "the interface")
    assert "is open until" in front.stdout.readline()
    send(lab, name)
    assert front.wait(30) == 0
    assert not is_up(lab, session) and keys_left(lab, session) == []
    assert wait_state(lab, session, "closed")["close_reason"] == "returned"


@pytest.mark.parametrize("words", [[], ["--detach"]], ids=["in-front", "detached"])
def test_a_signal_while_it_opens_gives_it_back(fresh_lab, words):
    lab = fresh_lab
    session = stage(lab)
    gateway = lab.exec("gw", "pidof", "jitwg-gateway").stdout.strip()
    lab.exec("gw", "kill", "-STOP", gateway)
    opening = up(lab, session, *words)
    wait_state(lab, session, "opening")
    send(lab, "TERM")
    time.sleep(0.5)  # it goes on waiting for the answer: what was opened must be known to be given back
    lab.exec("gw", "kill", "-CONT", gateway)
    assert opening.wait(30) == 0
    assert not is_up(lab, session) and keys_left(lab, session) == []
    assert wait_state(lab, session, "closed")["close_reason"] == "returned"


def test_it_ends_by_itself(lab):
    front = up(lab, "web-stage", "--reason", "x", "--for", "10s")
    session = newest(lab, "active")
    assert front.wait(30) == 0
    assert not is_up(lab, session) and keys_left(lab, session) == []
    assert wait_state(lab, session, "closed")["close_reason"] == "expired"


def test_four_at_once_bring_up_one_interface_and_all_tell_of_its_end(lab):
    session = stage(lab)
    fronts = [up(lab, session) for _ in range(4)]
    for front in fronts:
        assert "is open until" in front.stdout.readline(), front.stderr.read()
    assert is_up(lab, session)
    assert lab.jitwg("carol", "revoke", session, "--reason", "x", "--yes").returncode == 0
    for front in fronts:
        assert front.wait(30) == 4
        assert "Cannot find device" not in front.stderr.read()
    assert not is_up(lab, session) and keys_left(lab, session) == []


def test_given_back_twice_is_given_back(lab):
    session = stage(lab)
    assert lab.jitwg("alice", "up", session, "--detach").returncode == 0
    assert lab.jitwg("alice", "return", session).returncode == 0
    code, again = lab.jitwg_json("alice", "return", session)
    assert (code, again["close_reason"]) == (0, "returned")
    ended = stage(lab)
    assert lab.jitwg("alice", "up", ended, "--detach").returncode == 0
    assert lab.jitwg("carol", "revoke", ended, "--reason", "x", "--yes").returncode == 0
    assert lab.jitwg("alice", "return", ended).returncode == 4
    assert lab.jitwg("alice", "return", ended).returncode == 4


def test_without_its_interface_ssh_says_so(lab):
    session = stage(lab)
    assert lab.jitwg("alice", "activate", session).returncode == 0
    done = lab.jitwg("alice", "ssh", session, "--", "true")
    assert done.returncode == 255 and f"jitwg up {session[-8:]}" in done.stderr
    assert lab.jitwg("alice", "up", session, "--detach").returncode == 0
    assert lab.jitwg("alice", "down", session).returncode == 0
    assert show(lab, session)["state"] == "active"
    assert lab.jitwg("alice", "up", session, "--detach").returncode == 0
    done = lab.jitwg("alice", "ssh", session, "--", "printf", "%s", "clean")
    assert (done.returncode, done.stdout, done.stderr) == (0, "clean", "")
    assert lab.jitwg("alice", "ssh", session, "--", "exit 7").returncode == 7
    assert lab.jitwg("alice", "return", session).returncode == 0


def test_ssh_that_fails_says_what_the_broker_knows(lab):
    """A certificate that the host refuses gets "Permission denied" from sshd and nothing more."""
    session = stage(lab)
    assert lab.jitwg("alice", "up", session, "--detach").returncode == 0
    lab.kill("jump", "jitwg-hostd")
    done = lab.jitwg("alice", "ssh", session, "--", "true")
    lab.start("jump", "jitwg-hostd")
    assert done.returncode == 255 and "Permission denied" in done.stderr
    assert "by the broker the session lives" in done.stderr and f"journalctl JITWG_SESSION_ID={session}" in done.stderr
    shell = lab.popen("person", "jitwg", "ssh", session, "--", "echo ready; exec cat", as_="alice")
    assert shell.stdout.readline() == "ready\n"
    assert lab.jitwg("carol", "revoke", session, "--reason", "x", "--yes").returncode == 0
    assert shell.wait(60) == 255 and "revoked" in shell.stderr.read()


def test_the_broker_away_in_front(fresh_lab):
    lab = fresh_lab
    session = stage(lab)
    front = up(lab, session)
    assert "is open until" in front.stdout.readline()
    lab.kill("broker", "jitwgd")
    assert "the session goes on until" in front.stderr.readline()
    send(lab, "INT")
    assert front.wait(30) == 5
    assert not is_up(lab, session)  # given back here, whatever the broker knows
    lab.start("broker", "jitwgd")
    done = wait_for(lambda: (d := lab.jitwg("alice", "return", session)).returncode == 0 and d, "the broker to hear of it")
    assert keys_left(lab, session) == [] and json.loads(json.dumps(done.stdout))
    assert wait_state(lab, session, "closed")["close_reason"] == "returned"
