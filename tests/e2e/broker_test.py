"""jitwgd with the real signer: every answer of broker/PROTOCOL.md, both-or-neither, and each kind of bad input."""

import base64
import json
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import CLEAN, Realm, binary, rfc3339, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not (binary("jitwgd") and binary("jitwg-signer")),
                                reason="SKIPPED: jitwgd or jitwg-signer is not built")


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


def state_of(realm, session, token):
    status, answer = realm.get(f"/v1/sessions/{session}", token)
    assert status == 200, answer
    return answer["state"]


def code(answer):
    status, body = answer
    return status, body["error"]["code"]


def test_one_access_from_request_to_closed(realm):
    gw, jump = realm.node("gw1"), realm.node("jump1")
    document, session, token = realm.request()
    status, shown = realm.post("/v1/statements", document)
    assert (status, shown["state"], shown["serial"], shown["evidence"]) == (200, "pending", None, None)

    carol = realm.login("carol")
    assert [one["session"] for one in realm.get("/v1/pending", carol)[1]] == [session]
    signed = realm.get(f"/v1/sessions/{session}/request", carol)[1]
    assert signed["request"] == document
    assert signed["access"]["scope"] == ["tcp 10.60.0.5:22", "tcp 10.60.10.20:5432"]
    status, shown = realm.post("/v1/statements", realm.decision("carol", session, document, duration=30, comment="ok"))
    assert (status, shown["state"], shown["duration"]) == (200, "approved", 30)
    assert [(one["person"], one["decision"], one["comment"]) for one in shown["approvals"]] == [("carol", "approve", "ok")]

    status, opened = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert status == 200, opened
    assert opened["session"]["state"] == "active"
    assert opened["certificate"].startswith("ssh-ed25519-cert-v01@openssh.com ")
    grant = json.loads(base64.b64decode(opened["grant"]["body"]))
    assert grant["session"] == session and opened["session"]["serial"] == grant["serial"]
    assert (gw.held[session], jump.held[session]) == ("open", "open")
    assert realm.post(f"/v1/sessions/{session}/activate", token=token) == (200, opened)

    assert realm.post(f"/v1/sessions/{session}/return", token=token)[1]["state"] in ("closing", "closed")
    wait_for(lambda: state_of(realm, session, token) == "closed", "closed")
    shown = realm.get(f"/v1/sessions/{session}", token)[1]
    assert shown["close_reason"] == "returned"
    assert {n: {k: v for k, v in e.items() if k != "at"} for n, e in shown["evidence"].items()} == {
        n: {"result": "verified", **e} for n, e in CLEAN.items()}
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (410, "session_ended")


def test_names_and_nat_go_from_policy_into_the_grant(realm):
    realm.node("gw1"), realm.node("jump1")
    names = {"web1.lab.example": "10.60.10.7"}
    document, session, token = realm.request(target="net")
    assert realm.post("/v1/statements", document)[1]["names"] == names
    status, opened = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert status == 200, opened
    grant = json.loads(base64.b64decode(opened["grant"]["body"]))
    assert (grant["names"], grant["nat"], opened["session"]["names"]) == (names, True, names)

    session, token = realm.approved()
    status, opened = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert status == 200, opened
    assert not {"names", "nat"} & set(json.loads(base64.b64decode(opened["grant"]["body"]))), "left out when unset"
    assert opened["session"]["names"] is None


def test_waiting_answers_as_soon_as_somebody_decides(realm):
    document, session, token = realm.request()
    realm.post("/v1/statements", document)
    import threading
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(realm.get(f"/v1/sessions/{session}?wait=60&state=pending", token)))
    waiting.start()
    realm.post("/v1/statements", realm.decision("carol", session, document, "deny", comment="no"))
    waiting.join(timeout=10)
    assert answers and answers[0][1]["state"] == "denied"
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (403, "decision_denied")


# --- bad statements ---

