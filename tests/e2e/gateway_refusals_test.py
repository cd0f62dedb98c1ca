"""What a broker may hand a gateway and must not succeed with: grants that do not count, and streams that make no sense. The
sessions that are open go on all the while.
"""

import json
import os
import time

import pytest

from gateway_death_test import SCOPE, WITHIN, Served, served  # noqa: F401
from gateway_test import INSIDE, session_id, wg_pair
from netns import wait_for


@pytest.fixture
def serving(served):  # noqa: F811
    """Session 1 is open; afterwards it still is, and nothing else has been."""
    served.open(1)
    served.start()
    served.wait_holds(1, timeout=20)
    wait_for(lambda: served.reported(1, "open"), "the report")
    yield served
    assert served.daemon.poll() is None
    served.wait_holds(1)
    opened = {report["session"] for report in served.broker.reports if report["state"] == "open"}
    assert opened == {session_id(1)}


def in_body(old, new):
    """The signed text has `new` where JSON has `old`."""
    def make(world, n):
        text = json.dumps(world.body(n, SCOPE))
        assert old in text
        return world.signed(text.replace(old, new, 1))
    return make  # fmt: skip


def with_keys(code, **changes):
    return (lambda world, n: world.signed(world.body(n, **{"scope": SCOPE, **changes}))), code


def altered(world, n):
    document = world.signed(world.body(n, SCOPE))
    other = world.signed(world.body(n, ["tcp 10.0.0.0/8:1-65535"]))
    return {"body": other["body"], "signature": document["signature"]}


def signed_by(code, **how):
    return (lambda world, n: world.signed(world.body(n, SCOPE), **how)), code


ELSEWHERE = {"name": "gw2", "wireguard_key": "", "endpoint": "192.0.2.1:51820"}
YEAR = 365 * 86400
GRANTS = {
    "altered": (altered, "bad_signature"),
    "no signature": (lambda world, n: {**world.signed(world.body(n, SCOPE)), "signature": "none"}, "bad_signature_format"),
    "by another CA": signed_by("foreign_grant", ca="other_ca"),
    "by a node": signed_by("foreign_grant", ca="node_key"),
    "for another purpose": signed_by("wrong_namespace", namespace="jitwg"),
    "of another realm": with_keys("wrong_realm", realm="another"),
    "for another gateway": (lambda world, n: world.signed(world.body(n, SCOPE, gateway={**ELSEWHERE, "wireguard_key": world.gateway_key})), "wrong_node"),
    "for this name with another key": (lambda world, n: world.signed(world.body(n, SCOPE, gateway={**ELSEWHERE, "name": "gw1", "wireguard_key": wg_pair()[1]})), "wrong_node"),
    "over": with_keys("not_live", seconds=100, start=-101),
    "without an end": with_keys("bad_value", not_after=None),
    "with a null end": (in_body('"not_after": "', '"not_after": null, "x": "'), "bad_value"),
    "with an end that is no time": with_keys("bad_time", not_after="never"),
    "with an end before our era": with_keys("bad_time", not_after="-001-01-01T00:00:00Z"),
    "with a negative number for an end": with_keys("bad_value", not_after=-1),
    "not yet valid": with_keys("clock", start=40),
    "ending before it begins": with_keys("bad_value", seconds=-5, start=10),
    "longer than any window": with_keys("bad_value", seconds=11 * YEAR),
    "for an address outside the pools": with_keys("bad_value", address=["10.91.0.4/32"]),
    "for an address of the target": with_keys("bad_value", address=[f"{INSIDE}/32"]),
    "for a prefix": with_keys("bad_value", address=["10.90.0.0/16"]),
    "for everything": with_keys("bad_value", address=["0.0.0.0/0"]),
    "for no address": with_keys("bad_value", address=[]),
    "for an address that is taken": with_keys("address_taken", address=["10.90.0.1/32"]),
    "with a key that is taken": (lambda world, n: world.signed(world.body(n, SCOPE, wg_public_key=world.keys[1][1])), "address_taken"),
    "with the gateway's own key": (lambda world, n: world.signed(world.body(n, SCOPE, wg_public_key=world.gateway_key)), "address_taken"),
    "with a weak key": with_keys("bad_key", wg_public_key="A" * 43 + "="),
    "with a scope over the limit": with_keys("bad_value", scope=[f"tcp 10.60.{i}.1:{p}" for i in range(150) for p in (1,)]),
    "with no scope": with_keys("bad_value", scope=[]),
    "with a port over 65535": with_keys("bad_value", scope=[f"tcp {INSIDE}:65536"]),
    "with a key twice": (in_body('"realm": "test"', '"realm": "another", "realm": "test"'), "duplicate_key"),
    "with an unknown key": with_keys("unknown_key", more=True),
    "with bytes behind it": (lambda world, n: world.signed(json.dumps(world.body(n, SCOPE)) + "{}"), "bad_json"),
    "cut off": (lambda world, n: world.signed(json.dumps(world.body(n, SCOPE))[:-20]), "bad_json"),
    "of a version that is a fraction": with_keys("bad_json", v=1.5),
    "of another version": with_keys("unsupported_version", v=2),
    "of a version beyond all numbers": (in_body('"v": 1', '"v": 1' + "0" * 400), "bad_json"),
    "of another type": with_keys("unknown_type", type="request"),
    "for another session": (lambda world, n: world.signed(world.body(n, SCOPE, session=session_id(999))), "bad_value"),
    "for session 1": (lambda world, n: world.documents[1], "bad_value"),
    "deep as a well": (lambda world, n: world.signed('{"v":' * 1000 + "1" + "}" * 1000), "bad_json"),
}


