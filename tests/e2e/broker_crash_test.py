"""kill -9 of jitwgd at random moments: on restart every session is where it was, finishes opening, or closes."""

import json
import os
import pathlib
import random
import signal
import sqlite3
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import Realm, binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not (binary("jitwgd") and binary("jitwg-signer")),
                                reason="SKIPPED: jitwgd or jitwg-signer is not built")
ROUNDS = int(os.environ.get("JITWG_CRASH_ROUNDS", "25"))
ORDER = ["pending", "approved", "opening", "active", "closing", "closed"]  # of what these sessions go through


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    made.node("gw1"), made.node("jump1")
    yield made
    made.close()


def walk(realm, seen, wrong):
    """One access, telling `seen` each answer before the next step; whatever breaks off is the kill."""
    try:
        document, session, token = realm.request()
        seen[session] = ("none", token, None)
        for body in (document, realm.decision("carol", session, document)):
            status, shown = realm.post("/v1/statements", body)
            assert status == 200, shown
            seen[session] = (shown["state"], token, None)
        status, opened = realm.post(f"/v1/sessions/{session}/activate", token=token)
        if status != 200:
            # Nodes are coming back after the last kill; and one person activates 60 times an hour.
            assert status == 503 or opened["error"]["code"] == "too_many_activations", opened
            return
        seen[session] = ("active", token, opened)
        status, shown = realm.post(f"/v1/sessions/{session}/return", token=token)
        seen[session] = (shown["state"], token, opened)
    except OSError:
        pass
    except json.JSONDecodeError:
        pass  # cut in the middle of the body
    except Exception as error:  # http.client's many ways to say that the peer has gone
        if not type(error).__module__.startswith("http"):
            wrong.append(error)


def settled(realm, session, token):
    status, shown = realm.get(f"/v1/sessions/{session}", token)
    assert status == 200, shown
    return shown if shown["state"] not in ("opening", "closing") else None


def check_database(realm):
    with sqlite3.connect(f"file:{realm.dir}/broker/broker.db?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        # One event for each step that is on record, and none for a step that is not.
        for session, state in database.execute("SELECT id, state FROM sessions"):
            names = [json.loads(body)["event"] for (body,) in database.execute(
                "SELECT body FROM events WHERE session = ? ORDER BY seq", (session,))]
            expected = {"pending": "request.submitted", "approved": "request.decided", "opening": "session.opening",
                        "active": "session.activated", "closing": "session.closing", "closed": "session.closed"}
            assert names[-1] == expected[state], (session, state, names)
            assert len(names) == len(set(names)), names


def test_killed_at_any_moment(realm):
    seed = int(os.environ.get("JITWG_SEED", str(random.randrange(1 << 30))))
    print(f"JITWG_SEED={seed}")
    chance = random.Random(seed)
    seen, wrong = {}, []
    for _ in range(ROUNDS):
        people = [threading.Thread(target=walk, args=(realm, seen, wrong)) for _ in range(3)]
        for person in people:
            person.start()
        time.sleep(chance.uniform(0.0, 0.25))  # the random moment itself
        assert realm.end("jitwgd", signal.SIGKILL) == -signal.SIGKILL
        for person in people:
            person.join(timeout=60)
            assert not person.is_alive()
        assert not wrong, wrong
        check_database(realm)
        realm.start("jitwgd")
        wait_for(lambda: all(node.connected.is_set() for node in realm.nodes), "nodes are back")
    reached = set()
    for session, (state, token, opened) in seen.items():
        if state == "none":  # never answered: there or not, but if there, whole
            if realm.get(f"/v1/sessions/{session}", token)[0] == 401:
                continue
        shown = wait_for(lambda: settled(realm, session, token), f"{session} settles", 30)
        reached.add((state, shown["state"]))
        if state in ORDER:
            assert ORDER.index(shown["state"]) >= ORDER.index(state), (state, shown)
        if shown["state"] == "closed":
            assert shown["close_reason"] in ("returned", "failed")
            assert all(one["result"] == "verified" for one in shown["evidence"].values())
            if opened:
                assert shown["close_reason"] == "returned", "who holds a certificate had an active session"
        if shown["state"] == "active":
            status, again = realm.post(f"/v1/sessions/{session}/activate", token=token)
            assert status == 200
            if opened:
                assert (again["certificate"], again["grant"]) == (opened["certificate"], opened["grant"])
    print(sorted(reached))
    assert len(seen) >= ROUNDS
