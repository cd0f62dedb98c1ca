"""jitwg lock, revoke, incident, write-off, export, statement and ssh-command, with the real broker and signer."""

import getpass
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import Realm, binary, rfc3339, uuid7, wait_for  # noqa: E402
from locks_test import active, open_incident, post, show, told  # noqa: E402

pytestmark = pytest.mark.skipif(not all(binary(name) for name in ("jitwgd", "jitwg-signer", "jitwg")),
                                reason="SKIPPED: jitwgd, jitwg-signer or jitwg is not built")


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


@pytest.fixture
def jitwg(realm):
    def run(person, *words, stdin=None, **environment):
        home = realm.dir / f"home-{person}"
        (home / ".config/jitwg").mkdir(parents=True, exist_ok=True)
        (home / ".config/jitwg/config").write_text(
            f"broker = unix:{realm.run}/broker.sock\nrealm = lab-1\nca = {realm.public_key('ca')}\n"
            f"person = {person}\nidentity = {realm.dir}/{person}\n")
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "TZ": "UTC", **environment}
        return subprocess.run([binary("jitwg"), *words], env=env, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                              text=True, capture_output=True, timeout=60)
    return run


def good(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_lock_says_what_it_ends_before_it_is_signed(realm, jitwg):
    realm.node("gw1"), realm.node("jump1")
    (one, token), (two, _) = active(realm, by="bob"), active(realm, by="bob", target="net")
    document, waiting, _ = realm.request(by="bob")
    realm.post("/v1/statements", document)
    done = jitwg("erin", "lock", "bob", "--reason", "laptop stolen", "--ask", stdin="n\n")
    assert "ends 2 live sessions of bob, cancels 1 request" in done.stdout and one[-8:] in done.stdout
    assert done.returncode == 2 and "nothing was signed" in done.stderr and show(realm, one, token)[0] == "active"
    assert "locked person bob; 3 sessions and requests ended" in good(jitwg("erin", "lock", "bob", "--reason", "laptop stolen", "--yes"))
    assert re.search(r"person bob +erin +\S+ .*laptop stolen", good(jitwg("carol", "locks")))
    assert json.loads(jitwg("carol", "locks", "--json").stdout)[0]["name"] == "bob"

    denied = jitwg("bob", "request", "db", "--reason", "x", "--json")
    assert denied.returncode == 3 and json.loads(denied.stdout)["error"]["code"] == "locked"
    assert "unlocked person bob" in good(jitwg("erin", "unlock", "bob", "--reason", "new one"))
    assert "nothing is locked" in good(jitwg("erin", "locks"))


def test_exactly_one_thing_is_named(jitwg):
    for words in (["revoke"], ["revoke", "--target", "db", "--all"], ["lock"], ["lock", "bob", "--all"], ["unlock"]):
        done = jitwg("erin", *words, "--reason", "x", "--json")
        assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "bad_argument", words


def test_revoke_of_all_of_a_person_and_on_a_target(realm, jitwg):
    realm.node("gw1"), realm.node("jump1")
    session, token = active(realm)
    assert "revoked person alice; 1 session or request ended" in good(jitwg("erin", "revoke", "--person", "alice", "--reason", "x"))
    wait_for(lambda: show(realm, session, token) == ("closed", "revoked"), "revoked")
    assert "ends nothing" in good(jitwg("erin", "revoke", "--target", "db", "--reason", "x"))
    assert jitwg("bob", "revoke", "--all", "--reason", "x").returncode == 3


def test_a_saved_lock_is_sent_nowhere_and_the_signer_takes_it(realm, jitwg):
    file = realm.dir / "lock.json"
    realm.end("jitwgd")  # a broker that swallows it, or is gone
    good(jitwg("erin", "lock", "--target", "db", "--reason", "owned", "--save", str(file)))
    assert json.loads(file.read_text()).keys() == {"body", "signature"}
    shown = good(jitwg("bob", "statement", "show", str(file)))
    assert re.search(r"^type +lock$", shown, re.M) and re.search(r"^target +db$", shown, re.M)
    verified = jitwg("bob", "statement", "verify", str(file), "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["person"] == "erin"
    question = json.dumps({"op": "apply", "statement": json.loads(file.read_text())}).encode()
    with socket.socket(socket.AF_UNIX) as signer:
        signer.connect(str(realm.run / "signer.sock"))
        signer.sendall(len(question).to_bytes(4, "big") + question)
        assert b"applied" in signer.recv(4096)
    assert told(realm) == ["lock"]


def test_statement_verify_says_what_is_wrong(realm, jitwg):
    good_one = realm.dir / "s.json"
    good(jitwg("erin", "lock", "--all", "--reason", "x", "--save", str(good_one)))
    document = json.loads(good_one.read_text())
    forged = realm.dir / "forged.json"
    forged.write_text(json.dumps({**document, "signature": realm.sign("bob", "other")["signature"]}))
    done = jitwg("bob", "statement", "verify", str(forged), "--json")
    assert done.returncode == 3 and json.loads(done.stdout)["error"]["code"] == "bad_signature"
    other = realm.dir / "others"
    other.write_text(f'bob namespaces="jitwg" {realm.public_key("bob")}\n')
    done = jitwg("bob", "statement", "verify", str(good_one), "--allowed-signers", str(other), "--json")
    assert done.returncode == 3 and json.loads(done.stdout)["error"]["code"] == "unknown_person"
    alone = realm.dir / "alone"
    alone.mkdir()
    shutil.copy(good_one, alone / "s.json")
    done = jitwg("bob", "statement", "verify", str(alone / "s.json"))
    assert done.returncode == 0 and "the broker's allowed_signers" in done.stderr
    assert jitwg("bob", "statement", "verify", str(realm.dir / "none")).returncode == 1
    bad = realm.dir / "bad"
    bad.write_text("{}")
    assert jitwg("bob", "statement", "show", str(bad)).returncode == 2


def test_an_incident_through_the_cli(realm, jitwg):
    realm.node("gw1"), realm.node("jump1")
    incident = json.loads(jitwg("carol", "incident", "open", "label:prod", "--reason", "INC-7", "--for", "2h", "--json").stdout)["incident"]
    assert "label:prod" in good(jitwg("bob", "incident", "list"))
    for name in (incident, incident[-6:]):
        asked = json.loads(jitwg("bob", "request", "db", "--reason", "x", "--incident", name, "--json").stdout)
        assert (asked["state"], asked["incident"]) == ("approved", incident)
    assert jitwg("bob", "request", "db", "--reason", "x", "--incident", "abcdef0").returncode == 2
    assert asked["session"][-8:] in good(jitwg("bob", "incident", "show", incident[-6:]))
    assert "extended" in good(jitwg("alice", "incident", "extend", incident[-6:], "--for", "3h", "--reason", "x"))
    closed = good(jitwg("carol", "incident", "close", incident[-6:], "--reason", "mended"))
    assert "cancels 2 requests" in closed and "2 sessions and requests ended" in closed
    realm.dir  # a review is another person's than the opener's
    assert jitwg("carol", "incident", "review", incident[-6:], "--comment", "fine").returncode == 3


def test_write_off_through_the_cli(realm, jitwg):
    realm.node("gw1", prove=False), realm.node("jump1")
    session, token = active(realm, duration=10)
    realm.post(f"/v1/sessions/{session}/return", token=token)
    end = realm.get(f"/v1/sessions/{session}", token)[1]["not_after"]
    wait_for(lambda: rfc3339() >= end, "its end")
    assert "the session is closed" in good(jitwg("erin", "write-off", session, "--node", "gw1", "--reason", "burnt"))


def test_who_decided_and_how_it_ended_is_said_in_words(realm, jitwg):
    document, session, _ = realm.request()
    realm.post("/v1/statements", document)
    assert session[-8:] not in good(jitwg("alice", "pending")), "never one's own, though alice approves others'"
    assert session[-8:] in good(jitwg("carol", "pending"))
    seen = good(jitwg("carol", "approve", session, "--for", "30s", "--comment", "thirty will do"))
    assert "tcp 10.60.10.20:5432" in seen and "30s (asked for 1m)" in seen
    assert "approved by carol" in good(jitwg("alice", "list"))
    assert "thirty will do" in good(jitwg("alice", "show", session))
    document, session, _ = realm.request()
    realm.post("/v1/statements", document)
    assert jitwg("carol", "deny", session).returncode == 2, "a reason is due"
    good(jitwg("carol", "deny", session, "--reason", "use the replica"))
    assert re.search(r"denied +carol.*use the replica", good(jitwg("alice", "show", session)))
    assert "denied by carol" in good(jitwg("alice", "list"))


def test_the_doctor_warns_of_a_lock_on_oneself(realm, jitwg):
    good(jitwg("bob", "list"))  # a login that holds
    post(realm, "lock", "erin", person="bob", reason="laptop stolen")
    found = {one["check"]: one for one in json.loads(jitwg("bob", "doctor", "--json").stdout)}
    assert found["lock"]["level"] == "warning" and "laptop stolen" in found["lock"]["text"]


# --- export ---

def lines_of(directory):
    return re.findall(r"^    (.+)$", (directory / "VERIFY.md").read_text(), re.M)


@pytest.fixture
def exported(realm, jitwg):
    realm.node("gw1"), realm.node("jump1")
    session, token = active(realm)
    post(realm, "lock", "erin", target="db", reason="owned")
    wait_for(lambda: show(realm, session, token) == ("closed", "locked"), "closed")
    directory = realm.dir / "out"
    good(jitwg("alice", "export", session, str(directory)))
    return session, directory


def shell(line, directory):
    # Stock tools only: nothing of ours is in this PATH.
    return subprocess.run(["bash", "-c", line], cwd=directory, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)


def test_every_line_of_verify_md_works_as_it_stands(exported):
    session, directory = exported
    lines = lines_of(directory)
    for line in lines:
        done = shell(line, directory)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    text = "\n".join(lines)
    for wanted in ("01-request-alice.json", "decision-carol.json", "lock-erin.json", "grant.json.sig", "ssh-keygen -L", "sha256sum", "events.log"):
        assert wanted in text, wanted
    assert "no seal" in (directory / "VERIFY.md").read_text()
    assert session in (directory / "session.json").read_text()


@pytest.mark.parametrize("file", ["01-request-alice.json", "02-decision-carol.json", "grant.json", "policy.toml", "events.log"])
def test_what_was_altered_does_not_pass(exported, file):
    _, directory = exported
    path = directory / file
    path.write_bytes(path.read_bytes().replace(b"alice", b"mallo", 1))
    assert any(shell(line, directory).returncode != 0 for line in lines_of(directory))


def test_statement_verify_reads_what_was_exported(exported, jitwg):
    _, directory = exported
    assert "good: a decision signed by carol" in good(jitwg("bob", "statement", "verify", str(directory / "02-decision-carol.json")))


def test_export_overwrites_nothing_and_needs_the_right_to_read(exported, jitwg, realm):
    session, directory = exported
    assert "not empty" in jitwg("alice", "export", session, str(directory)).stderr
    assert jitwg("dave", "export", session, str(realm.dir / "no")).returncode == 2
    assert not (realm.dir / "no").exists()


def test_policy_and_people_are_those_of_then(realm, jitwg, exported):
    session, directory = exported
    before = (directory / "policy.toml").read_bytes()
    realm.reload_policy(scope="tcp 10.60.10.99:5432")
    wait_for(lambda: realm.log("jitwgd").count("policy.loaded") > 1, "the other policy", 40)
    good(jitwg("alice", "export", session, str(realm.dir / "later")))
    assert (realm.dir / "later/policy.toml").read_bytes() == before


def test_lists_of_people_are_exported_as_they_counted(realm, jitwg):
    (realm.dir / "platform.txt").write_text("bob\nalice\n")
    policy = (realm.dir / "policy.toml").read_text().replace('platform = ["alice", "bob"]', 'platform = { file = "platform.txt", max_age = "26h" }')
    (realm.dir / "policy.toml").write_text(policy)
    realm.end("jitwgd")
    realm.end("jitwg-signer")
    realm.start("jitwg-signer", "jitwgd")
    realm.node("gw1"), realm.node("jump1")
    session, _ = active(realm)
    good(jitwg("alice", "export", session, str(realm.dir / "out")))
    assert (realm.dir / "out/groups.platform").read_text() == "alice\nbob\n"
    assert "sha256sum policy.toml groups.platform" in (realm.dir / "out/VERIFY.md").read_text()
    for line in lines_of(realm.dir / "out"):
        assert shell(line, realm.dir / "out").returncode == 0, line


# --- approving through a forwarded agent ---

@pytest.fixture
def ssh_account(realm, jitwg):
    """sshd with one account whose keys are forced into `jitwg ssh-command PERSON`; yields a function that runs ssh -A."""
    if os.geteuid() != 0 or not shutil.which("sshd", path="/usr/sbin:/usr/bin"):
        pytest.skip("SKIPPED: needs root and sshd")
    jitwg("carol", "version")  # makes the home
    folder = realm.dir / "sshd"
    folder.mkdir()
    home = realm.dir / "home-approve"
    (home / ".config/jitwg").mkdir(parents=True)
    (home / ".config/jitwg/config").write_text(f"broker = unix:{realm.run}/broker.sock\nrealm = lab-1\nca = {realm.public_key('ca')}\n")
    force = f'HOME={home} {binary("jitwg")} ssh-command'
    (folder / "keys").write_text("".join(
        f'restrict,agent-forwarding,command="{force} {person}" {realm.public_key(person)}\n' for person in ("carol", "bob")))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    port = 20000 + os.getpid() % 20000
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nAuthorizedKeysFile {folder}/keys\nStrictModes no\n"
        f"UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nExposeAuthInfo yes\nPermitRootLogin yes\n")
    os.makedirs("/run/sshd", exist_ok=True)
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", folder / "config"], stderr=open(folder / "log", "wb"))
    agents = []

    def ssh(person, *words, keys=None, stdin=""):
        socket_ = folder / f"agent-{len(agents)}"
        agents.append(subprocess.Popen(["ssh-agent", "-D", "-a", socket_], stdout=subprocess.DEVNULL))
        wait_for(socket_.exists, "ssh-agent")
        env = {"PATH": os.environ["PATH"], "HOME": str(realm.dir), "SSH_AUTH_SOCK": str(socket_)}
        for key in keys or [person]:
            subprocess.run(["ssh-add", "-q", realm.dir / key], env=env, check=True)
        return subprocess.run(["ssh", "-A", "-F", "none", "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known",
                               "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-i", realm.dir / f"{person}.pub",
                               f"{getpass.getuser()}@127.0.0.1", *words], env=env, input=stdin, text=True, capture_output=True, timeout=60)

    def listening():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    wait_for(listening, "sshd")
    yield ssh
    for process in [sshd, *agents]:
        process.terminate()
        process.wait(timeout=10)


def test_approving_through_a_forwarded_agent_on_a_restricted_account(realm, ssh_account):
    document, session, token = realm.request()
    realm.post("/v1/statements", document)
    assert session[-8:] in good(ssh_account("carol", "jitwg", "pending"))
    declined = ssh_account("carol", "jitwg", "approve", session, stdin="n\n")
    assert "tcp 10.60.10.20:5432" in declined.stdout and "nothing was signed" in declined.stderr
    silent = ssh_account("carol", "jitwg", "approve", session)
    assert silent.returncode != 0 and show(realm, session, token)[0] == "pending", "nobody answered: nothing is signed"
    # bob's key comes first in the agent; it is carol who logged in, and her key signs.
    done = ssh_account("carol", "jitwg", "approve", session, "--comment", "'looks right'", keys=["bob", "carol"], stdin="y\n")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = realm.get(f"/v1/sessions/{session}", token)[1]
    assert [(one["person"], one["comment"]) for one in shown["approvals"]] == [("carol", "looks right")]


def test_the_restricted_account_runs_nothing_else(realm, ssh_account):
    for words in (["id"], ["jitwg", "lock", "bob", "--reason", "x"], ["jitwg", "statement", "show", "/etc/passwd"],
                  ["jitwg", "pending", "--person", "erin"], ["jitwg", "pending", "--config=/etc/passwd"],
                  ["jitwg", "show", "--broker", "unix:/x", "abcdef"], ["bash", "-c", "id"], [";", "id"], []):
        done = ssh_account("bob", *words)
        assert done.returncode == 3 and "uid=" not in done.stdout, words
    document, session, token = realm.request(by="bob")
    realm.post("/v1/statements", document)
    assert ssh_account("bob", "jitwg", "approve", session, "--yes").returncode == 3, "his own"
