"""jitwg against a broker that lies (DESIGN §1.3): it signs for the real one only, and acts on no grant but its own."""

import base64
import hashlib
import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import sk_keys  # noqa: E402
from cli_test import JITWG, _public_key  # noqa: E402
from realm import wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(JITWG is None, reason="SKIPPED: jitwg is not built")

REALM = "lab-1"


class OwnedBroker:
    """Answers what `answers` says for a path, a value or a function of the request's JSON."""

    def __init__(self, path):
        self.answers, self.seen = {}, []
        broker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                path = self.path.split("?")[0]
                broker.seen.append((self.command, path, body))
                status, value = broker.answer(path, body)
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = _answer

            def address_string(self):
                return "unix"

            def log_message(self, *args):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path, body):
        for known, answer in self.answers.items():
            if path.endswith(known):
                return answer(body) if callable(answer) else answer
        return 404, {"error": {"code": "unknown_path", "message": path, "hint": ""}}

    def statements(self):
        documents = [json.loads(body) for _, path, body in self.seen if path == "/v1/statements"]
        return [(base64.b64decode(d["body"]), d["signature"]) for d in documents]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class World:
    """alice's machine, and what signs: her key, the CA, another CA."""

    def __init__(self, folder):
        self.folder = folder
        self.keys = {name: _public_key(folder, name) for name in ("alice", "ca", "other_ca", "host")}
        self.broker = OwnedBroker(folder / "broker.sock")
        self.broker.answers["/v1/realm"] = (200, self.realm())
        self.broker.answers["/v1/statements"] = self.take_statement
        self.broker.answers["/activate"] = lambda body: (200, self.activation())
        self.change = lambda grant: None
        self.signed_by = "ca"
        self.state = "approved"
        config = folder / ".config/jitwg"
        config.mkdir(parents=True)
        (config / "config").write_text(
            f"broker = unix:{folder}/broker.sock\nrealm = {REALM}\nca = {self.keys['ca']}\nperson = alice\n"
        )

    def realm(self, **changes):
        return {"realm": REALM, "version": "0", "now": now(), "ca_public_key": self.keys["ca"], **changes}

    def jitwg(self, *args, identity=True, **environment):
        words = [JITWG, *args, "--json"] + (["--identity", str(self.folder / "alice")] if identity else [])
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment}
        return subprocess.run(words, env=env, text=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)

    def take_statement(self, body):
        self.request = json.loads(base64.b64decode(json.loads(body)["body"]))
        self.broker.answers["/" + self.request["session"]] = lambda _: (200, self.session())
        return 200, self.session()

    def session(self):
        r = self.request
        unset = ("close_reason ticket login gateway address serial not_before not_after incident evidence").split()
        return {**dict.fromkeys(unset), "session": r["session"], "state": self.state, "person": r["by"],
                "target": r["target"], "reason": r["reason"], "duration": r["duration"], "jump_hosts": [], "scope": [],
                "wg_public_key": r["wg_public_key"], "requested_at": r["at"], "break_glass": False,
                "approvals": []}  # fmt: skip

    def activation(self):
        r = self.request
        grant = {"type": "grant", "v": 1, "realm": REALM, "session": r["session"], "person": "alice",
                 "target": r["target"], "wg_public_key": r["wg_public_key"], "address": ["10.90.0.2/32"],
                 "scope": ["tcp 10.60.10.20:5432"], "jump_hosts": [], "policy_sha256": "b" * 64, "break_glass": False,
                 "gateway": {"name": "gw1", "wireguard_key": "AwEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
                             "endpoint": "192.0.2.10:51820"},
                 "not_before": now(), "not_after": now(60)}  # fmt: skip
        self.change(grant)
        document = sign(self.folder / self.signed_by, "jitwg-grant", json.dumps(grant))
        return {"session": {**self.session(), "state": "active"}, "certificate": None, "grant": document}

    def written(self):
        return sorted(path.name for path in self.folder.rglob("*.conf")) + [
            path.name for path in self.folder.rglob("grant.json")
        ]


def now(offset=0):
    return subprocess.check_output(["date", "-u", f"-d{offset} seconds", "+%FT%TZ"], text=True).strip()


def sign(key, namespace, text):
    signature = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)], input=text, text=True,
                               capture_output=True, check=True).stdout  # fmt: skip
    return {"body": base64.b64encode(text.encode()).decode(), "signature": signature}