def alter(document, old, new):
    body = base64.b64decode(document["body"]).replace(old.encode(), new.encode())
    return {**document, "body": base64.b64encode(body).decode()}


def test_what_is_not_properly_signed_is_refused_and_leaves_nothing(realm):
    good, session, token = realm.request()
    cases = {
        "bad_signature": alter(good, "INC-1", "INC-2"),
        "wrong_namespace": realm.sign("alice", base64.b64decode(good["body"]).decode(), "file"),
        "wrong_key": realm.request(by="alice", key="bob")[0],
        "unknown_person": realm.request(by="mallory", key="host")[0],
        "wrong_realm": realm.request(realm="other")[0],
        "unknown_type": realm.request(type="wish")[0],
        "unsupported_version": realm.request(v=2)[0],
        "unknown_key": realm.request(extra="x")[0],
        "bad_value": realm.request(duration=1)[0],
        "stale": realm.request(at=rfc3339(-400))[0],
        "clock": realm.request(at=rfc3339(400))[0],
        "bad_key": realm.request(wg_public_key=base64.b64encode(bytes(32)).decode())[0],
    }
    for wanted, document in cases.items():
        assert code(realm.post("/v1/statements", document))[1] == wanted
    twice = base64.b64decode(good["body"]).decode().replace('"v": 1', '"v": 1, "v": 1')
    assert code(realm.post("/v1/statements", realm.sign("alice", twice))) == (400, "duplicate_key")
    assert code(realm.post("/v1/statements", "{")) == (400, "bad_json")
    assert code(realm.post("/v1/statements", '{"body":"","body":"","signature":""}')) == (400, "duplicate_key")
    status, answer = realm.post("/v1/statements", "x" * 70_000)
    assert (status, answer["error"]["code"]) == (413, "too_large")
    assert realm.get("/v1/sessions", realm.login("erin"))[1] == []


def test_the_same_bytes_have_the_same_answer_and_others_are_a_replay(realm):
    document, session, token = realm.request()
    first = realm.post("/v1/statements", document)
    assert realm.post("/v1/statements", document) == first
    assert code(realm.post("/v1/statements", realm.request(session=session)[0])) == (403, "replay")
    nonce = json.loads(base64.b64decode(document["body"]))["nonce"]
    assert code(realm.post("/v1/statements", realm.request(nonce=nonce)[0])) == (403, "replay")
    decision = realm.decision("carol", session, document)
    again = realm.post("/v1/statements", decision)
    assert realm.post("/v1/statements", decision) == again
    assert len(again[1]["approvals"]) == 1


def test_keys_serve_one_session(realm):
    document, _, _ = realm.request()
    realm.post("/v1/statements", document)
    body = json.loads(base64.b64decode(document["body"]))
    for reused in ({"wg_public_key": body["wg_public_key"]}, {"ssh_public_key": body["ssh_public_key"]},
                   {"wg_public_key": realm.gateway_wg}, *({"ssh_public_key": realm.public_key(k)} for k in ("ca", "bob", "gw1", "jump1", "host"))):
        assert code(realm.post("/v1/statements", realm.request(**reused)[0])) == (403, "key_reused")


def test_what_policy_denies_is_stored_as_denied_with_its_reason(realm):
    for wanted, fields in {"unknown_target": {"target": "moon"}, "no_rule": {"by": "dave"},
                           "denied_by_rule": {"by": "dave", "target": "net"}, "duration_over_limit": {"duration": 6000}}.items():
        document, session, token = realm.request(**fields)
        first = realm.post("/v1/statements", document)
        assert code(first) == (403, wanted)
        assert realm.post("/v1/statements", document) == first
        assert state_of(realm, session, token) == "denied"


