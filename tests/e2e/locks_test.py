"""Locks, revocations of all kinds, incidents, write-offs and the rights over them: jitwgd with the real signer."""

import base64
import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import Realm, binary, rfc3339, uuid7, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not (binary("jitwgd") and binary("jitwg-signer")),
                                reason="SKIPPED: jitwgd or jitwg-signer is not built")


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


def code(answer):
    status, body = answer
    return body["error"]["code"] if status >= 400 else status


def post(realm, kind, by, **fields):
    return realm.post("/v1/statements", realm.statement(kind, by, **fields))


def show(realm, session, token):
    status, answer = realm.get(f"/v1/sessions/{session}", token)
    assert status == 200, answer
    return answer["state"], answer["close_reason"]


def active(realm, by="alice", target="db", **fields):
    """A live session of this person: (ID, token)."""
    if target == "db" and "incident" not in fields:
        document, session, token = realm.request(by=by, **fields)
        assert realm.post("/v1/statements", document)[0] == 200
        access = {"scope": ["tcp 10.60.0.5:22", "tcp 10.60.10.20:5432"], "login": by, "gateways": ["gw1"], "jump_hosts": ["jump1"]}
        status, answer = realm.post("/v1/statements", realm.decision("carol", session, document, access=access))
    else:
        document, session, token = realm.request(by=by, target=target, **fields)
        status, answer = realm.post("/v1/statements", document)
    assert (status, answer.get("state")) == (200, "approved"), answer
    status, answer = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert status == 200, answer
    return session, token


def open_incident(realm, by="carol", targets=("label:prod",), until=3600, **fields):
    incident = uuid7()
    answer = post(realm, "incident_open", by, incident=incident, targets=list(targets), reason="INC-1", until=rfc3339(until), **fields)
    assert answer[0] == 200, answer
    return incident


def told(realm):
    """Types of the statements that the signer keeps."""
    lines = (realm.dir / "signer/ledger").read_text().splitlines()
    records = [json.loads(line.split(" ", 1)[1]) for line in lines]
    return [json.loads(base64.b64decode(r["statement"]["body"]))["type"] for r in records if r["kind"] == "applied"]


def events(realm, name):
    """Lines about an event; without journald they go to the log."""
    return [line for line in realm.log("jitwgd").splitlines() if name in line]


# --- locks ---

def test_a_locked_person_loses_everything_and_nothing_of_theirs_counts(realm):
    realm.node("gw1"), realm.node("jump1")
    session, token = active(realm)
    document, waiting, waiting_token = realm.request()
    assert realm.post("/v1/statements", document)[0] == 200
    other, other_token = active(realm, by="bob")
    alice, carol = realm.login("alice"), realm.login("carol")

    lock = realm.statement("lock", "erin", person="alice", reason="laptop stolen")
    status, answer = realm.post("/v1/statements", lock)
    assert (status, answer["subject"]) == (200, {"kind": "person", "name": "alice"})
    assert sorted(answer["ended"]) == sorted([session, waiting])
    assert realm.post("/v1/statements", lock) == (200, answer), "the same bytes: the same answer"
    wait_for(lambda: show(realm, session, token) == ("closed", "locked"), "closed, locked")
    assert show(realm, waiting, waiting_token) == ("cancelled", None)
    assert show(realm, other, other_token) == ("active", None), "other people's go on"

    status, answer = realm.post("/v1/statements", realm.request()[0])
    assert (status, answer["error"]["code"]) == (403, "locked")
    assert "erin" in answer["error"]["message"] and "laptop stolen" in answer["error"]["message"]
    assert code(realm.get("/v1/sessions", alice)) == "locked", "reads count for nothing either"
    assert code(post(realm, "login", "alice", token_sha256="a" * 64, read_for=60)) == "locked"
    assert code(post(realm, "lock", "alice", person="bob", reason="x")) == "locked"

    assert [(one["kind"], one["name"], one["by"]) for one in realm.get("/v1/locks", carol)[1]] == [("person", "alice", "erin")]
    assert code(post(realm, "unlock", "bob", person="alice", reason="x")) == "not_permitted"
    assert post(realm, "unlock", "carol", person="alice", reason="new laptop") == (200, {"subject": {"kind": "person", "name": "alice"}, "ended": []})
    assert realm.get("/v1/locks", carol)[1] == []
    assert code(post(realm, "unlock", "carol", person="alice", reason="again")) == "wrong_state"
    active(realm)  # the signer has heard of the unlock before it is asked
    assert told(realm)[:2] == ["lock", "unlock"]
    assert events(realm, "lock.set") and events(realm, "lock.cleared")


