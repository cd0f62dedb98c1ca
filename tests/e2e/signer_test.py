"""jitwg-signer as a program: what it does not start with, what it does not reload, and what it says then."""

import base64
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import Realm, binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not (binary("jitwgd") and binary("jitwg-signer")),
                                reason="SKIPPED: jitwgd or jitwg-signer is not built")
FAILING_TEST = '[[test]]\nperson = "alice"\ntarget = "db"\nat = "2026-03-02T10:00:00+03:00"\nexpect = "deny"\n'


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    yield made
    made.close()


def does_not_start(realm):
    """What it says on its way out."""
    done = subprocess.run([binary("jitwg-signer"), "--config", realm.dir / "signer.conf"], capture_output=True, text=True, timeout=10)
    assert done.returncode in (1, 2), done.stderr
    assert not (realm.run / "signer.sock").exists()
    return done.stderr


def keygen(path, *words):
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-f", path, *words], check=True)


@pytest.mark.parametrize("mishap, words", {
    "missing": (lambda ca: ca.unlink(), "No such file"),
    "readable by the group": (lambda ca: ca.chmod(0o640), "chmod 600"),
    "readable by others": (lambda ca: ca.chmod(0o604), "chmod 600"),
    "with a passphrase": (lambda ca: keygen(ca, "-t", "ed25519", "-N", "secret"), "passphrase"),
    "RSA": (lambda ca: keygen(ca, "-t", "rsa", "-b", "2048", "-N", ""), "not an ed25519 key"),
    "empty": (lambda ca: ca.write_text(""), "not an OpenSSH private key"),
    "a link": (lambda ca: (ca.rename(ca.with_name("away")), ca.symlink_to("away")), "symbolic"),
    "a pipe": (lambda ca: (ca.unlink(), os.mkfifo(ca, 0o600)), "not a regular file"),
    "somebody's own": (lambda ca: ca.write_bytes(ca.with_name("alice").read_bytes()), "allowed_signers lists the CA key"),
}.values(), ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
def test_a_ca_key_that_will_not_do(realm, mishap, words):
    mishap(realm.dir / "ca")
    assert words in does_not_start(realm)


@pytest.mark.parametrize("change, words", [
    (lambda text: text.replace('realm = "lab-1"', "realm = = 1"), "policy.toml:2:"),
    (lambda text: text + FAILING_TEST, "expected deny, got approval"),
    (lambda text: text.replace('approvers = ["group:security", "person:alice"]', 'approvers = ["group:nobody"]'), "nobody"),
    (lambda text: text.replace("tcp 10.60.10.20:5432", "tcp 10.60.10.20:99999"), "99999"),
], ids=["no-toml", "failing-test", "unknown-group", "no-port"])  # fmt: skip
def test_a_policy_that_will_not_do(realm, change, words):
    path = realm.dir / "policy.toml"
    good = path.read_text()
    path.write_text(change(good))
    said = does_not_start(realm)
    assert words in said and "bad_policy" in said
    # Running already, it goes on with the one it has.
    path.write_text(good)
    realm.start("jitwg-signer", "jitwgd")
    before = realm.get("/v1/policy", realm.login("erin"))[1]
    path.write_text(change(good))
    realm.processes["jitwg-signer"].send_signal(signal.SIGHUP)
    wait_for(lambda: "the running policy stays" in realm.log("jitwg-signer"), "the refusal")
    assert realm.get("/v1/policy", realm.login("erin"))[1] == before
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200


@pytest.mark.parametrize("line, words", [
    ('* namespaces="jitwg" {host}', "not one plain name"),
    ('zed,yan namespaces="jitwg" {host}', "not one plain name"),
    ("zed {host}", "no options"),
    ('zed namespaces="jitwg" {alice}', "earlier line"),
    ('zed namespaces="jitwg" {gw1}', "node key of gw1"),
], ids=["pattern", "list", "every-namespace", "twice", "node"])  # fmt: skip
def test_people_that_will_not_do(realm, line, words):
    keys = {name: realm.public_key(name) for name in ("host", "alice", "gw1")}
    with open(realm.dir / "allowed_signers", "a") as people:
        people.write(line.format(**keys) + "\n")
    assert words in does_not_start(realm)


def test_a_policy_that_others_may_write(realm):
    (realm.dir / "policy.toml").chmod(0o666)
    assert "chmod go-w" in does_not_start(realm)


def test_a_changed_policy_costs_no_session_that_it_still_allows(realm):
    realm.start("jitwg-signer", "jitwgd")
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    with open(realm.dir / "policy.toml", "a") as policy:
        policy.write("# other bytes, so another digest\n")
    realm.processes["jitwg-signer"].send_signal(signal.SIGHUP)
    wait_for(lambda: realm.log("jitwg-signer").count("policy.loaded") == 2, "the reload")
    status, opened = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert (status, opened.get("session", opened)["state"]) == (200, "active")


def test_a_ledger_altered_refuses_and_torn_is_mended(realm):
    realm.start("jitwg-signer", "jitwgd")
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200
    realm.end("jitwg-signer", signal.SIGKILL)
    (realm.run / "signer.sock").unlink()
    ledger = realm.dir / "signer/ledger"
    good = ledger.read_bytes()
    for bad in (good[:300] + bytes([good[300] ^ 1]) + good[301:], good[5:], good + b"\n", bytes(len(good)), good + bytes(512)):
        ledger.write_bytes(bad)
        assert "corrupt" in does_not_start(realm)
        assert ledger.read_bytes() == bad, "what may be evidence is left alone"
    ledger.write_bytes(good + good[:200])
    realm.start("jitwg-signer")
    assert "torn" in realm.log("jitwg-signer") and ledger.read_bytes() == good


def test_a_frozen_signer_blocks_nothing_but_what_needs_it(realm):
    realm.start("jitwg-signer", "jitwgd")
    realm.node("gw1"), realm.node("jump1")
    live, live_token = realm.approved()
    realm.post(f"/v1/sessions/{live}/activate", token=live_token)
    session, token = realm.approved()
    realm.processes["jitwg-signer"].send_signal(signal.SIGSTOP)
    status, answer = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert (status, answer["error"]["code"]) == (503, "signer_unavailable")
    assert realm.post("/v1/statements", realm.statement("revoke", "carol", session=live, reason="x"))[0] == 200
    wait_for(lambda: realm.get(f"/v1/sessions/{live}", live_token)[1]["state"] == "closed", "closed without the signer")
    realm.processes["jitwg-signer"].send_signal(signal.SIGCONT)
    wait_for(lambda: '"applied"' in (realm.dir / "signer/ledger").read_text(), "the signer knows")
    # What it had been asked before it froze it may make now: nobody is given it.
    shown = wait_for(lambda: (s := realm.get(f"/v1/sessions/{session}", token)[1])["state"] == "closed" and s, "closed")
    assert (shown["close_reason"], shown["serial"]) == ("failed", None)


def apply(realm, document, *more, text=None):
    path = realm.dir / "statement.json"
    path.write_text(text if text is not None else json.dumps(document))
    words = [binary("jitwg-signer"), "apply", path, "--config", realm.dir / "signer.conf", "--runtime-dir", realm.run, *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=20)


def test_apply_goes_past_a_broker_that_swallows_it(realm):
    realm.start("jitwg-signer", "jitwgd")
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    lock = realm.statement("lock", "carol", person="alice", reason="laptop stolen")
    assert "applied" in apply(realm, lock).stdout
    assert json.loads(apply(realm, lock, "--json").stdout) == {"applied": True}  # the same bytes: no new effect
    status, refused = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert (status, refused["error"]["code"]) == (403, "locked") and "laptop stolen" in refused["error"]["message"]
    # Restarted, it has forgotten nothing; and doctor names the lock.
    realm.end("jitwg-signer")
    doctor = subprocess.run([binary("jitwg-signer"), "doctor", "--config", realm.dir / "signer.conf"], capture_output=True, text=True)
    assert "person alice by carol: laptop stolen" in doctor.stdout
    realm.start("jitwg-signer")
    assert "not_permitted" in apply(realm, realm.statement("unlock", "bob", person="alice", reason="x")).stderr
    assert "applied" in apply(realm, realm.statement("unlock", "carol", person="alice", reason="found")).stdout


def test_apply_takes_a_body_and_its_signature_as_ssh_keygen_leaves_them(realm):
    realm.start("jitwg-signer")
    document = realm.statement("lock", "carol", target="db", reason="x")
    (realm.dir / "statement.json.sig").write_text(document["signature"])
    assert "applied" in apply(realm, None, text=base64.b64decode(document["body"]).decode()).stdout


@pytest.mark.parametrize("text, code, exit", [
    ("", "bad_json", 2), ("{}", "bad_value", 2), ('{"body":"e30=","signature":"x"}', "bad_value", 2), ("x" * 70000, "too_large", 3),
], ids=["empty", "no-document", "no-statement", "huge"])  # fmt: skip
def test_apply_refuses_what_is_none(realm, text, code, exit):
    realm.start("jitwg-signer")
    done = apply(realm, None, "--json", text=text)
    assert (json.loads(done.stdout)["error"]["code"], done.returncode) == (code, exit)


def test_apply_without_a_signer_says_so(realm):
    done = apply(realm, realm.statement("lock", "carol", target="db", reason="x"))
    assert done.returncode == 5 and "systemctl status jitwg-signer" in done.stderr