def test_decisions_that_do_not_count(realm):
    document, session, token = realm.request(at=rfc3339(250))  # a laptop whose clock is fast
    realm.post("/v1/statements", document)
    other, _, _ = realm.request()
    access = {"scope": ["tcp 0.0.0.0/0:22"], "login": "alice", "gateways": ["gw1"], "jump_hosts": ["jump1"]}
    for wanted, decision in {
            (403, "self_approval"): realm.decision("alice", session, document),
            (403, "not_approver"): realm.decision("bob", session, document),
            (403, "wrong_request"): realm.decision("carol", session, other),
            (403, "scope_changed"): realm.decision("carol", session, document, access=access),
            (403, "duration_over_limit"): realm.decision("carol", session, document, duration=90),
            (403, "bad_order"): realm.decision("carol", session, document, at=rfc3339(-100)),
            (404, "unknown_session"): realm.decision("carol", realm.request()[1], document)}.items():
        assert code(realm.post("/v1/statements", decision)) == wanted
    assert state_of(realm, session, token) == "pending"
    assert realm.post("/v1/statements", realm.decision("carol", session, document))[1]["state"] == "approved"
    assert code(realm.post("/v1/statements", realm.decision("carol", session, document))) == (403, "already_decided")
    assert code(realm.post("/v1/statements", realm.decision("erin", session, document))) == (409, "wrong_state")


def test_reading_needs_a_token_and_shows_only_what_one_may_see(realm):
    document, session, token = realm.request()
    realm.post("/v1/statements", document)
    bob, erin, carol, alice = (realm.login(p) for p in ("bob", "erin", "carol", "alice"))
    path = f"/v1/sessions/{session}"
    assert code(realm.get(path)) == (401, "bad_token")
    assert code(realm.get(path, "0" * 64)) == (401, "bad_token")
    assert code(realm.get(path, bob)) == (404, "unknown_session")
    for reader in (alice, carol, erin, token):
        assert realm.get(path, reader)[0] == 200
    assert code(realm.post(path + "/activate", token=alice)) == (401, "bad_token")
    assert code(realm.post(path + "/return", token=carol)) == (401, "bad_token")
    assert [len(realm.get("/v1/sessions", reader)[1]) for reader in (alice, bob, carol, erin)] == [1, 0, 1, 1]
    assert [len(realm.get("/v1/pending", reader)[1]) for reader in (alice, bob, carol)] == [0, 0, 1]
    assert code(realm.get("/v1/sessions", token)) == (401, "bad_token")
    assert realm.get("/v1/policy", bob)[0] == 200
    assert code(realm.get("/v1/nothing", bob)) == (404, "unknown_path")
    assert code(realm.get("/v1/sessions/short", bob)) == (404, "unknown_session")


def test_limits_on_requests_and_early_activation(realm):
    first, session, token = realm.request()
    realm.post("/v1/statements", first)
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (409, "still_pending")
    for _ in range(19):
        assert realm.post("/v1/statements", realm.request()[0])[0] == 200
    assert code(realm.post("/v1/statements", realm.request()[0])) == (429, "too_many_requests")
    assert realm.post(f"/v1/sessions/{session}/return", token=token)[1]["state"] == "cancelled"
    assert realm.post("/v1/statements", realm.request()[0])[0] == 200


# --- opening: both or neither ---

def test_without_nodes_it_stays_approved(realm):
    session, token = realm.approved()
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (503, "no_gateway")
    gw = realm.node("gw1")
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (503, "no_jump_host")
    assert state_of(realm, session, token) == "approved"
    realm.node("jump1")
    assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200
    assert gw.held[session] == "open"


def test_a_node_that_does_not_confirm_fails_it_and_no_certificate_leaves(realm):
    realm.node("gw1")
    jump = realm.node("jump1", confirm=False, prove=False)
    session, token = realm.approved()
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (503, "not_confirmed")
    shown = realm.get(f"/v1/sessions/{session}", token)[1]
    assert (shown["state"], shown["close_reason"], shown["evidence"]["jump1"]) == ("closing", "failed", None)
    assert code(realm.post(f"/v1/sessions/{session}/activate", token=token)) == (503, "not_confirmed")
    assert jump.report(session, "closed", evidence={"processes": 1})[0] == 200
    assert state_of(realm, session, token) == "closing"
    assert jump.prove_closed(session)[0] == 200
    assert state_of(realm, session, token) == "closed"