def test_anyone_locks_themselves_and_nobody_unlocks_themselves(realm):
    assert code(post(realm, "lock", "bob", person="alice", reason="x")) == "not_permitted"
    assert post(realm, "lock", "bob", person="bob", reason="my key is gone")[0] == 200
    assert code(post(realm, "unlock", "bob", person="bob", reason="found it")) == "locked"
    assert post(realm, "lock", "erin", person="erin", reason="mine, too")[0] == 200
    assert code(post(realm, "unlock", "erin", person="erin", reason="found it")) == "locked"
    assert post(realm, "unlock", "carol", person="erin", reason="new key")[0] == 200


@pytest.mark.parametrize("what", [{"target": "db"}, {"node": "gw1"}, {"node": "jump1"}, {"all": True}])
def test_a_lock_of_target_node_or_all_ends_and_forbids(realm, what):
    realm.node("gw1"), realm.node("jump1")
    session, token = active(realm)
    ready, ready_token = realm.approved()
    document, waiting, _ = realm.request()
    realm.post("/v1/statements", document)
    for by in ("alice", "bob"):
        assert code(post(realm, "lock", by, reason="x", **what)) == "not_permitted"
    status, answer = post(realm, "lock", "erin", reason="burning", **what)
    assert status == 200 and sorted(answer["ended"]) == sorted([session, ready, waiting])
    wait_for(lambda: show(realm, session, token) == ("closed", "locked"), "closed, locked")
    assert show(realm, ready, ready_token)[0] == "cancelled"
    if "node" in what:  # asked for, and approved, but it cannot open
        again, again_token = realm.approved()
        assert code(realm.post(f"/v1/sessions/{again}/activate", token=again_token)) == "locked"
        assert show(realm, again, again_token)[0] == "approved"
    else:
        assert code(realm.post("/v1/statements", realm.request()[0])) == "locked"
        net = realm.post("/v1/statements", realm.request(target="net")[0])
        assert code(net) == ("locked" if "all" in what else 200)
    assert post(realm, "unlock", "erin", reason="put out", **what)[0] == 200
    active(realm)


def test_what_a_locked_person_approved_does_not_open(realm):
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    post(realm, "lock", "erin", person="carol", reason="key stolen")
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == "locked"
    assert show(realm, session, token)[0] == "approved"
    post(realm, "unlock", "erin", person="carol", reason="found")
    assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200


def test_what_does_not_exist_is_not_locked_or_revoked(realm):
    for kind in ("lock", "revoke"):
        assert code(post(realm, kind, "erin", person="nobody", reason="x")) == "unknown_person"
        assert code(post(realm, kind, "erin", target="nowhere", reason="x")) == "unknown_target"
        assert code(post(realm, kind, "erin", node="gw9", reason="x")) == "wrong_node"
    assert code(post(realm, "revoke", "erin", session=uuid7(), reason="x")) == "unknown_session"
    assert code(post(realm, "revoke", "erin", incident=uuid7(), reason="x")) == "unknown_incident"


def test_an_unlock_that_was_signed_before_the_lock_is_refused(realm):
    early = realm.statement("unlock", "erin", person="bob", reason="x", at=rfc3339(-290))
    assert post(realm, "lock", "erin", person="bob", reason="x", at=rfc3339(200))[0] == 200
    assert code(realm.post("/v1/statements", early)) == "bad_order"


# --- revoke ---

@pytest.mark.parametrize("what", [{"person": "alice"}, {"target": "db"}, {"node": "gw1"}, {"all": True}])
def test_a_revoke_ends_all_that_matches_and_nothing_later(realm, what):
    realm.node("gw1"), realm.node("jump1")
    (one, one_token), (two, two_token) = active(realm), active(realm)
    other, other_token = active(realm, by="bob", target="net")
    for by in ("bob", "carol"):  # carol approved them, which is each session's right, not the person's
        assert code(post(realm, "revoke", by, reason="x", **what)) == "not_permitted"
    erin, bob = realm.login("erin"), realm.login("bob")
    query = "&".join(f"{key}={value if value is not True else 1}" for key, value in what.items())
    assert code(realm.get(f"/v1/affected?{query}", bob)) == "not_permitted"
    listed = {entry["session"] for entry in realm.get(f"/v1/affected?{query}", erin)[1]}
    status, answer = post(realm, "revoke", "erin", reason="enough", **what)
    assert status == 200 and set(answer["ended"]) == listed >= {one, two}
    for session, token in ((one, one_token), (two, two_token)):
        wait_for(lambda: show(realm, session, token) == ("closed", "revoked"), "closed, revoked")
    assert (show(realm, other, other_token)[0] == "active") == ("all" not in what and "node" not in what)
    assert "revoke" in told(realm) or wait_for(lambda: "revoke" in told(realm), "the signer was told")