def test_grants_that_do_not_count(serving):
    made = {name: (n, make(serving, n), code) for n, (name, (make, code)) in enumerate(GRANTS.items(), 10)}
    for n, document, _ in made.values():
        serving.broker.open(session_id(n), document)
    wait_for(lambda: all(serving.reported(n, "refused") for n, _, _ in made.values()), "all refusals", 30)
    told = {name: serving.reported(n, "refused")["reason"] for name, (n, _, _) in made.items()}
    assert told == {name: code for name, (_, _, code) in made.items()}
    log = serving.log()
    for name, (n, _, code) in made.items():
        assert any("refused" in line and session_id(n) in line and code in line for line in log.splitlines()
                   if "grant" in line) or code == "address_taken", name  # fmt: skip
    assert os.listdir(serving.path("state/grants")) == [f"{session_id(1)}.json"]
    assert os.listdir(serving.path("state/tombstones")) == []


def test_a_closed_session_is_never_opened_again(serving):
    """By a set, by a snapshot, by both at once, before the evidence was taken and after, over restarts."""
    serving.open(2)
    serving.wait_holds(1, 2)
    document = serving.documents[2]
    opened = {"session": session_id(2), "want": "open", "grant": document}
    closed = {"session": session_id(2), "want": "closed", "reason": "revoked"}
    both = [{"session": session_id(1), "want": "open", "grant": serving.documents[1]}]
    serving.broker.say(serving.broker.update(set=[opened, closed, opened]))
    serving.wait_holds(1)
    before = len(serving.broker.reports)
    for entries in ([opened], [closed, opened], [opened, opened], [opened, closed]):
        serving.broker.say(serving.broker.update(set=entries))
        serving.broker.say(serving.broker.update(snapshot=[*both, *entries]))
        time.sleep(0.2)
        assert serving.holds(1)
    serving.restart()
    serving.broker.open(session_id(2), document)
    serving.restart()
    time.sleep(0.5)
    assert serving.holds(1)
    assert not any(report["session"] == session_id(2) and report["state"] == "open" for report in serving.broker.reports[before:])
    # The fixture's own check is about what was never to be open.
    serving.broker.reports[:] = [report for report in serving.broker.reports if report["session"] != session_id(2)]


def comes_again(world, what):
    before = len(world.broker.watches)
    what()
    wait_for(lambda: len(world.broker.watches) > before and world.broker.watched(), "a new subscription", 30)
    return world.broker.watches[-1]


