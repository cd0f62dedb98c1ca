"""A realm without a network: real jitwg-signer, real jitwgd, people's keys, and nodes that only talk (no kernel).

For what the broker must do whatever nodes and callers do; the lab's tests have the real nodes.
"""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEOPLE = ["alice", "bob", "carol", "dave", "erin"]
CLEAN = {"gw1": {"peer": False, "elements": 0, "flows": 0}, "jump1": {"processes": 0}}

POLICY = """version = 1
realm = "lab-1"
[defaults]
duration = "60m"
max_duration = "90m"
pending_for = "{pending_for}"
activate_within = "{activate_within}"
pools = ["10.90.0.0/16"]
[groups]
platform = ["alice", "bob"]
security = ["carol", "erin"]
contractors = ["dave"]
[gateways.gw1]
endpoint = "192.0.2.10:51820"
wireguard_key = "{gateway_wg}"
node_key = "{gw1}"
[jump_hosts.jump1]
addresses = ["10.60.0.5"]
host_keys = ["{host}"]
node_key = "{jump1}"
[targets.db]
gateways = ["gw1"]
scope = ["{scope}"]
jump_hosts = ["jump1"]
login = "{{person}}"
ssh = ["pty"]
labels = ["prod"]
[targets.net]
gateways = ["gw1"]
scope = ["tcp 10.60.10.0/24:443"]
names = {{ "web1.lab.example" = "10.60.10.7" }}
nat = true
[[rule]]
name = "platform reaches the database"
who = [{who}]
targets = ["db"]
approvals = 1
approvers = ["group:security", "person:alice"]
[[rule]]
name = "platform reaches the network"
who = ["group:platform"]
targets = ["net"]
approvals = 0
[[rule]]
name = "platform in an incident"
who = ["group:platform"]
targets = ["label:prod"]
during = "incident"
approvals = 0
{keys}
[[deny]]
name = "contractors never"
who = ["group:contractors"]
targets = ["net"]
[incidents]
max_duration = "8h"
review_within = "72h"
[rights]
incident_open = ["person:alice", "person:carol"]
incident_close = ["person:carol"]
revoke = ["person:erin"]
lock = ["group:security"]
nodes = ["person:erin"]
audit_read = ["person:erin"]
"""
DEFAULTS = {"pending_for": "24h", "activate_within": "60m", "scope": "tcp 10.60.10.20:5432", "who": '"group:platform"', "keys": ""}


# Events go to stderr where there is no journald, and the tests read them there.
HIDE = 'mount -t tmpfs none /run/systemd/journal && exec "$@"'
WITHOUT_JOURNALD = ["unshare", "--mount", "sh", "-c", HIDE, "sh"] if os.path.exists("/run/systemd/journal/socket") else []


def binary(name):
    for build in (os.environ.get("JITWG_BUILD"), ROOT / "build/dev", ROOT / "build/release"):
        if build and (pathlib.Path(build) / "bin" / name).exists():
            return str(pathlib.Path(build) / "bin" / name)
    return None