def test_one_ends_all_of_ones_own(realm):
    realm.node("gw1"), realm.node("jump1")
    session, token = active(realm)
    assert post(realm, "revoke", "alice", person="alice", reason="holiday")[0] == 200
    wait_for(lambda: show(realm, session, token) == ("closed", "revoked"), "closed, revoked")


# --- incidents ---

def test_an_incident_from_open_to_review(realm):
    realm.node("gw1"), realm.node("jump1")
    bob, carol = realm.login("bob"), realm.login("carol")
    for by in ("bob", "erin"):
        assert code(post(realm, "incident_open", by, incident=uuid7(), targets=["db"], reason="x", until=rfc3339(60))) == "not_permitted"
    assert code(post(realm, "incident_open", "carol", incident=uuid7(), targets=["nope"], reason="x", until=rfc3339(60))) == "unknown_target"
    assert code(post(realm, "incident_open", "carol", incident=uuid7(), targets=["db"], reason="x", until=rfc3339(9 * 3600))) == "duration_over_limit"
    assert code(realm.post("/v1/statements", realm.request(by="bob", incident=uuid7())[0])) == "no_incident"
    incident = open_incident(realm, until=1800)
    assert code(post(realm, "incident_open", "carol", incident=incident, targets=["db"], reason="x", until=rfc3339(60))) == "replay"
    assert code(realm.post("/v1/statements", realm.request(by="bob", target="net", incident=incident)[0])) == "no_incident", "not covered"

    # No approval needed, and at once: the signer hears of the incident before it is asked to issue for it.
    session, token = active(realm, by="bob", incident=incident, duration=3600)
    shown = realm.get(f"/v1/sessions/{session}", token)[1]
    assert shown["incident"] == incident
    status, object_ = realm.get(f"/v1/incidents/{incident}", bob)
    assert status == 200 and object_["not_after" if "not_after" in object_ else "until"]
    assert shown["not_after"] <= object_["until"], "the incident's hard end is the session's latest"
    assert [one["session"] for one in object_["sessions"]] == [session]
    assert realm.get(f"/v1/incidents/{incident}", carol)[1]["sessions"] == [], "not hers to read"
    assert [one["session"] for one in realm.get(f"/v1/incidents/{incident}", realm.login("erin"))[1]["sessions"]] == [session]
    assert any("read the sessions of incident" in line for line in events(realm, "audit.read"))
    assert [(one["incident"], one["state"]) for one in realm.get("/v1/incidents", bob)[1]] == [(incident, "open")]

    assert code(post(realm, "incident_extend", "bob", incident=incident, until=rfc3339(60), reason="x")) == "not_permitted"
    status, object_ = post(realm, "incident_extend", "alice", incident=incident, until=rfc3339(3 * 3600), reason="longer")
    assert status == 200 and object_["until"] > rfc3339(2 * 3600)
    for by in ("alice", "bob", "erin"):
        assert code(post(realm, "incident_close", by, incident=incident, reason="x")) == "not_permitted"
    assert code(post(realm, "incident_review", "carol", incident=incident, comment="x")) == "wrong_state", "open still"
    status, object_ = post(realm, "incident_close", "carol", incident=incident, reason="mended")
    assert (status, object_["state"], object_["closed_by"], object_["ended"]) == (200, "closed", "carol", [session])
    wait_for(lambda: show(realm, session, token) == ("closed", "incident_closed"), "closed, incident_closed")
    assert code(realm.post("/v1/statements", realm.request(by="bob", incident=incident)[0])) == "no_incident"
    assert code(post(realm, "incident_extend", "alice", incident=incident, until=rfc3339(60), reason="x")) == "wrong_state"
    assert code(post(realm, "incident_review", "carol", incident=incident, comment="mine")) == "self_approval"
    assert code(post(realm, "incident_review", "bob", incident=incident, comment="x")) == "not_permitted"
    wait_for(lambda: told(realm) == ["incident_open", "incident_extend", "incident_close"], "the signer was told")
    for name in ("incident.opened", "incident.extended", "incident.closed"):
        assert events(realm, name), name


def test_who_opened_an_incident_does_not_use_it_alone(realm):
    realm.node("gw1"), realm.node("jump1")
    incident = open_incident(realm, by="alice")
    status, answer = realm.post("/v1/statements", realm.request(by="alice", incident=incident)[0])
    assert (status, answer["state"]) == (200, "pending")
    assert realm.get("/v1/pending", realm.login("carol"))[1][0]["incident"] == incident
    assert post(realm, "incident_close", "carol", incident=incident, reason="mended")[1]["ended"] == [answer["session"]]
    status, object_ = post(realm, "incident_review", "carol", incident=incident, comment="all in order")
    assert status == 200 and [(one["person"], one["comment"]) for one in object_["reviews"]] == [("carol", "all in order")]
    assert events(realm, "incident.reviewed")