def test_streams_that_make_no_sense_are_left(serving):
    broker = serving.broker
    flow_of_1 = json.dumps({"session": session_id(1), "want": "closed", "reason": "revoked"})
    new = {"session": session_id(2), "want": "open", "grant": serving.signed(serving.body(2, SCOPE))}
    for nonsense in (
        b"{", b"[]", b"null", b"\x00" * 100, b"x" * (10 << 20), b'{"revision":' + b"9" * 5000 + b"}",
        broker.update(set=[{"session": session_id(1), "want": "maybe"}]),
        broker.update(set=[{"session": "../../etc/passwd", "want": "closed", "reason": "revoked"}]),
        broker.update(set=[{"session": session_id(1), "want": "closed", "reason": "boredom"}]),
        broker.update(set=[{"session": session_id(1), "want": "closed", "reason": "x" * (10 << 20)}]),
        broker.update(set=[new, {"want": "open"}]),
        broker.update(set=[new], snapshot=[new]),
        broker.update(set=[new], more=1),
        broker.update(set=new),
        broker.update().replace(b'"now": "2', b'"now": "x'),
        broker.update(revision="1", set=[new]), broker.update(revision=1.5, set=[new]),
        f'{{"revision":{broker._revision + 1},"now":"2026-01-01T00:00:00Z","set":[{flow_of_1}],"set":[]}}'.encode(),
        broker.update(revision=1, set=[new]),  # older than what is held
    ):  # fmt: skip
        comes_again(serving, lambda: broker.say(nonsense))
        assert serving.holds(1), nonsense[:80]
        if len(broker.watches) % 3 == 0:
            serving.restart()  # it waits ever longer, up to 10 s
            wait_for(broker.watched, "its subscription")
    assert broker.watches[-1]["revision"] == 0, "a stream that goes back starts from nothing"
    serving.restart()
    wait_for(broker.watched, "its subscription")
    comes_again(serving, lambda: broker.say_raw(b"zz\r\n"))  # no chunk
    broker.quiet.set()
    comes_again(serving, lambda: broker.say_raw(b"ff\r\n{\"revision\":"))  # half a frame, then silence: 15 s
    broker.quiet.clear()
    comes_again(serving, lambda: (broker.say_raw(b"ff\r\n{\"revision\":"), broker.say_raw(None)))
    comes_again(serving, lambda: broker.say_raw(None))
    # What comes in pieces is whole all the same.
    before = len(broker.watches)
    line = broker.update(set=[{"session": session_id(3), "want": "closed", "reason": "revoked"}]) + b"\n"
    for piece in (b"%x\r\n" % len(line), line[:10], line[10:], b"\r\n"):
        broker.say_raw(piece)
        time.sleep(0.05)
    wait_for(lambda: serving.reported(3, "closed"), "it to be taken")
    assert len(broker.watches) == before


def test_ten_megabytes_that_make_sense_are_taken(serving):
    """Thousands of sessions, each refused for itself: more than a gateway has, twice the same, and session 1 among them."""
    document = serving.signed(serving.body(2, SCOPE, realm="another"))
    entries = [{"session": session_id(1000 + i), "want": "open", "grant": document} for i in range(9000)]
    entries += [{"session": session_id(1), "want": "open", "grant": serving.documents[1]}] * 2
    line = serving.broker.update(snapshot=entries)
    assert len(line) > 10 << 20
    watches = len(serving.broker.watches)
    serving.broker.say(line)
    wait_for(lambda: serving.log().count("grant refused") == 9000, "all to be refused", 60)
    serving.open(3)
    wait_for(lambda: serving.reported(3, "open"), "what comes next", 60)
    assert len(serving.broker.watches) == watches
    serving.shut(3)
    serving.wait_holds(1)
    serving.broker.reports[:] = [report for report in serving.broker.reports if report["session"] != session_id(3)]


def test_a_line_without_end_is_left(serving):
    """64 MiB are the limit; nothing is kept of it."""
    chunk = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"

    def say():
        for _ in range(66):
            serving.broker.say_raw(chunk)
    comes_again(serving, say)  # fmt: skip
    assert serving.holds(1)