def verify(folder, keys, body, signature):
    (folder / "signers").write_text(f'alice namespaces="jitwg" {keys["alice"]}\n')
    (folder / "signature").write_text(signature)
    done = subprocess.run(["ssh-keygen", "-Y", "verify", "-n", "jitwg", "-I", "alice", "-f", str(folder / "signers"),
                           "-s", str(folder / "signature")], input=body, capture_output=True)  # fmt: skip
    return done.returncode == 0


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.broker.close()


@pytest.fixture
def agent(world):
    """An agent that offers a certificate and a key that nobody may sign with before alice's key."""
    socket = world.folder / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", str(world.folder / "ecdsa")], check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", str(world.folder / "ca"), "-I", "x", "-n", "x",
                    str(world.folder / "alice.pub")], check=True)  # fmt: skip
    for key in ("ecdsa", "alice"):
        subprocess.run(["ssh-add", "-q", str(world.folder / key)], env=environment, check=True)
    yield str(socket)
    process.terminate()
    process.wait()


def error_of(result):
    return json.loads(result.stdout.splitlines()[-1])["error"]


def request(world, *more, **environment):
    return world.jitwg("request", "db-prod", "--reason", "INC-1", "--for", "5m", *more, **environment)


def test_what_it_signs_is_what_ssh_keygen_verifies(world):
    assert request(world).returncode == 0
    [(body, signature)] = world.broker.statements()
    assert verify(world.folder, world.keys, body, signature)
    said = json.loads(body)
    assert (said["by"], said["target"], said["duration"], said["realm"]) == ("alice", "db-prod", 300, REALM)


def test_private_keys_and_token_stay(world):
    request(world)
    folder = next((world.folder / ".local/state/jitwg").glob("0*"))
    sent = "".join(body for _, _, body in world.broker.seen) + base64.b64decode(
        json.loads((folder / "request.json").read_text())["body"]
    ).decode()
    for name in ("wg.key", "id", "token"):
        path = folder / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip().splitlines()[0 if name != "id" else 1] not in sent
    assert folder.stat().st_mode & 0o777 == 0o700
    public = subprocess.run(["wg", "pubkey"], input=(folder / "wg.key").read_text(), text=True, capture_output=True)
    assert public.stdout.strip() == world.request["wg_public_key"]
    assert hashlib.sha256(bytes.fromhex((folder / "token").read_text())).hexdigest() == world.request["token_sha256"]


def test_the_agent_signs(world, agent):
    assert request(world, identity=False, SSH_AUTH_SOCK=agent).returncode == 0
    assert verify(world.folder, world.keys, *world.broker.statements()[0])


def test_a_public_key_file_chooses_the_agents_key(world, agent):
    chosen = ("--identity", str(world.folder / "alice.pub"))
    assert request(world, *chosen, identity=False, SSH_AUTH_SOCK=agent).returncode == 0
    other = ("--identity", str(world.folder / "host.pub"))
    refused = request(world, *other, identity=False, SSH_AUTH_SOCK=agent)
    assert refused.returncode == 2 and error_of(refused)["code"] == "bad_key"


def test_of_several_keys_it_says_which_it_takes(world, agent):
    assert "several" not in request(world, identity=False, SSH_AUTH_SOCK=agent).stderr
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", str(world.folder / "host")], env=environment, check=True)
    said = request(world, identity=False, SSH_AUTH_SOCK=agent).stderr
    assert "several keys" in said and "--identity" in said
    assert "several" not in request(world, "--identity", str(world.folder / "alice.pub"), identity=False, SSH_AUTH_SOCK=agent).stderr


def test_without_agent_and_key_it_says_what_to_do(world):
    result = request(world, identity=False)
    assert result.returncode == 2 and "ssh-add" in error_of(result)["hint"]


KINDS = {"ed25519": ["-t", "ed25519"], "ecdsa": ["-t", "ecdsa", "-b", "256"], "rsa": ["-t", "rsa", "-b", "3072"]}


def make_identity(world, *options, passphrase=""):
    """alice's key anew, of another kind."""
    for old in ("alice", "alice.pub"):
        (world.folder / old).unlink()
    words = ["ssh-keygen", "-q", "-N", passphrase, "-C", "", "-f", str(world.folder / "alice"), *options]
    subprocess.run(words, check=True, env=sk_keys.environment(), stdin=subprocess.DEVNULL)
    world.keys["alice"] = (world.folder / "alice.pub").read_text().strip()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["file", "agent"])
