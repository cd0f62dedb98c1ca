"""A broker that lies: it speaks to a real jitwg-signer on its socket, holds what people signed, and forges the rest."""

import base64
import hashlib
import json
import re
import secrets
import signal
import socket
import subprocess
from contextlib import contextmanager

import sk_keys
from realm import Realm, rfc3339, uuid7, wait_for, wireguard_key
from sshsig import Key

MORE_POLICY = """
[gateways.gw2]
endpoint = "192.0.2.11:51820"
wireguard_key = "{gateway_wg2}"
node_key = "{gw2}"
pools = ["10.91.0.0/30"]
[targets.tiny]
gateways = ["gw2"]
scope = ["tcp 10.60.10.20:80"]
[targets.office]
gateways = ["gw1"]
scope = ["tcp 10.60.10.20:81"]
[[rule]]
name = "the smallest pool"
who = ["group:platform"]
targets = ["tiny"]
approvals = 0
[[rule]]
name = "two of them"
who = ["group:platform"]
targets = ["office"]
approvals = 2
approvers = ["group:security"]
[targets.vault]
gateways = ["gw1"]
scope = ["tcp 10.60.10.20:82"]
[[rule]]
name = "by hardware keys"
who = ["group:platform"]
targets = ["vault"]
keys = "sk"
approvals = 1
approvers = ["group:security"]
[targets.hsm]
gateways = ["gw1"]
scope = ["tcp 10.60.10.20:83"]
[[rule]]
name = "by hardware keys that know their user"
who = ["group:platform"]
targets = ["hsm"]
keys = "verify-required"
approvals = 1
approvers = ["group:security"]
[[rule]]
name = "in an incident"
who = ["group:platform"]
targets = ["db"]
during = "incident"
approvals = 0
"""
RIGHTS = "[rights]\n" + "".join(f'{right} = ["person:erin"]\n' for right in ("revoke", "lock", "incident_open", "incident_close"))


class HostileRealm(Realm):
    """More targets, and more keys for alice and carol: `keys` (by sshsig.Key) and real ones from ssh-keygen."""

    def __init__(self, directory):
        self.extra_people = ""
        self.gateway_wg2 = wireguard_key()
        super().__init__(directory)
        for name in ("gw2", "carol2", "old", "coming", "nobody"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.dir / name], check=True)
        self.keys = {kind: Key(self.dir / f"{kind}.pem", kind) for kind in ("ed25519", "ecdsa", "rsa")}
        lines = [f'alice namespaces="jitwg" {key.line}' for key in self.keys.values()]
        if sk_keys.provider():
            for kind in ("ed25519-sk", "ecdsa-sk"):
                sk_keys.make_key(self.dir / kind, kind)
                lines.append(f'alice namespaces="jitwg" {self.public_key(kind)}')
            sk_keys.make_key(self.dir / "carol-sk")
            lines.append(f'carol namespaces="jitwg" {self.public_key("carol-sk")}')
        lines += [f'carol namespaces="jitwg" {self.public_key("carol2")}',
                  f'alice namespaces="jitwg",valid-before="20260101Z" {self.public_key("old")}',
                  f'alice namespaces="jitwg",valid-after="20990101Z" {self.public_key("coming")}']  # fmt: skip
        self.extra_people = "".join(line + "\n" for line in lines)
        self.write_policy()

    def write_policy(self, **changes):
        super().write_policy(**changes)
        if not (self.dir / "gw2.pub").exists():
            return  # the other half of __init__ comes back here
        path = self.dir / "policy.toml"
        text = re.sub(r"(?ms)^\[rights\]\n.*?(?=^\[|\Z)", RIGHTS, path.read_text())
        if "[incidents]" not in text:
            text += '[incidents]\nmax_duration = "8h"\n'
        path.write_text(text + MORE_POLICY.format(gateway_wg2=self.gateway_wg2, gw2=self.public_key("gw2")))
        with open(self.dir / "allowed_signers", "a") as people:
            people.write(self.extra_people)

    def reload(self):
        loaded = self.log("jitwg-signer").count("policy.loaded")
        self.processes["jitwg-signer"].send_signal(signal.SIGHUP)
        wait_for(lambda: self.log("jitwg-signer").count("policy.loaded") > loaded, "the signer's new policy")

    @contextmanager
    def other(self, name, edit):
        """The file NAME ("policy.toml", "allowed_signers") changed by `edit(text)` for a while."""
        path = self.dir / name
        before = path.read_text()
        assert edit(before) != before
        try:
            path.write_text(edit(before))
            self.reload()
            yield
        finally:
            path.write_text(before)
            self.reload()

    def restart(self, edit_ledger=None):
        self.end("jitwg-signer", signal.SIGKILL)
        (self.run / "signer.sock").unlink()
        if edit_ledger:
            edit_ledger(self.dir / "signer/ledger")
        self.start("jitwg-signer")


