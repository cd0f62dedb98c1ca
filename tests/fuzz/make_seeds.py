#!/usr/bin/env python3
"""Makes the corpora's seeds anew, with the real ssh-keygen, signer and broker: tests/fuzz/make_seeds.py [TARGET…].

Keys and times in them are of the day they were made; nothing depends on it. JITWG_BUILD chooses the build.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/fuzz/corpus"
sys.path.insert(0, str(ROOT / "tests/support"))
import sk_keys  # noqa: E402
from hostile_broker import HostileBroker, HostileRealm  # noqa: E402
from realm import Realm, rfc3339, uuid7  # noqa: E402

WORDS = b"words that are signed\n"
REFUSED = {"ecdsa-p384", "rsa-2048"}
KEYS = {"ed25519": ("ed25519",), "ecdsa-p256": ("ecdsa", "-b", "256"), "ecdsa-p384": ("ecdsa", "-b", "384"),
        "rsa-3072": ("rsa", "-b", "3072"), "rsa-2048": ("rsa", "-b", "2048"), "ed25519-sk": ("ed25519-sk",),
        "ecdsa-sk": ("ecdsa-sk",)}  # fmt: skip


def keygen(*words, **options):
    return subprocess.run(["ssh-keygen", *map(str, words)], check=True, capture_output=True, env=sk_keys.environment(),
                          **options).stdout  # fmt: skip


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def verdict(name):
    return ("bad-" if name in REFUSED else "good-") + name


def make_keys(work):
    for name, words in KEYS.items():
        keygen("-q", "-t", *words, "-N", "", "-C", "", "-f", work / name)


def blob_of(work, name):
    return base64.b64decode((work / f"{name}.pub").read_text().split()[1])


def string(data):
    return len(data).to_bytes(4, "big") + data


def public_key(work):
    for name in KEYS:
        put("public_key", verdict(name), (work / f"{name}.pub").read_text().strip())
        put("public_key", verdict(name) + "-blob", blob_of(work, name))
    line = (work / "ed25519.pub").read_text().split()[:2]
    put("public_key", "good-with-comment", " ".join([*line, "alice@laptop"]))
    keygen("-q", "-s", work / "ed25519", "-I", "x", work / "ed25519.pub")
    put("public_key", "bad-certificate", (work / "ed25519-cert.pub").read_text().strip())
    put("public_key", "bad-other-type", "ssh-rsa " + line[1])
    put("public_key", "bad-byte-over-127", " ".join(line).encode()[:-8] + b"\x90" + line[1].encode()[-7:])
    put("public_key", "bad-cut-short", blob_of(work, "ed25519")[:-1])
    put("public_key", "bad-too-long", blob_of(work, "ed25519") + b"\0")
    put("public_key", "bad-small-order", string(b"ssh-ed25519") + string(b"\1" + bytes(31)))
    put("public_key", "bad-rsa-of-nothing", string(b"ssh-rsa") + string(b"\1\0\1") + string(b""))
    sk = blob_of(work, "ed25519-sk")
    put("public_key", "bad-sk-for-the-web", sk.replace(string(b"ssh:"), string(b"web:")))
    put("public_key", "bad-sk-with-a-nul", sk.replace(string(b"ssh:"), string(b"ssh:\0x")))
    put("public_key", "good-sk-of-another-application", sk.replace(string(b"ssh:"), string(b"ssh:jitwg")))
    ecdsa = blob_of(work, "ecdsa-p256")
    put("public_key", "bad-ecdsa-off-the-curve", ecdsa[:-1] + bytes([ecdsa[-1] ^ 1]))
    put("public_key", "bad-ecdsa-at-infinity", string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\0"))
    put("public_key", "bad-ecdsa-compressed", string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(bytes([2 + ecdsa[-1] % 2]) + ecdsa[-64:-32]))
    put("public_key", "bad-rsa-negative", string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\xff" * 384))


def sshsig(work):
    for name in KEYS:
        for hashed in ("sha512", "sha256"):
            text = keygen("-q", "-Y", "sign", "-n", "jitwg", "-f", work / name, f"-Ohashalg={hashed}", input=WORDS).decode()
            put("sshsig", f"{verdict(name)}-{hashed}", text)
    text = keygen("-q", "-Y", "sign", "-n", "jitwg", "-f", work / "ed25519", input=WORDS).decode()
    blob = base64.b64decode("".join(text.splitlines()[1:-1]))
    put("sshsig", "good-ed25519-blob", blob)
    put("sshsig", "good-ecdsa-sk-blob", base64.b64decode("".join(
        keygen("-q", "-Y", "sign", "-n", "jitwg", "-f", work / "ecdsa-sk", input=WORDS).decode().splitlines()[1:-1])))
    put("sshsig", "good-other-namespace", keygen("-q", "-Y", "sign", "-n", "file", "-f", work / "ed25519", input=WORDS))
    for name in ("ed25519-sk", "ecdsa-sk"):
        put("sshsig", f"bad-{name}-untouched", sk_keys.sign(work / name, WORDS, flags=0))
        put("sshsig", f"good-{name}-verified", sk_keys.sign(work / name, WORDS, flags=5))
    put("sshsig", "bad-other-words", keygen("-q", "-Y", "sign", "-n", "jitwg", "-f", work / "ed25519", input=b"others"))
    put("sshsig", "bad-version", blob.replace(b"SSHSIG\0\0\0\1", b"SSHSIG\0\0\0\2"))
    put("sshsig", "bad-hash", blob.replace(string(b"sha512"), string(b"sha1")))
    put("sshsig", "bad-reserved", blob.replace(string(b"jitwg") + string(b""), string(b"jitwg") + string(b"x")))
    put("sshsig", "bad-nested", blob.replace(blob_of(work, "ed25519"), blob))
    put("sshsig", "bad-cut-short", blob[:-1])
    put("sshsig", "bad-junk-before", "junk\n" + text)
    put("sshsig", "bad-junk-behind", text + "junk\n")
    put("sshsig", "bad-twice", text + text)
    put("sshsig", "bad-carriage-returns", text.replace("\n", "\r\n"))


def certificate(work):
    plain = ("-n", "jitwg:01937c1e-0000-7000-8000-000000000001", "-V", "20260302100000Z:20260302113000Z", "-z", "42")
    sets = {
        "good-ours": (*plain, "-O", "clear", "-O", "permit-pty", "-O", "source-address=10.90.0.7/32,fd00:90::7/128"),
        "good-all-flags": plain,
        "good-no-principals": ("-V", "20260302100000Z:20260302113000Z", "-O", "clear"),
        "good-forced": (*plain, "-O", "force-command=/bin/true", "-O", "verify-required"),
        "bad-for-ever": ("-n", "x"),
        "bad-host": (*plain, "-h"),
        "bad-extension-with-value": (*plain, "-O", "extension:x@y=1"),
    }
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", work / "ca")
    for name, options in sets.items():
        keygen("-q", "-s", work / "ca", "-I", "jitwg1:01937c1e-0000-7000-8000-000000000001", *options, work / "ed25519.pub")
        line = (work / "ed25519-cert.pub").read_text().split()[:2]  # without the comment
        put("certificate", name, " ".join(line))
        blob = base64.b64decode(line[1])
        put("certificate", name + "-unsigned", blob[: blob.rindex(string(blob_of(work, "ca")))])
        put("certificate", name + "-blob", blob)
        if name == "good-forced":
            unsigned = blob[: blob.rindex(string(blob_of(work, "ca")))]
            for where, old, new in (("key-id", b"jitwg1:", b"jitwg\0:"), ("principal", b"jitwg:0", b"jitwg\0" b"0"),
                                    ("value", b"/bin/true", b"/bin\0true"), ("option", b"verify-r", b"verify\0r")):  # fmt: skip
                assert unsigned.count(old) == 1
                put("certificate", f"bad-nul-in-{where}", unsigned.replace(old, new))
    keygen("-q", "-s", work / "rsa-3072", "-I", "x", *plain, work / "ed25519.pub")
    put("certificate", "bad-rsa-ca", (work / "ed25519-cert.pub").read_text().strip())
    keygen("-q", "-s", work / "ca", "-I", "x", *plain, work / "ecdsa-p256.pub")
    put("certificate", "bad-of-ecdsa-key", (work / "ecdsa-p256-cert.pub").read_text().strip())


def allowed_signers(work):
    keys = {name: " ".join((work / f"{name}.pub").read_text().split()[:2]) for name in KEYS}
    ed = keys["ed25519"]
    put("allowed_signers", "good-people", f'# people\n\nalice namespaces="jitwg" {ed}\n')
    put("allowed_signers", "good-times", f'alice namespaces="jitwg",valid-after="20260301Z",valid-before="20270301133000Z" {ed} c\n')
    put("allowed_signers", "good-times-first", f'a@b.example valid-before="202703011330Z",namespaces="jitwg" {ed}\n')
    for name, key in keys.items():
        put("allowed_signers", verdict(name), f'alice namespaces="jitwg" {key}\n')
    put("allowed_signers", "good-all-keys",
        "".join(f'{name} namespaces="jitwg" {key}\n' for name, key in keys.items() if name not in REFUSED))
    for name, text in {
        "pattern": f'* namespaces="jitwg" {ed}', "list": f'a,b namespaces="jitwg" {ed}', "no-namespace": f"alice {ed}",
        "more-namespaces": f'alice namespaces="jitwg,file" {ed}', "authority": f'alice cert-authority,namespaces="jitwg" {ed}',
        "local-time": f'alice namespaces="jitwg",valid-before="20270301" {ed}',
        "twice": f'alice namespaces="jitwg" {ed}\nbob namespaces="jitwg" {ed}',
        "option-twice": f'alice namespaces="jitwg",namespaces="jitwg" {ed}', "tab": f'alice\tnamespaces="jitwg" {ed}',
        "quoted-person": f'"alice" namespaces="jitwg" {ed}', "carriage-return": f'alice namespaces="jitwg" {ed}\r',
    }.items():  # fmt: skip
        put("allowed_signers", "bad-" + name, text + "\n")


def statement(work):
    with tempfile.TemporaryDirectory() as directory:
        realm = Realm(directory)
        request, session, _ = realm.request(ticket="INC-1")
        good = {"request": request, "decision": realm.decision("carol", session, request, duration=30, comment="kısa"),
                "revoke": realm.statement("revoke", "erin", session=session, reason="x"),
                "login": realm.statement("login", "erin", token_sha256="0" * 64, read_for=600)}  # fmt: skip
        for kind in ("lock", "unlock", "revoke"):
            for what in ({"person": "bob"}, {"target": "db"}, {"node": "gw1"}, {"all": True}):
                good[f"{kind}-{next(iter(what))}"] = realm.statement(kind, "erin", **what, reason="x")
        incident, until = {"incident": uuid7()}, {"until": rfc3339(3600)}
        good["incident-open"] = realm.statement("incident_open", "erin", **incident, **until, targets=["db", "label:prod"], reason="x")
        good["incident-extend"] = realm.statement("incident_extend", "erin", **incident, **until, reason="x")
        good["incident-close"] = realm.statement("incident_close", "erin", **incident, reason="x")
        good["incident-review"] = realm.statement("incident_review", "erin", **incident, comment="x")
        good["write-off"] = realm.statement("write_off", "erin", session=session, node="gw1", reason="x")
        good["break-glass"] = realm.statement("break_glass", "erin", session=session, reason="x", **{
            key: json.loads(base64.b64decode(good["decision"]["body"]))[key] for key in ("request_sha256", "access")})
    bodies = {name: base64.b64decode(document["body"]).decode() for name, document in good.items()}
    for name, body in bodies.items():
        put("statement", "good-" + name, body)
    login, ask = bodies["login"], bodies["request"]
    for name, text in {
        "duplicate-key": login[:-1] + ', "by": "erin"}', "duplicate-escaped": login[:-1] + ', "\\u0062y": "erin"}',
        "unknown-key": login[:-1] + ', "more": 1}', "float": login.replace("600", "600.0"), "exponent": login.replace("600", "6e2"),
        "leading-zero": login.replace("600", "0600"), "minus-zero": login.replace("600", "-0"), "plus": login.replace("600", "+600"),
        "over-2-53": login.replace("600", "9007199254740993"), "over-2-63": login.replace("600", "9223372036854775808"),
        "over-2-64": login.replace("600", "18446744073709551616"), "null": login.replace("600", "null"),
        "bom": "\ufeff" + login, "trailing": login + "x", "two": login + login, "comma": login[:-1] + ",}", "comment": login + "//",
        "single-quotes": login.replace('"', "'"), "nan": login.replace("600", "NaN"), "deep": "[" * 17 + "]" * 17,
        "version": login.replace('"v": 1', '"v": 2'), "not-an-object": "[]", "empty": "", "surrogate": ask.replace("INC-1", "\\ud800", 1),
        "surrogates-reversed": ask.replace("INC-1", "\\udc00\\ud800", 1), "newline": ask.replace("INC-1", "a\\nb", 1),
        "nul": ask.replace("INC-1", "a\\u0000b", 1), "look-alike": ask.replace('"alice"', '"\u0430lice"', 1),
        "comma-name": ask.replace('"alice"', '"alice,bob"', 1),
    }.items():  # fmt: skip
        put("statement", "bad-" + name, text)
    put("statement", "bad-utf8", ask.encode().replace(b"INC-1", b"\xff", 1))
    put("statement", "bad-overlong", ask.encode().replace(b"INC-1", b"\xc0\xaf", 1))
    put("statement", "bad-encoded-surrogate", ask.encode().replace(b"INC-1", b"\xed\xa0\x80", 1))
    put("statement", "good-escapes", ask.replace("INC-1", "\\u0061\\/\\ud83d\\ude00 \\\"", 1))
    put("statement", "deepest", "[" * 16 + "]" * 16)


def policy(work):
    text = (ROOT / "tests/policy/good/design.toml").read_text()
    for number in range(text.count("@WG@")):
        text = text.replace("@WG@", base64.b64encode(bytes([number + 1] * 32)).decode(), 1)
    while "@KEY@" in text:
        keygen("-q", "-t", "ed25519", "-N", "", "-f", work / "node")
        text = text.replace("@KEY@", " ".join((work / "node.pub").read_text().split()[:2]), 1)
        (work / "node").unlink()
    put("policy", "good-design", text)
    put("policy", "bad-name", text.replace('"group:security"', '"group:\\u001b[31m"'))
    put("policy", "bad-toml", text + "\n[[rule]\n")
    put("policy", "bad-no-key-in-brackets", text + "\n[[= 1]]\n")
    put("policy", "bad-bytes", text.encode() + b"\nx = \"\xff\"\n")
    put("policy", "bad-test", text.replace('expect = "approval"', 'expect = "deny"'))
    put("policy", "small", text[: text.index("[groups]")] + '[groups]\na = ["a"]\n')


def ledger(work):
    with tempfile.TemporaryDirectory() as directory:
        realm = HostileRealm(directory)
        broker = HostileBroker(realm)
        try:
            realm.start("jitwg-signer")
            session = broker.granted(broker.honest())["session"]
            broker.applied("revoke", session=session)
            broker.applied("revoke", person="bob")
            with broker.locked(person="bob"), broker.locked(node="gw1"):
                pass
            incident = broker.incident()
            broker.granted(broker.issue(broker.request(incident=incident)))
            broker.applied("incident_extend", incident=incident, until=rfc3339(7200))
            broker.applied("incident_close", incident=incident)
            records = [line[65:] for line in broker.ledger().decode().splitlines()]
        finally:
            realm.close()
    put("ledger", "good-empty", "")
    put("ledger", "good-of-all-kinds", "\n".join(records) + "\n")
    for record in records[:2]:
        put("ledger", "good-" + json.loads(record)["kind"], record + "\n")
    put("ledger", "bad-kind", records[0].replace('"issued"', '"iss"'))
    put("ledger", "bad-json", records[0][:-1])
    put("ledger", "bad-key", records[0][:-1] + ',"more":1}')


SESSION = "0197c0de-0000-7000-8000-00000000abcd"


def grant(work):
    key = base64.b64encode(b"k" * 31 + b"\x01").decode()
    host = (work / "ed25519.pub").read_text().rsplit(" ", 1)[0].strip()
    body = {
        "type": "grant", "v": 1, "realm": "lab-1", "session": SESSION, "person": "alice", "target": "db-prod", "login": "alice",
        "wg_public_key": key, "address": ["10.90.0.7/32", "fd00:90::7/128"], "scope": ["tcp 10.60.0.5:22", "udp 10.60.10.20:53-60"],
        "gateway": {"name": "gw1", "wireguard_key": key, "endpoint": "192.0.2.10:51820"},
        "jump_hosts": [{"name": "jump1", "addresses": ["10.60.0.5"], "host_keys": [host]}], "certificate_sha256": "a" * 64, "serial": "7",
        "not_before": "2026-11-26T10:00:00Z", "not_after": "2026-11-26T11:30:00Z", "policy_sha256": "0" * 64, "break_glass": False,
    }  # fmt: skip
    plain = {name: value for name, value in body.items() if name not in ("jump_hosts", "login", "certificate_sha256", "serial")}
    put("grant", "good-jump-host", json.dumps(body))
    put("grant", "good-tunnel-alone", json.dumps({**plain, "jump_hosts": []}))
    for name, change in {
        "no-end": {"not_after": None}, "end-before-start": {"not_after": "2026-11-26T09:00:00Z"}, "no-login": {"login": None},
        "wide-address": {"address": ["10.90.0.0/24"]}, "no-address": {"address": []}, "unknown-key": {"more": 1}, "other-version": {"v": 2},
        "no-certificate": {"certificate_sha256": None}, "long-hash": {"certificate_sha256": "a" * 65},
    }.items():  # fmt: skip
        put("grant", f"bad-{name}", json.dumps({key: value for key, value in {**body, **change}.items() if value is not None}))
    put("grant", "bad-login-twice", json.dumps(body).replace('"login": "alice"', '"login": "alice", "login": "root"'))


def pam_packet(work):
    certificate = base64.b64encode(b"stands for a certificate").decode()
    put("pam_packet", "good-principals", f"jitwg1\nphase=principals\nuser=alice\ncertificate={certificate}\n")
    put("pam_packet", "good-account", "jitwg1\nphase=account\nuser=alice\n")
    put("pam_packet", "good-open", f"jitwg1\nphase=open\nclient=10.90.0.7\ncertificate={certificate}\nuser=alice\n")
    for phase, service in (("sudo", "sudo-i"), ("job", "cron"), ("job_open", "atd")):
        put("pam_packet", f"good-{phase}", f"jitwg1\nphase={phase}\nuser=alice\nservice={service}\n")
    yes = f"jitwg1\nverdict=allow\ncode=ok\nsession={SESSION}\nnot_after=1795700000\ntext=\n"
    put("pam_packet", "good-allow", yes)
    put("pam_packet", "good-deny", "jitwg1\nverdict=deny\ncode=stale_replica\nsession=\nnot_after=0\ntext=jitwg: lost contact\n")
    for name, text in {
        "allow-for-ever": yes.replace("1795700000", "0"), "allow-no-session": yes.replace(SESSION, ""), "half": yes[:40], "empty": "",
        "verdict-twice": yes + "verdict=deny\n", "no-newline": yes[:-1], "other-version": yes.replace("jitwg1", "jitwg2"),
        "escape-in-text": yes.replace("text=", "text=\x1b[2J"), "unknown-key": yes + "more=1\n", "negative-end": yes.replace("=17", "=-17"),
        "spaced-end": yes.replace("=17", "= 17"), "maybe": yes.replace("allow", "maybe"),
        "question-of-no-phase": "jitwg1\nphase=never\nuser=alice\n", "open-without-client": f"jitwg1\nphase=open\ncertificate={certificate}\nuser=alice\n",
        "account-with-client": "jitwg1\nphase=account\nuser=alice\nclient=10.90.0.7\n", "no-user": "jitwg1\nphase=account\nuser=\n",
        "sudo-without-service": "jitwg1\nphase=sudo\nuser=alice\n", "account-with-service": "jitwg1\nphase=account\nuser=alice\nservice=sshd\n",
        "job-service-twice": "jitwg1\nphase=job\nuser=alice\nservice=cron\nservice=cron\n",
        "long-user": "jitwg1\nphase=account\nuser=" + "a" * 257 + "\n",
    }.items():  # fmt: skip
        put("pam_packet", f"bad-{name}", text)


def auth_info(work):
    line = (work / "ed25519.pub").read_text().split()
    good = f"publickey ssh-ed25519-cert-v01@openssh.com {line[1]}"
    put("auth_info", "good-line", good + "\n")
    put("auth_info", "good-no-newline", good)
    put("auth_info", "good-other-type", f"publickey sk-ssh-ed25519-cert-v01@openssh.com {line[1]}\n")
    for name, text in {
        "two-methods": f"{good}\npassword\n", "two-certificates": f"{good}\n{good}\n", "password-first": f"password\n{good}\n",
        "plain-key": f"publickey ssh-ed25519 {line[1]}\n", "no-blob": "publickey ssh-ed25519-cert-v01@openssh.com \n", "empty": "", "newline": "\n",
        "three-words": good + " more\n", "huge": good + "A" * 160000 + "\n", "hostbased": good.replace("publickey", "hostbased"),
    }.items():  # fmt: skip
        put("auth_info", f"bad-{name}", text)
    put("auth_info", "connection", "10.90.0.7 51000 10.60.0.5 22")


def pam_file(_):
    """contrib's is Debian's with our blocks."""
    with open(os.path.join(ROOT, "contrib/pam/sshd")) as file:
        lines = file.read().splitlines(keepends=True)
    ours, debian = False, ""
    for line in lines:
        ours = (ours or line == "# jitwg begin\n") and line != "# jitwg end\n"
        if line.startswith("# jitwg keeps: "):
            debian += line.removeprefix("# jitwg keeps: ")
        elif not ours and line != "# jitwg end\n":
            debian += line
    put("pam_file", "good-debian", debian)
    put("pam_file", "good-no-end", "account required a.so\nsession required pam_loginuid.so")
    put("pam_file", "good-continued", "account required \\\n a.so # x\nsession required \\\n pam_loginuid.so \\\n debug\n@include common-session\n")
    put("pam_file", "good-jump", "-account [success=1 default=ignore] a.so\nsession [success=1 default=ignore] b.so\nsession required pam_loginuid.so\n")
    put("pam_file", "odd-ours", "".join(lines))
    put("pam_file", "bad-jump", "account required a.so\nsession [success=2 default=ignore] b.so\nsession required pam_loginuid.so\n")
    put("pam_file", "bad-systemd-first", "account required a.so\n@include common-session\nsession required pam_loginuid.so\n")
    put("pam_file", "bad-include", "account required a.so\n@include local\nsession required pam_loginuid.so\n")
    put("pam_file", "bad-crlf", "account required a.so\r\nsession required pam_loginuid.so\r\n")
    put("pam_file", "bad-half-a-block", "# jitwg begin\naccount required a.so\nsession required pam_loginuid.so\n")


def managed(work):
    passwd = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/sh\nrescue:x:1000:1000::/home/rescue:/bin/bash\n"
    ours = "# who needs a session\nuids 0,1000-59999\nexcept rescue  # see the man page\n"
    put("managed", "good-all", ours + "\0" + passwd)
    put("managed", "good-unmanaged", "uids 5-10\n\0daemon:x:1:1::/:/bin/sh\n")
    put("managed", "good-empty", "")
    put("managed", "good-excepted", ours + "\0rescue:x:1000:1000::/:/bin/sh\n")
    for name, text in {
        "range-turned": "uids 9-1\n", "uids-twice": "uids 0\nuids 1\n", "comma-at-the-end": "uids 0,\n", "no-number": "uids all\n",
        "too-large": "uids 0-4294967296\n", "unknown-word": "excepted rescue\n", "except-nobody": "except\n", "except-two": "except a b\n",
        "except-colon": "except a:b\n", "minus": "uids -1\n",
    }.items():  # fmt: skip
        put("managed", f"bad-{name}", text)
    put("managed", "odd-passwd", "uids 0\n\0eve:x::0::/:\neve:x:0:0::/:\n")


def login_record(work):
    record = {"session": SESSION, "person": "alice", "login": "alice", "target": "db-prod", "client": "10.90.0.7", "pid": 4711, "start": 123456,
              "since": "2026-11-26T10:00:00Z", "not_after": "2026-11-26T11:30:00Z", "scope": "/user.slice/user-2001.slice/session-3.scope",
              "open": True}  # fmt: skip
    put("login_record", "good-first-version", json.dumps(record))
    put("login_record", "good-audit-session", json.dumps({**record, "audit_session": 17}))
    for name, change in {
        "no-process": {"pid": 0}, "negative-pid": {"pid": -1}, "no-end": {"not_after": None}, "pid-of-words": {"pid": "4711"}, "more": {"more": 1},
        "other-session": {"session": "../../etc"}, "no-start": {"start": -1}, "open-of-words": {"open": "yes"},
    }.items():  # fmt: skip
        put("login_record", f"bad-{name}", json.dumps({key: value for key, value in {**record, **change}.items() if value is not None}))
    put("login_record", "bad-half", json.dumps(record)[:60])
    put("login_record", "bad-empty", "")


def proc_text(work):
    rest = "S 1 4711 4711 34817 4711 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 10"
    put("proc_text", "good-stat", f"4711 (bash) {rest}\n")
    put("proc_text", "good-stat-of-odd-names", f"4711 (a) R 1 (b) {rest}\n")
    put("proc_text", "good-scope", "0::/user.slice/user-2001.slice/session-3.scope\n")
    put("proc_text", "good-scope-behind-v1", "12:devices:/user.slice\n0::/user.slice/user-2001.slice/session-c1.scope\n")
    for name, text in {
        "stat-cut-short": "4711 (bash) S 1 2", "stat-no-name": "4711 bash S 1", "empty": "", "service": "0::/system.slice/ssh.service\n",
        "climbing": "0::/../session-3.scope\n", "below-a-scope": "0::/user.slice/session-3.scope/evil\n",
        "v1-only": "1:name=systemd:/user.slice/session-3.scope\n", "other-scope": "0::/user.slice/user@2001.service/app.slice/run-1.scope\n",
    }.items():  # fmt: skip
        put("proc_text", f"bad-{name}", text)


def main(targets):
    makers = (public_key, sshsig, certificate, allowed_signers, statement, policy, ledger,
              grant, pam_packet, auth_info, managed, login_record, proc_text, pam_file)  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        make_keys(work)
        for maker in makers:
            if not targets or maker.__name__ in targets:
                maker(work)


if __name__ == "__main__":
    os.umask(0o022)
    main(sys.argv[1:])