def test_keys_of_all_types_sign(world, agent, kind, by):
    make_identity(world, *KINDS[kind])
    environment = {}
    if by == "agent":
        environment = {"SSH_AUTH_SOCK": agent}
        subprocess.run(["ssh-add", "-q", "-D"], env={**os.environ, **environment}, check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["ssh-add", "-q", str(world.folder / "alice")], env={**os.environ, **environment}, check=True)
    result = request(world, identity=by == "file", **environment)
    assert result.returncode == 0, result.stderr
    assert verify(world.folder, world.keys, *world.broker.statements()[0])
    assert not list(pathlib.Path("/tmp").glob("jitwg-sign.*"))


@sk_keys.needs_provider
@pytest.mark.parametrize("kind", ["ed25519-sk", "ecdsa-sk"])
@pytest.mark.parametrize("by", ["file", "agent"])
def test_hardware_keys_sign(world, kind, by, tmp_path):
    make_identity(world, "-t", kind)
    environment = {k: v for k, v in sk_keys.environment(1).items() if "SK" in k or "ASKPASS" in k}
    if by == "agent":
        socket = str(tmp_path / "sk-agent")
        words = ["ssh-agent", "-D", "-a", socket, "-P", sk_keys.provider()]
        running = subprocess.Popen(words, env=sk_keys.environment(1), stdout=subprocess.DEVNULL)
    try:
        if by == "agent":
            wait_for(lambda: os.path.exists(socket), "the agent")
            environment["SSH_AUTH_SOCK"] = socket
            subprocess.run(["ssh-add", "-q", str(world.folder / "alice")], env={**os.environ, **environment}, check=True)
        result = request(world, identity=by == "file", **environment)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "touch your hardware key" in result.stderr
        assert verify(world.folder, world.keys, *world.broker.statements()[0])
    finally:
        if by == "agent":
            running.terminate()
            running.wait()


@sk_keys.needs_provider
def test_a_hardware_key_that_nobody_touched_is_of_no_use(world):
    make_identity(world, "-t", "ed25519-sk")
    environment = {k: v for k, v in sk_keys.environment(0).items() if "SK" in k or "ASKPASS" in k}
    result = request(world, **environment)
    assert result.returncode == 3 and error_of(result)["code"] == "no_touch"
    assert world.broker.statements() == []


def test_ssh_keygen_asks_for_the_passphrase(world, tmp_path):
    make_identity(world, "-t", "ed25519", passphrase="secret")
    for answer, code in (("secret", 0), ("wrong", 2)):
        askpass = tmp_path / "askpass"
        askpass.write_text(f"#!/bin/sh\necho {answer}\n")
        askpass.chmod(0o755)
        result = request(world, SSH_ASKPASS=str(askpass), SSH_ASKPASS_REQUIRE="force")
        assert result.returncode == code, result.stdout + result.stderr
    assert "passphrase" in error_of(result)["message"] and "ssh-add" in error_of(result)["hint"]
    assert verify(world.folder, world.keys, *world.broker.statements()[0])


@pytest.mark.parametrize("options, words", [(["-t", "rsa", "-b", "2048"], "2048 bits"), (["-t", "ecdsa", "-b", "384"], "not accepted")])
def test_keys_that_nobody_may_sign_with(world, options, words):
    make_identity(world, *options)
    result = request(world)
    assert result.returncode == 2 and words in error_of(result)["message"]


def test_a_key_that_others_may_read_is_refused(world):
    (world.folder / "alice").chmod(0o644)
    assert error_of(request(world))["code"] == "unsafe_file"


def test_it_signs_nothing_for_another_realm_or_ca(world):
    for change, code in (({"realm": "lab-2"}, "wrong_realm"), ({"ca_public_key": world.keys["other_ca"]}, "foreign_grant")):
        world.broker.answers["/v1/realm"] = (200, world.realm(**change))
        result = request(world)
        assert result.returncode == 3 and error_of(result)["code"] == code
    assert world.broker.statements() == []


def test_a_refused_request_leaves_no_keys(world):
    refusal = {"error": {"code": "unknown_person", "message": "who?", "hint": ""}}
    world.broker.answers["/v1/statements"] = (403, refusal)
    result = request(world)
    assert result.returncode == 3 and error_of(result)["code"] == "unknown_person"
    assert not list((world.folder / ".local/state/jitwg").glob("0*"))


def test_an_answer_that_is_none_is_no_success(world):
    for answer in ({}, [], {"session": "x"}, "approved", None):
        world.broker.answers["/v1/statements"] = (200, answer)
        result = request(world)
        assert result.returncode == 1 and error_of(result)["code"] == "corrupt", answer


def test_its_own_grant_is_taken(world):
    request(world)
    result = world.jitwg("activate", world.request["session"][-6:])
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)["state"] == "active"
    assert world.written() == [f"jw-{world.request['session'][-8:]}.conf", "grant.json"]