def test_a_node_that_refuses_fails_it_at_once(realm):
    realm.node("gw1", refuse="address_taken")
    realm.node("jump1")
    session, token = realm.approved()
    status, answer = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert (status, answer["error"]["code"]) == (503, "not_confirmed") and "address_taken" in answer["error"]["message"]
    wait_for(lambda: state_of(realm, session, token) == "closed", "closed")


def test_a_dead_signer_fails_it_and_a_refusing_one_closes_it(realm):
    realm.node("gw1"), realm.node("jump1")
    first, first_token = realm.approved()
    second, second_token = realm.approved()
    realm.reload_policy(scope="tcp 10.60.10.21:5432")
    wait_for(lambda: "policy" in realm.log("jitwg-signer"), "reload")
    assert code(realm.post(f"/v1/sessions/{first}/activate", token=first_token)) == (403, "scope_changed")
    shown = realm.get(f"/v1/sessions/{first}", first_token)[1]
    assert (shown["state"], shown["close_reason"]) == ("closed", "failed")
    realm.end("jitwg-signer", signal.SIGKILL)
    assert code(realm.post(f"/v1/sessions/{second}/activate", token=second_token)) == (503, "signer_unavailable")
    wait_for(lambda: state_of(realm, second, second_token) == "closed", "closed")
    assert realm.get(f"/v1/sessions/{second}", second_token)[1]["close_reason"] == "failed"


def test_revoking(realm):
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert code(realm.post("/v1/statements", realm.statement("revoke", "bob", session=session, reason="x"))) == (403, "not_permitted")
    status, shown = realm.post("/v1/statements", realm.statement("revoke", "carol", session=session, reason="enough"))
    assert (status, shown["close_reason"]) == (200, "revoked")
    wait_for(lambda: state_of(realm, session, token) == "closed", "closed")
    wait_for(lambda: '"applied"' in (realm.dir / "signer/ledger").read_text(), "the signer knows")
    pending, its_token = realm.approved()
    assert realm.post("/v1/statements", realm.statement("revoke", "erin", session=pending, reason="no"))[1]["state"] == "cancelled"
    assert code(realm.post("/v1/statements", realm.statement("revoke", "erin", session=pending, reason="no"))) == (409, "wrong_state")


def test_a_revoke_reaches_the_signer_once_it_is_back(realm):
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    realm.post(f"/v1/sessions/{session}/activate", token=token)
    realm.end("jitwg-signer")
    assert realm.post("/v1/statements", realm.statement("revoke", "carol", session=session, reason="x"))[0] == 200
    wait_for(lambda: state_of(realm, session, token) == "closed", "closed without the signer")
    realm.start("jitwg-signer")
    wait_for(lambda: '"applied"' in (realm.dir / "signer/ledger").read_text(), "the signer knows")


def test_it_ends_by_itself(realm):
    gw, jump = realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved(duration=10)
    assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200
    wait_for(lambda: state_of(realm, session, token) == "closed", "closed", 20)
    assert realm.get(f"/v1/sessions/{session}", token)[1]["close_reason"] == "expired"
    assert (gw.held[session], jump.held[session]) == ("closed", "closed")


# --- nodes ---