def test_a_revoke_of_an_incident_ends_its_sessions_and_leaves_it_open(realm):
    realm.node("gw1"), realm.node("jump1")
    incident = open_incident(realm)
    session, token = active(realm, by="bob", incident=incident)
    assert code(post(realm, "revoke", "bob", incident=incident, reason="x")) == "not_permitted"
    assert post(realm, "revoke", "carol", incident=incident, reason="x")[1]["ended"] == [session]
    wait_for(lambda: show(realm, session, token) == ("closed", "revoked"), "closed, revoked")
    assert realm.get(f"/v1/incidents/{incident}", realm.login("bob"))[1]["state"] == "open"


# --- hardware keys, write-off, what is not for the broker ---

def test_a_rule_that_wants_hardware_keys_denies_others_at_submission(realm):
    realm.reload_policy(keys='keys = "sk"')
    wait_for(lambda: events(realm, "policy.loaded")[1:], "the other policy", 40)
    incident = open_incident(realm)
    assert code(realm.post("/v1/statements", realm.request(by="bob", incident=incident)[0])) == "hardware_key_wanted"


def test_evidence_that_never_comes_is_written_off_after_the_end(realm):
    realm.node("gw1", prove=False), realm.node("jump1")
    session, token = active(realm, duration=10)
    off = dict(session=session, node="gw1", reason="burnt down")
    assert code(post(realm, "write_off", "erin", **off)) == "wrong_state", "live still"
    realm.post(f"/v1/sessions/{session}/return", token=token)
    assert code(post(realm, "write_off", "erin", **off)) == "wrong_state", "its time is not over"
    end = realm.get(f"/v1/sessions/{session}", token)[1]["not_after"]
    wait_for(lambda: rfc3339() >= end, "its end")
    assert code(post(realm, "write_off", "bob", **off)) == "not_permitted"
    assert code(post(realm, "write_off", "erin", **{**off, "node": "gw2"})) == "wrong_node"
    status, shown = post(realm, "write_off", "erin", **off)
    assert (status, shown["state"]) == (200, "closed")
    gateway = shown["evidence"]["gw1"]
    assert (gateway["result"], gateway["by"], gateway["reason"]) == ("written_off", "erin", "burnt down")
    assert shown["evidence"]["jump1"]["result"] == "verified"
    assert any(session in line for line in events(realm, "session.written_off"))


def test_break_glass_is_not_for_the_broker(realm):
    document, session, _ = realm.request()
    assert code(post(realm, "break_glass", "erin", session=session, request_sha256="a" * 64, reason="x",
                     access={"scope": ["tcp 10.60.10.20:5432"], "gateways": ["gw1"], "jump_hosts": []})) == "unknown_type"


def test_other_peoples_records_need_audit_read_and_reading_is_an_event(realm):
    document, session, _ = realm.request()
    realm.post("/v1/statements", document)
    dave, erin, alice = realm.login("dave"), realm.login("erin"), realm.login("alice")
    for path in (f"/v1/sessions/{session}", f"/v1/sessions/{session}/request", f"/v1/sessions/{session}/export"):
        assert code(realm.get(path, dave)) == "unknown_session", path
        assert code(realm.get(path)) == "bad_token", path
        assert realm.get(path, alice)[0] == 200, path
        before = len(events(realm, "audit.read"))
        assert realm.get(path, realm.login("carol"))[0] == 200 and len(events(realm, "audit.read")) == before, "hers to decide"
    assert realm.get("/v1/sessions", dave)[1] == [] and len(realm.get("/v1/sessions", erin)[1]) == 1
    for path in ("/v1/locks", "/v1/incidents"):
        assert code(realm.get(path)) == "bad_token" and realm.get(path, dave) == (200, [])
    assert code(realm.get(f"/v1/incidents/{uuid7()}", dave)) == "unknown_incident"
    assert code(realm.get("/v1/affected?all=1", dave)) == "not_permitted"


def test_locks_and_incidents_outlive_a_restart(realm):
    incident = open_incident(realm)
    assert post(realm, "lock", "erin", person="bob", reason="x")[0] == 200
    realm.end("jitwgd")
    realm.start("jitwgd")
    carol = realm.login("carol")
    assert [one["name"] for one in realm.get("/v1/locks", carol)[1]] == ["bob"]
    assert realm.get("/v1/incidents", carol)[1][0]["incident"] == incident
    assert code(realm.post("/v1/statements", realm.request(by="bob")[0])) == "locked"