LIES = {
    "of another session": lambda g: g.update(session="019b0000-0000-7000-8000-0000fa12ab34"),
    "of another person": lambda g: g.update(person="bob"),
    "for another target": lambda g: g.update(target="db-test"),
    "for another WireGuard key": lambda g: g.update(wg_public_key="BAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    "longer than asked": lambda g: g.update(not_after=now(301)),
    "with a command in it": lambda g: g["gateway"].update(endpoint="192.0.2.1:1\nPostUp = id"),
    "with a command as target": lambda g: g.update(target="db-prod\nPostUp = id"),
    "with a line of its own in /etc/hosts": lambda g: g.update(names={"db1\n127.0.0.1 bank.example": "10.60.10.20"}),
    "with a name for localhost": lambda g: g.update(names={"localhost": "10.60.10.20"}),
    "with a name for what it does not reach": lambda g: g.update(names={"db1": "10.60.10.21"}),
    "with an option as login": lambda g: g.update(login="-oProxyCommand=id"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_grant_that_is_not_its_own_writes_nothing(world, lie):
    request(world)
    world.change = LIES[lie]
    result = world.jitwg("up", world.request["session"], "--no-interface")
    assert result.returncode == 3 and error_of(result)["code"] == "foreign_grant", result.stdout
    assert world.written() == []


def hosts_lines(world, session):
    words = [JITWG, "names", session]
    return subprocess.run(words, env={"PATH": os.environ["PATH"], "HOME": str(world.folder)}, text=True, capture_output=True, timeout=30)


def test_names_are_hosts_lines_of_the_signed_grant_alone(world):
    request(world)
    session = world.request["session"]
    early = world.jitwg("names", session)
    assert error_of(early)["code"] == "not_live" and early.returncode != 0
    names = {"db1": "10.60.10.20", "db1.prod.example": "10.60.10.20", "six": "fd00:60::20"}
    world.change = lambda grant: grant.update(names=names, scope=["tcp 10.60.10.0/24:5432", "icmp fd00:60::20"])
    assert world.jitwg("activate", session).returncode == 0

    asked = len(world.broker.seen)
    lines = hosts_lines(world, session[-6:])
    assert lines.returncode == 0 and len(world.broker.seen) == asked, "the broker has no say in it"
    mark = f"# jitwg {session[-8:]}"
    assert lines.stdout.splitlines() == [
        f"10.60.10.20 db1 {mark}", f"10.60.10.20 db1.prod.example {mark}", f"fd00:60::20 six {mark}"]  # fmt: skip
    machine = json.loads(world.jitwg("names", session).stdout)
    assert machine["names"] == names and machine["session"] == session and machine["target"] == "db-prod"

    # Changed on this machine's disk: no longer what the CA signed.
    grant = next(world.folder.rglob("grant.json"))
    document = json.loads(grant.read_text())
    body = base64.b64decode(document["body"]).replace(b'"db1"', b'"dbx"')
    grant.write_text(json.dumps({**document, "body": base64.b64encode(body).decode()}))
    assert error_of(world.jitwg("names", session))["code"] == "bad_signature"


def test_without_names_there_are_no_lines(world):
    request(world)
    session = world.request["session"]
    assert world.jitwg("activate", session).returncode == 0
    lines = hosts_lines(world, session)
    assert (lines.returncode, lines.stdout) == (0, "") and "no names" in lines.stderr
    assert json.loads(world.jitwg("names", session).stdout)["names"] is None


def test_names_end_with_the_session(world):
    request(world)
    session = world.request["session"]
    world.change = lambda grant: grant.update(names={"db1": "10.60.10.20"}, not_after=now(6))
    assert world.jitwg("activate", session).returncode == 0
    world.state = "closed"
    world.jitwg("show", session)  # that is how this machine learns of it
    over = world.jitwg("names", session)
    assert over.returncode == 4 and error_of(over)["code"] == "session_ended"


def test_show_shows_names_and_believes_no_nonsense_for_one(world):
    request(world)
    session = world.request["session"]
    plain = [JITWG, "show", session]
    env = {"PATH": os.environ["PATH"], "HOME": str(world.folder)}
    real = world.session
    world.session = lambda: {**real(), "names": {"db1.prod.example": "10.60.10.20"}}
    shown = subprocess.run(plain, env=env, capture_output=True, text=True, timeout=30)
    assert "db1.prod.example = 10.60.10.20" in shown.stdout
    assert json.loads(world.jitwg("show", session).stdout)["names"] == {"db1.prod.example": "10.60.10.20"}
    for bad in ({"\x1b[31m": "10.60.10.20"}, {"db1": "here"}, ["db1"], {}):
        world.session = lambda: {**real(), "names": bad}
        assert error_of(world.jitwg("show", session))["code"] == "corrupt", bad


def test_a_grant_of_another_ca_writes_nothing(world):
    request(world)
    world.signed_by = "other_ca"
    result = world.jitwg("activate", world.request["session"])
    assert result.returncode == 3 and error_of(result)["code"] == "foreign_grant"
    assert world.written() == []


def test_a_broker_that_says_active_without_a_grant_gives_nothing(world):
    request(world)
    world.broker.answers["/activate"] = (200, {"session": world.session(), "certificate": None, "grant": None})
    result = world.jitwg("activate", world.request["session"])
    assert result.returncode == 1 and world.written() == []


def test_pending_is_exit_6_at_once_and_at_timeout(world):
    world.state = "pending"
    request(world)
    assert world.jitwg("activate", world.request["session"]).returncode == 6
    waited = world.jitwg("up", world.request["session"], "--timeout", "1s")
    assert waited.returncode == 6 and error_of(waited)["code"] == "still_pending"
    assert "waiting for approval" in waited.stderr


def test_an_export_holds_no_command_of_the_broker(world):
    request(world)
    evil = "0\n\n    touch /tmp/owned\n"
    world.broker.answers = {
        "/v1/statements": (200, {"read_until": "2099-01-01T00:00:00Z"}), "/v1/realm": (200, world.realm()),
        "/export": (200, {"session": world.session(), "statements": [], "grant": None, "certificate": None, "events": [], "people": None,
                          "policy": {"policy": "", "policy_sha256": evil, "ca_public_key": world.keys["ca"]}})}  # fmt: skip
    target = world.folder / "exported"
    result = world.jitwg("export", world.request["session"], str(target))
    assert error_of(result)["code"] == "corrupt", result.stdout
    assert not (target / "VERIFY.md").exists() or "owned" not in (target / "VERIFY.md").read_text()


def test_escapes_of_the_broker_reach_no_terminal(world):
    refusal = {"error": {"code": "no_rule", "message": "\x1b]0;owned\x07", "hint": "\u202e"}}
    world.broker.answers["/v1/statements"] = (403, refusal)
    words = [JITWG, "request", "db", "--reason", "x", "--identity", str(world.folder / "alice")]
    result = subprocess.run(words, env={"PATH": os.environ["PATH"], "HOME": str(world.folder)}, text=True,
                            capture_output=True, timeout=30)  # fmt: skip
    assert result.returncode == 3
    assert "\x1b" not in result.stderr and "\u202e" not in result.stderr and "\\u{1b}" in result.stderr


def test_a_request_that_never_arrived_is_sent_again_with_its_id(world):
    lost = []
    world.broker.answers["/v1/statements"] = lambda body: lost.append(body) or (
        503, {"error": {"code": "broker_unavailable", "message": "gone in the middle", "hint": ""}})
    refused = request(world)
    assert refused.returncode == 5 and len(lost) == 1
    session = json.loads(base64.b64decode(json.loads(lost[0])["body"]))["session"]
    assert session in error_of(refused)["hint"]
    # As the real broker says of a session it does not know, to whoever holds no other token.
    world.broker.answers["/" + session] = (401, {"error": {"code": "bad_token", "message": "not here", "hint": ""}})
    world.broker.answers["/v1/statements"] = lambda body: (lost.append(body), world.take_statement(body))[1]
    assert world.jitwg("activate", session).returncode == 0
    assert lost[0] == lost[1], "the same bytes"


def test_twenty_at_once_do_not_trip_over_each_other(world):
    request(world)
    session = world.request["session"]
    words = [JITWG, "activate", session, "--json"]
    env = {"PATH": os.environ["PATH"], "HOME": str(world.folder)}
    all_of_them = [subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(20)]
    outputs = [one.communicate(timeout=60) for one in all_of_them]
    assert [one.returncode for one in all_of_them] == [0] * 20, outputs
    assert not list(world.folder.rglob("*.new"))


@pytest.mark.parametrize("words", [["--for", ""], ["--ticket", ""], ["--reason", "caf\udce9"]], ids=["for", "ticket", "latin1"])
def test_an_empty_or_garbled_option_is_no_default(world, words):
    result = world.jitwg("request", "db-prod", *(["--reason", "x"] if "--reason" not in words else []), *words)
    assert result.returncode == 2 and error_of(result)["code"] == "bad_argument"
    assert world.broker.statements() == []