def test_nodes_are_believed_only_by_their_own_key_clock_and_part(realm):
    gw = realm.node("gw1")
    jump = realm.node("jump1")
    session, token = realm.approved()
    realm.post(f"/v1/sessions/{session}/activate", token=token)
    body = json.dumps({"type": "report", "v": 1, "realm": "lab-1", "node": "gw1", "at": rfc3339(), "nonce": "0" * 32,
                       "session": session, "state": "closed", "evidence": CLEAN["gw1"]})
    assert code(realm.post("/v1/report", realm.sign("jump1", body, "jitwg-node"))) == (403, "wrong_key")
    assert code(realm.post("/v1/report", realm.sign("gw1", body, "jitwg"))) == (403, "wrong_namespace")
    assert code(realm.post("/v1/report", realm.sign("gw1", body.replace("lab-1", "x"), "jitwg-node"))) == (403, "wrong_realm")
    late = gw.document("report", at=-60, session=session, state="open")
    assert code(realm.post("/v1/report", late)) == (403, "clock")
    assert code(realm.post("/v1/watch", gw.document("watch", at=60, revision=0))) == (403, "clock")
    assert state_of(realm, session, token) == "active"
    again = gw.document("report", session=session, state="open")
    assert realm.post("/v1/report", again) == realm.post("/v1/report", again) == (200, {"accepted": True})


# --- restarts and removals ---

def test_a_broker_without_a_signer_says_so_and_serves_once_it_is_there(tmp_path):
    realm = Realm(tmp_path)
    try:
        realm.start("jitwgd")
        wait_for(lambda: (realm.run / "broker.sock").exists(), "broker.sock")
        assert code(realm.get("/v1/realm")) == (503, "signer_unavailable")
        realm.start("jitwg-signer")
        wait_for(realm.is_ready, "serving")
    finally:
        realm.close()


def test_a_damaged_database_or_a_second_broker_is_refused(tmp_path):
    realm = Realm(tmp_path)
    try:
        (realm.dir / "broker").mkdir()
        (realm.dir / "broker/broker.db").write_bytes(b"x" * 8192)
        realm.start("jitwgd")
        assert realm.processes["jitwgd"].wait(timeout=10) == 1
        assert "corrupt" in realm.log("jitwgd")
        (realm.dir / "broker/broker.db").unlink()
        realm.start("jitwg-signer", "jitwgd")
        first = realm.processes["jitwgd"]
        realm.start("jitwgd")
        assert realm.processes["jitwgd"].wait(timeout=10) == 1
        assert "another jitwgd" in realm.log("jitwgd")
        assert first.poll() is None and realm.is_ready()
        first.kill()
    finally:
        realm.close()


def test_a_person_removed_loses_what_they_have(realm):
    realm.node("gw1"), realm.node("jump1")
    live, live_token = realm.approved()
    assert realm.post(f"/v1/sessions/{live}/activate", token=live_token)[0] == 200
    waiting, waiting_token = realm.approved()
    login = realm.login("alice")
    realm.people.remove("alice")
    realm.reload_policy()
    wait_for(lambda: state_of(realm, live, live_token) == "closed", "closed", 45)
    assert realm.get(f"/v1/sessions/{live}", live_token)[1]["close_reason"] == "revoked"
    assert state_of(realm, waiting, waiting_token) == "cancelled"
    assert code(realm.get("/v1/sessions", login)) == (401, "bad_token")


def test_requests_lapse(tmp_path):
    realm = Realm(tmp_path)
    realm.write_policy(pending_for="3s", activate_within="3s")
    try:
        realm.start("jitwg-signer", "jitwgd")
        document, undecided, token = realm.request()
        realm.post("/v1/statements", document)
        approved, its_token = realm.approved()
        for session, owner in ((undecided, token), (approved, its_token)):
            wait_for(lambda: state_of(realm, session, owner) == "lapsed", "lapsed")
            assert code(realm.post(f"/v1/sessions/{session}/activate", token=owner)) == (410, "session_ended")
    finally:
        realm.close()


def test_options(tmp_path):
    import subprocess
    for option, text in (("--help", "state-dir"), ("--version", "jitwgd ")):
        done = subprocess.run([binary("jitwgd"), option], capture_output=True, text=True)
        assert done.returncode == 0 and text in done.stdout
    assert subprocess.run([binary("jitwgd"), "--colour", "blue"], capture_output=True).returncode == 2