def wait_for(check, what, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not in {seconds} s: {what}")


def rfc3339(offset=0):
    return (datetime.now(timezone.utc) + timedelta(seconds=offset)).strftime("%Y-%m-%dT%H:%M:%SZ")


def uuid7():
    value = int(time.time() * 1000) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def wireguard_key():
    key = bytearray(secrets.token_bytes(32))
    key[31] &= 0x7F  # the one spelling of its point
    return base64.b64encode(key).decode()


def listens(path):
    """A socket's file alone may be what an earlier program left."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class Http(http.client.HTTPConnection):
    def __init__(self, path, timeout=40):
        super().__init__("broker", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Realm:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.run = self.dir / "run"
        self.run.mkdir()
        self.processes = {}
        self.nodes = []
        for name in ["ca", "gw1", "jump1", "host", *PEOPLE]:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.dir / name], check=True)
        self.people = list(PEOPLE)
        self.gateway_wg = wireguard_key()
        self.write_policy()
        (self.dir / "signer").mkdir(0o700)
        (self.dir / "signer/ledger").touch(0o600)
        (self.dir / "signer.conf").write_text(
            f"policy = {self.dir}/policy.toml\nallowed-signers = {self.dir}/allowed_signers\nca-key = {self.dir}/ca\n"
            f"state-dir = {self.dir}/signer\nruntime-dir = {self.run}\n")
        (self.dir / "broker.conf").write_text(
            f"signer = {self.run}/signer.sock\nstate-dir = {self.dir}/broker\nruntime-dir = {self.run}\n")

    def public_key(self, name):
        return " ".join((self.dir / f"{name}.pub").read_text().split()[:2])

    def write_policy(self, **changes):
        keys = {name: self.public_key(name) for name in ("gw1", "jump1", "host")}
        (self.dir / "policy.toml").write_text(
            POLICY.format(**{**DEFAULTS, **changes}, **keys, gateway_wg=self.gateway_wg))
        (self.dir / "allowed_signers").write_text(
            "".join(f'{p} namespaces="jitwg" {self.public_key(p)}\n' for p in self.people))

    # --- programs ---
    def command(self, name, conf):
        return [*WITHOUT_JOURNALD, binary(name), "--config", self.dir / conf]

    def start(self, *names):
        for name in names:
            conf = {"jitwgd": "broker.conf", "jitwg-signer": "signer.conf"}[name]
            log = open(self.dir / f"{name}.log", "ab")
            self.processes[name] = subprocess.Popen(self.command(name, conf), stdout=log, stderr=log)
        if "jitwg-signer" in names:
            wait_for(lambda: listens(self.run / "signer.sock"), "signer.sock")
        if "jitwgd" in names and "jitwg-signer" in self.processes:
            wait_for(lambda: self.is_ready(), "jitwgd serving")

    def is_ready(self):
        try:
            return self.get("/v1/realm")[0] == 200
        except OSError:
            return False

    def end(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(how)
        return process.wait(timeout=20)

    def reload_policy(self, **changes):
        self.write_policy(**changes)
        self.processes["jitwg-signer"].send_signal(signal.SIGHUP)

    def close(self):
        for node in self.nodes:
            node.stop()
        for name in list(self.processes):
            self.end(name, signal.SIGKILL)

    def log(self, name):
        return (self.dir / f"{name}.log").read_text()

    # --- HTTP ---
    def call(self, method, path, body=None, token=None, connection=None):
        connection = connection or Http(self.run / "broker.sock")
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            raw = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
            connection.request(method, path, raw, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def get(self, path, token=None):
        return self.call("GET", path, None, token)

    def post(self, path, body=None, token=None):
        return self.call("POST", path, body, token)

    # --- statements ---
    def sign(self, key, text, namespace="jitwg"):
        done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", self.dir / key], input=text.encode(),
                              capture_output=True, check=True)
        return {"body": base64.b64encode(text.encode()).decode(), "signature": done.stdout.decode()}

    def statement(self, kind, by, key=None, **fields):
        head = {"type": kind, "v": 1, "realm": "lab-1", "by": by, "at": rfc3339(), "nonce": secrets.token_hex(16)}
        return self.sign(key or by, json.dumps({**head, **fields}))

    def request(self, by="alice", target="db", key=None, **fields):
        """A signed request: (document, session ID, token)."""
        token = secrets.token_bytes(32)
        ssh = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes.fromhex(self.fresh_ed25519())
        session = fields.pop("session", uuid7())
        body = {"session": session, "target": target, "reason": "INC-1", "duration": 60,
                "wg_public_key": wireguard_key(),
                "ssh_public_key": "ssh-ed25519 " + base64.b64encode(ssh).decode(),
                "token_sha256": hashlib.sha256(token).hexdigest(), **fields}
        return self.statement("request", by, key, **body), session, token.hex()

    def fresh_ed25519(self):
        path = self.dir / f"fresh-{secrets.token_hex(8)}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        blob = base64.b64decode(path.with_suffix(".pub").read_text().split()[1])
        return blob[-32:].hex()

    def decision(self, by, session, request, decision="approve", **fields):
        access = {"scope": ["tcp 10.60.0.5:22", "tcp 10.60.10.20:5432"], "login": "alice", "gateways": ["gw1"],
                  "jump_hosts": ["jump1"]}
        digest = hashlib.sha256(base64.b64decode(request["body"])).hexdigest()
        return self.statement("decision", by, **{"session": session, "request_sha256": digest, "decision": decision,
                                                 "access": access, **fields})

    def login(self, by, read_for=600):
        token = secrets.token_bytes(32)
        status, answer = self.post("/v1/statements", self.statement(
            "login", by, token_sha256=hashlib.sha256(token).hexdigest(), read_for=read_for))
        assert status == 200, answer
        return token.hex()

    def approved(self, **fields):
        document, session, token = self.request(**fields)
        assert self.post("/v1/statements", document)[0] == 200
        status, answer = self.post("/v1/statements", self.decision("carol", session, document))
        assert (status, answer.get("state")) == (200, "approved"), answer
        return session, token

    def node(self, name, **options):
        node = Node(self, name, **options)
        self.nodes.append(node)
        wait_for(lambda: node.connected.is_set(), f"{name} connected")
        return node


class Node(threading.Thread):
    """Watches and reports like a node: what it is told to open it calls open, what to close, closed and empty."""

    def __init__(self, realm, name, confirm=True, prove=True, refuse=None):
        super().__init__(daemon=True)
        self.realm, self.name_, self.confirm, self.prove, self.refuse = realm, name, confirm, prove, refuse
        self.connected, self.stopped = threading.Event(), threading.Event()
        self.held = {}  # session: "open" or "closed"
        self.sock = None
        self.start()

    def document(self, kind, at=0, **fields):
        body = {"type": kind, "v": 1, "realm": "lab-1", "node": self.name_, "at": rfc3339(at), "nonce": secrets.token_hex(16)}
        return self.realm.sign(self.name_, json.dumps({**body, **fields}), "jitwg-node")

    def connection(self):
        return Http(self.realm.run / "broker.sock")

    def report(self, session, state, **fields):
        document = self.document("report", session=session, state=state, **fields)
        return self.realm.call("POST", "/v1/report", document, connection=self.connection())

    def run(self):
        while not self.stopped.is_set():
            try:
                self.watch()
            except (OSError, ValueError, http.client.HTTPException):
                pass
            self.connected.clear()
            self.stopped.wait(0.05)

    def watch(self):
        connection = self.connection()
        connection.request("POST", "/v1/watch", json.dumps(self.document("watch", revision=0)))
        self.sock = connection.sock
        answer = connection.getresponse()
        if answer.status != 200:
            return
        while not self.stopped.is_set():
            line = answer.readline()
            if not line:
                return
            update = json.loads(line)
            for entry in update.get("snapshot", []) + update.get("set", []):
                self.take(entry)
            self.connected.set()

    def take(self, entry):
        session = entry["session"]
        if entry["want"] == "open":
            self.held[session] = "open"
            if self.refuse:
                self.report(session, "refused", reason=self.refuse)
            elif self.confirm:
                self.report(session, "open")
        else:
            self.held[session] = "closed"
            if self.prove:
                self.report(session, "closed", evidence=CLEAN[self.name_])

    def prove_closed(self, session):
        return self.report(session, "closed", evidence=CLEAN[self.name_])

    def stop(self):
        self.stopped.set()
        if self.sock:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.join(timeout=5)