class HostileBroker:
    def __init__(self, realm):
        self.realm = realm

    # --- the signer's socket (ssh-ca/PROTOCOL.md) ---
    def ask(self, question):
        frame = question if isinstance(question, bytes) else json.dumps(question).encode()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self.realm.run / "signer.sock"))
            sock.sendall(len(frame).to_bytes(4, "big") + frame)
            return json.loads(self._exactly(sock, int.from_bytes(self._exactly(sock, 4), "big")))

    @staticmethod
    def _exactly(sock, count):
        data = b""
        while len(data) < count:
            piece = sock.recv(count - len(data))
            assert piece, "the signer hung up"
            data += piece
        return data

    def ledger(self):
        return (self.realm.dir / "signer/ledger").read_bytes()

    def policy_digest(self):
        return hashlib.sha256((self.realm.dir / "policy.toml").read_bytes()).hexdigest()

    def issue(self, request, *decisions, gateway="gw1", policy_sha256=None):
        return {"op": "issue", "request": request, "decisions": list(decisions), "gateway": gateway,
                "policy_sha256": policy_sha256 or self.policy_digest()}  # fmt: skip

    @staticmethod
    def apply(statement):
        return {"op": "apply", "statement": statement}

    # --- what people sign ---
    def body(self, kind="request", by="alice", at=0, **fields):
        """A statement's values, not yet signed. A value of None leaves the key out."""
        head = {"type": kind, "v": 1, "realm": "lab-1", "by": by, "at": rfc3339(at), "nonce": secrets.token_hex(16)}
        return {key: value for key, value in {**head, **fields}.items() if value is not None}

    def request_body(self, **fields):
        defaults = json.loads(base64.b64decode(self.realm.request()[0]["body"]))
        for key in ("type", "v", "realm", "by", "at", "nonce"):
            del defaults[key]
        return self.body(**{**defaults, **fields})

    def sign(self, key, body, namespace="jitwg"):
        """`key`: a person's name, another of the realm's key files, or an sshsig.Key."""
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        if isinstance(key, Key):
            return key.sign(text, namespace=namespace.encode())
        if key.endswith("-sk"):
            raw = text.encode()
            return {"body": base64.b64encode(raw).decode(), "signature": sk_keys.sign(self.realm.dir / key, raw)}
        if isinstance(text, bytes):
            done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", self.realm.dir / key],
                                  input=text, capture_output=True, check=True)  # fmt: skip
            return {"body": base64.b64encode(text).decode(), "signature": done.stdout.decode()}
        return self.realm.sign(key, text, namespace)

    def request(self, key="alice", **fields):
        return self.sign(key, self.request_body(**fields))

    def access(self, target="db", person="alice"):
        if port := {"office": 81, "vault": 82, "hsm": 83}.get(target):
            return {"scope": [f"tcp 10.60.10.20:{port}"], "gateways": ["gw1"], "jump_hosts": []}
        return {"scope": ["tcp 10.60.0.5:22", "tcp 10.60.10.20:5432"], "login": person, "gateways": ["gw1"],
                "jump_hosts": ["jump1"]}  # fmt: skip

    def decision(self, request, by="carol", key=None, target="db", at=0, access=None, **fields):
        raw = base64.b64decode(request["body"])
        values = {"session": json.loads(raw)["session"], "request_sha256": hashlib.sha256(raw).hexdigest(), "decision": "approve",
                  "access": {**self.access(target), **(access or {})}, **fields}  # fmt: skip
        values["access"] = {key: value for key, value in values["access"].items() if value is not None}
        return self.sign(key or by, self.body("decision", by, at, **values))

    def honest(self):
        request = self.request()
        return self.issue(request, self.decision(request))

    def applied(self, kind, by="erin", at=0, **fields):
        """A statement that takes effect."""
        fields = {"reason": "x", **fields}
        answer = self.ask(self.apply(self.sign(by, self.body(kind, by, at, **fields))))
        assert answer == {"applied": True}, answer

    @contextmanager
    def locked(self, **what):
        self.applied("lock", **what)
        try:
            yield
        finally:
            self.applied("unlock", **what)

    def incident(self, targets=("db",), seconds=3600):
        """The ID of one that is open."""
        incident = uuid7()
        self.applied("incident_open", incident=incident, targets=list(targets), until=rfc3339(seconds))
        return incident

    def granted(self, question):
        """The grant, of a question that is answered."""
        answer = self.ask(question)
        assert "grant" in answer, answer
        return json.loads(base64.b64decode(answer["grant"]["body"]))
