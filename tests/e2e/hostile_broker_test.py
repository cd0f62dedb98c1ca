"""The broker is owned. Every forged or damaged statement is refused by the signer, with its reason, leaves no record, and
an honest question right after is answered as ever.

A kind of attack is a function: it gets the hostile broker, and returns the question to be refused. One that must undo
something afterwards yields the question instead.
"""

import base64
import hashlib
import inspect
import json
import pathlib
import re
import socket
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import sk_keys  # noqa: E402
from hostile_broker import HostileBroker, HostileRealm  # noqa: E402
from realm import binary, rfc3339, uuid7, wireguard_key  # noqa: E402
from sshsig import armour, blob, dearmour, mpint, signed_bytes, string  # noqa: E402

pytestmark = pytest.mark.skipif(not binary("jitwg-signer"), reason="SKIPPED: jitwg-signer is not built")
KINDS = {}
HOUR, DAY = 3600, 86400


def kind(code):
    def register(attack):
        KINDS[attack.__name__] = (attack, code)
        return attack

    return register


def kinds(code, name, variants, make):
    """One kind for each of `variants` (name: value); `make(broker, value)` gives the question."""
    for variant, value in variants.items():
        KINDS[f"{name}_{variant}"] = (lambda broker, value=value: make(broker, value), code)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    realm = HostileRealm(tmp_path_factory.mktemp("hostile"))
    realm.start("jitwg-signer")
    yield HostileBroker(realm)
    realm.close()


def refused(broker, question, code):
    before = broker.ledger()
    answer = broker.ask(question)
    assert "error" in answer, f"signed: {answer}"
    assert answer["error"]["code"] == code, answer["error"]
    assert len(answer["error"]["message"]) > 8 and answer["error"]["message"].isprintable()
    assert broker.ledger() == before, "a refusal is no record"
    assert code in broker.realm.log("jitwg-signer"), "the journal says why"


# --- whose key ---
@kind("wrong_key")
def other_persons_key(b):
    return b.issue(b.request(key="bob"))


@kind("wrong_key")
def approval_with_the_requesters_key(b):
    request = b.request()
    return b.issue(request, b.decision(request, by="carol", key="alice"))


@kind("unknown_person")
def nobodys_key(b):
    return b.issue(b.request(key="nobody"))


@kind("unknown_person")
def a_nodes_key(b):
    return b.issue(b.request(key="gw1"))


@kind("unknown_person")
def the_ca_itself(b):
    return b.issue(b.request(key="ca"))


@kind("wrong_namespace")
def key_outside_its_namespace(b):
    return b.issue(b.sign("alice", b.request_body(), "file"))


@kind("wrong_namespace")
def a_nodes_namespace(b):
    return b.issue(b.sign("alice", b.request_body(), "jitwg-node"))


@kind("wrong_namespace")
def no_namespace(b):
    return b.issue(b.realm.keys["ed25519"].sign(json.dumps(b.request_body()), namespace=b""))


@kind("wrong_namespace")
def namespace_with_a_nul(b):
    return b.issue(b.realm.keys["ed25519"].sign(json.dumps(b.request_body()), namespace=b"jitwg\0"))


@kind("stale")
def expired_key(b):
    return b.issue(b.request(key="old"))


@kind("stale")
def expired_key_and_a_date_when_it_was_good(b):
    with_date = b.request_body(at=0)
    with_date["at"] = "2025-12-31T23:59:59Z"
    return b.issue(b.sign("old", with_date))


@kind("stale")
def key_not_yet_valid(b):
    return b.issue(b.request(key="coming"))


@kind("stale")
def approval_by_a_key_that_ended_since(b):
    """Dated before its end, as the thief of a retired key would."""
    request = b.request(at=-120)
    decision = b.decision(request, key="carol2", at=-60)
    line = f'carol namespaces="jitwg" {b.realm.public_key("carol2")}'
    ended = "".join(c for c in rfc3339(-30) if c.isdigit())
    with b.realm.other("allowed_signers", lambda text: text.replace(line, line.replace('"jitwg"', f'"jitwg",valid-before="{ended}Z"'))):
        yield b.issue(request, decision)


# --- altered bytes ---
def altered(document, old, new):
    raw = base64.b64decode(document["body"])
    assert old in raw
    return {**document, "body": base64.b64encode(raw.replace(old, new, 1)).decode()}


kinds("bad_signature", "altered", {
    "duration": (b'"duration": 60', b'"duration": 61'), "target": (b'"db"', b'"net"'), "person": (b'"alice"', b'"bob"'),
    "a_space": (b'{"type"', b'{ "type"'), "a_newline_behind": (b"}", b"}\n"), "escaped": (b'"alice"', b'"\\u0061lice"'),
}, lambda b, change: b.issue(altered(b.request(), *change)))  # fmt: skip


@kind("bad_signature")
def altered_approval(b):
    request = b.request()
    return b.issue(request, altered(b.decision(request), b"tcp 10.60.10.20:5432", b"tcp 10.60.10.0/24:22"))


@kind("bad_signature")
def signature_of_another_statement(b):
    return b.issue({**b.request(), "signature": b.request()["signature"]})


# --- who approved, and what ---
@kind("approvals_missing")
def no_approval(b):
    return b.issue(b.request())


@kind("already_decided")
def one_approver_twice_under_two_keys(b):
    request = b.request(target="office")
    return b.issue(request, b.decision(request, target="office"), b.decision(request, key="carol2", target="office"))


@kind("already_decided")
def one_approval_twice(b):
    request = b.request(target="office")
    decision = b.decision(request, target="office")
    return b.issue(request, decision, decision)


@kind("approvals_missing")
def one_of_two(b):
    request = b.request(target="office")
    return b.issue(request, b.decision(request, target="office"))


@kind("self_approval")
def self_approval(b):
    request = b.request()
    return b.issue(request, b.decision(request, by="alice"))


@kind("not_approver")
def never_an_approver(b):
    request = b.request()
    return b.issue(request, b.decision(request, by="dave"))


@kind("not_approver")
def approver_no_longer_in_the_group(b):
    request = b.request()
    decision = b.decision(request)
    with b.realm.other("policy.toml", lambda text: text.replace('security = ["carol", "erin"]', 'security = ["bob", "erin"]')):
        yield b.issue(request, decision)


@kind("no_rule")
def requester_no_longer_in_the_group(b):
    question = b.honest()
    with b.realm.other("policy.toml", lambda text: text.replace('platform = ["alice", "bob"]', 'platform = ["bob"]')):
        yield {**question, "policy_sha256": b.policy_digest()}


@kind("unknown_person")
def approver_no_longer_known(b):
    request = b.request()
    decision = b.decision(request)
    with b.realm.other("allowed_signers", lambda text: re.sub(r"(?m)^carol .*\n", "", text)):
        yield b.issue(request, decision)


@kind("wrong_request")
def approval_of_another_request(b):
    other = b.request()
    return b.issue(b.request(), b.decision(other))


@kind("wrong_request")
def approval_of_other_bytes_of_it(b):
    body = b.request_body()
    request = b.sign("alice", {**body, "reason": "other"})
    return b.issue(request, b.decision(b.sign("alice", body)))


@kind("bad_order")
def approval_older_than_the_request(b):
    request = b.request()
    return b.issue(request, b.decision(request, at=-HOUR))


@kind("stale")
def hoarded_approval(b):
    request = b.request(at=-3 * HOUR)
    return b.issue(request, b.decision(request, at=-2 * HOUR))


@kind("stale")
def approved_after_it_lapsed(b):
    request = b.request(at=-25 * HOUR)
    return b.issue(request, b.decision(request))


@kind("decision_denied")
def a_denial(b):
    request = b.request()
    return b.issue(request, b.decision(request, decision="deny"))


@kind("decision_denied")
def a_denial_beside_an_approval(b):
    request = b.request()
    return b.issue(request, b.decision(request, by="erin"), b.decision(request, decision="deny"))


kinds("scope_changed", "approved", {
    "other_port": {"scope": ["tcp 10.60.0.5:22", "tcp 10.60.10.20:5433"]},
    "more": {"scope": ["tcp 10.60.0.5:22", "tcp 10.60.10.20:5432", "tcp 10.60.10.21:22"]},
    "less": {"scope": ["tcp 10.60.0.5:22"]}, "a_network": {"scope": ["tcp 10.60.0.0/16:1-65535"]},
    "other_login": {"login": "root"}, "no_login": {"login": None}, "other_gateway": {"gateways": ["gw2"]},
    "no_jump_host": {"jump_hosts": []}, "nat": {"nat": True}, "names": {"names": {"db.example": "10.60.10.20"}},
}, lambda b, access: b.issue(request := b.request(), b.decision(request, access=access)))  # fmt: skip


@kind("scope_changed")
def policy_opens_more_than_was_approved(b):
    request = b.request()
    decision = b.decision(request)
    with b.realm.other("policy.toml", lambda text: text.replace("tcp 10.60.10.20:5432", "tcp 10.60.10.20:5432,22")):
        yield b.issue(request, decision)


@kind("duration_over_limit")
def duration_over_the_limit(b):
    request = b.request(duration=DAY)
    return b.issue(request, b.decision(request))


@kind("denied_by_rule")
def a_deny_rule(b):
    return b.issue(b.request(by="dave", key="dave", target="net"))


@kind("unknown_target")
def no_such_target(b):
    return b.issue(b.request(target="everything"))


@kind("policy_changed")
def other_policy(b):
    return {**b.honest(), "policy_sha256": hashlib.sha256(b"x").hexdigest()}


@kind("policy_changed")
def no_policy(b):
    return {**b.honest(), "policy_sha256": ""}


kinds("wrong_node", "gateway", {"unknown": "gw9", "of_other_targets": "gw2", "a_jump_host": "jump1", "empty": "", "list": "gw1,gw2",
                                "newline": "gw1\n", "look_alike": "g\u0461\u0031"},
      lambda b, gateway: {**b.honest(), "gateway": gateway})  # fmt: skip


@kind("pool_exhausted")
def pool_exhausted(b):
    for _ in range(4):
        if "error" in b.ask(b.issue(b.request(target="tiny"), gateway="gw2")):
            break
    return b.issue(b.request(target="tiny"), gateway="gw2")


# --- twice ---
@kind("replay")
def second_certificate_for_one_request(b):
    request = b.request()
    b.granted(b.issue(request, b.decision(request)))
    return b.issue(request, b.decision(request, by="erin"))


@kind("replay")
def replay_after_restart(b):
    body = b.request_body()
    request = b.sign("alice", body)
    b.granted(b.issue(request, b.decision(request)))
    b.realm.restart()
    again = b.sign("alice", {**b.request_body(), "session": body["session"]})
    return b.issue(again, b.decision(again))


@kind("replay")
def one_nonce_for_two_requests(b):
    body = b.request_body()
    request = b.sign("alice", body)
    b.granted(b.issue(request, b.decision(request)))
    again = b.sign("alice", {**b.request_body(), "nonce": body["nonce"]})
    return b.issue(again, b.decision(again))


@kind("replay")
def one_nonce_for_two_approvals(b):
    nonce = hashlib.sha256(uuid7().encode()).hexdigest()[:32]
    first, second = b.request(), b.request()
    b.granted(b.issue(first, b.decision(first, nonce=nonce)))
    return b.issue(second, b.decision(second, nonce=nonce))


def used_before(b, key):
    body = b.request_body()
    request = b.sign("alice", body)
    b.granted(b.issue(request, b.decision(request)))
    b.realm.restart()  # it is the ledger that remembers
    again = b.request(**{key: body[key]})
    return b.issue(again, b.decision(again))


kinds("key_reused", "seen_before", {"ssh_key": "ssh_public_key", "wireguard_key": "wg_public_key"}, used_before)
kinds("key_reused", "session_key_is", {"the_cas": "ca", "a_nodes": "gw1", "a_jump_hosts": "jump1", "a_host_key": "host",
                                       "an_identity": "bob", "ones_own_identity": "alice"},
      lambda b, name: b.issue(request := b.request(ssh_public_key=b.realm.public_key(name)), b.decision(request)))  # fmt: skip


@kind("key_reused")
def session_key_is_the_gateways(b):
    request = b.request(wg_public_key=b.realm.gateway_wg)
    return b.issue(request, b.decision(request))


P = 2**255 - 19
kinds("bad_key", "wireguard_key", {
    "zero": 0, "one": 1, "order_8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "p_minus_1": P - 1, "p": P, "p_plus_1": P + 1, "high_bit": 9 | 1 << 255,
}, lambda b, point: b.issue(b.request(wg_public_key=base64.b64encode(point.to_bytes(32, "little")).decode())))  # fmt: skip
kinds("bad_key", "wireguard_key", {"short": base64.b64encode(bytes(31)).decode(), "no_base64": "x" * 44, "spaced": wireguard_key() + " "},
      lambda b, key: b.issue(b.request(wg_public_key=key)))  # fmt: skip


@kind("bad_key")
def a_known_wireguard_key_in_another_spelling(b):
    """A lax reader of base64 takes bytes over 127 for "+"; the ledger would not know the key again."""
    key = next(key for key in iter(wireguard_key, None) if "++" in key)
    request = b.request(wg_public_key=key)
    b.granted(b.issue(request, b.decision(request)))
    again = b.request(wg_public_key=key.replace("++", "\u00e9", 1))
    return b.issue(again, b.decision(again))


def ssh_line(kind, *parts):
    return kind + " " + base64.b64encode(b"".join(string(p) for p in (kind.encode(), *parts))).decode()


kinds("bad_key", "ssh_key", {
    "small_order": ssh_line("ssh-ed25519", b"\1" + bytes(31)), "zero": ssh_line("ssh-ed25519", bytes(32)),
    "off_the_curve": ssh_line("ssh-ed25519", b"\2" + bytes(31)), "not_canonical": ssh_line("ssh-ed25519", (P + 1).to_bytes(32, "little")),
    "rsa": ssh_line("ssh-rsa", b"\1\0\1", b"\0" + b"\xff" * 384), "dsa": ssh_line("ssh-dss", b"\1"), "empty": "",
    "two_lines": ssh_line("ssh-ed25519", b"\3" * 32) + "\n", "options": 'command="x" ' + ssh_line("ssh-ed25519", b"\3" * 32),
}, lambda b, key: b.issue(b.request(ssh_public_key=key)))  # fmt: skip


# --- what it says ---
@kind("wrong_realm")
def another_realm(b):
    return b.issue(b.request(realm="lab-2"))


kinds("unknown_type", "in_place_of_a_request", {
    "login": lambda b: b.sign("alice", b.body("login", token_sha256="0" * 64, read_for=600)),
    "decision": lambda b: b.decision(b.request()),
    "grant": lambda b: b.sign("alice", b.body("grant")),
    "nothing": lambda b: b.sign("alice", b.body("")),
}, lambda b, make: b.issue(make(b)))  # fmt: skip


@kind("unknown_type")
def request_in_place_of_an_approval(b):
    request = b.request()
    return b.issue(request, b.request(by="carol", key="carol"))


@kind("unsupported_version")
def version_2(b):
    return b.issue(b.request(v=2))


@kind("clock")
def signed_in_the_future(b):
    return b.issue(b.request(at=600))


kinds("bad_value", "person", {"comma": "alice,bob", "newline": "alice\nbob", "nul": "alice\0", "look_alike": "\u0430lice", "space": "alice ",
                              "pattern": "*", "empty": "", "bidi": "\u202ealice", "long": "a" * 65, "combining": "a\u0301lice"},
      lambda b, name: b.issue(b.request(by=name)))  # fmt: skip
kinds("bad_value", "target", {"comma": "db,net", "newline": "db\n", "nul": "db\0", "look_alike": "d\u042c", "path": "../db", "escape": "\x1b[2J"},
      lambda b, name: b.issue(b.request(target=name)))  # fmt: skip
kinds("bad_value", "reason", {"newline": "a\nb", "escape": "\x1b[31m", "nul": "a\0b", "empty": "", "spaces": "   ", "long": "x" * 1001},
      lambda b, reason: b.issue(b.request(reason=reason)))  # fmt: skip
kinds("bad_value", "duration", {"zero": 0, "negative": -60, "short": 9, "over_2_53": 2**53 + 1, "text": "60", "true": True, "list": [60]},
      lambda b, duration: b.issue(b.request(duration=duration)))  # fmt: skip
kinds("bad_time", "time", {"with_offset": "2026-03-02T10:00:00+03:00", "fraction": "2026-03-02T10:00:00.5Z", "small": "2026-03-02t10:00:00z",
                           "no_such_day": "2026-02-30T10:00:00Z", "second_60": "2026-03-02T10:00:60Z", "empty": ""},
      lambda b, time: b.issue(b.sign("alice", {**b.request_body(), "at": time})))  # fmt: skip
kinds("bad_value", "field", {
    "session_of_other_version": {"session": "01937c1e-0000-4000-8000-000000000001"}, "session_in_capitals": {"session": uuid7().upper()},
    "short_nonce": {"nonce": "00"}, "nonce_in_capitals": {"nonce": "AB" * 16}, "short_token": {"token_sha256": "00"},
    "ticket_a_list": {"ticket": []}, "incident": {"incident": "INC-1"},
}, lambda b, fields: b.issue(b.request(**fields)))  # fmt: skip


@kind("bad_value")
def a_null(b):
    return b.issue(b.sign("alice", json.dumps(b.request_body())[:-1] + ', "ticket": null}'))


@kind("bad_value")
def a_key_is_missing(b):
    return b.issue(b.request(token_sha256=None))


# --- how it is written: well signed, but no statement ---
def respelt(b, edit):
    """alice signs her request as `edit` spells it."""
    text = edit(json.dumps(b.request_body()))
    return b.issue(b.sign("alice", text if isinstance(text, bytes) else text.encode()))


def behind(text):
    return lambda body: body[:-1] + text + "}"


def instead(number):
    return lambda body: body.replace('"duration": 60', f'"duration": {number}')


def reason(raw):
    return lambda body: body.encode().replace(b"INC-1", raw)


kinds("duplicate_key", "key", {"twice": behind(', "by": "bob"'), "twice_escaped": behind(', "\\u0062y": "bob"'),
                               "twice_in_another": behind(', "x": {"a": 1, "\\u0061": 2}')}, respelt)  # fmt: skip
kinds("unknown_key", "key", {"more": behind(', "admin": true'), "empty": behind(', "": 1'), "in_capitals": behind(', "Target": "net"'),
                             "proto": behind(', "__proto__": {}')}, respelt)  # fmt: skip
kinds("bad_json", "number", {"float": instead("60.0"), "exponent": instead("6e1"), "leading_zero": instead("060"), "plus": instead("+60"),
                             "minus_zero": instead("-0"), "hex": instead("0x3c"), "over_2_63": instead(2**63), "over_2_64": instead(2**64 + 60),
                             "nan": instead("NaN"), "huge": instead("1" + "0" * 400)}, respelt)  # fmt: skip
kinds("bad_json", "text", {"no_utf8": reason(b"\xff"), "overlong": reason(b"\xc0\xaf"), "surrogate_bytes": reason(b"\xed\xa0\x80"),
                           "over_10ffff": reason(b"\xf4\x90\x80\x80"), "lone_surrogate": reason(b"\\ud800"),
                           "reversed_surrogates": reason(b"\\udc00\\ud800"), "raw_newline": reason(b"a\nb"), "raw_nul": reason(b"a\0b"),
                           "bad_escape": reason(b"\\x41"), "cut_escape": reason(b"\\u00")}, respelt)  # fmt: skip
kinds("bad_json", "document", {"bom": lambda s: "\ufeff" + s, "trailing": lambda s: s + "x", "two": lambda s: s + s, "empty": lambda s: "",
                               "comment": lambda s: s + "// x", "comma": behind(","), "single_quotes": lambda s: s.replace('"', "'"),
                               "deep": behind(', "x": ' + "[" * 17 + "]" * 17), "deeper": lambda s: "[" * 8000, "nul_behind": lambda s: s + "\0",
                               "cut": lambda s: s[:-1], "utf16": lambda s: s.encode("utf-16")}, respelt)  # fmt: skip
kinds("bad_value", "document", {"list": lambda s: f"[{s}]", "string": lambda s: '"x"', "null": lambda s: "null"}, respelt)
KINDS["document_of_17_kib"] = (lambda b: respelt(b, lambda s: s + " " * (17 << 10)), "too_large")


# --- how it is signed ---
def by_hand(b, edit):
    """alice's request; `edit(broker, body, fields)` may change what the SSHSIG is made of, and returns it or None."""
    body = json.dumps(b.request_body()).encode()
    key = b.realm.keys["ed25519"]
    fields = {"public": key.public, "signature": key.signature(signed_bytes(body))}
    made = edit(b, body, fields)
    signature = made if isinstance(made, str) else armour(made if made is not None else blob(**fields))
    return b.issue({"body": base64.b64encode(body).decode(), "signature": signature})


def with_fields(**values):
    return lambda b, body, fields: fields.update(values)


def other_text(edit):
    return lambda b, body, fields: edit(armour(blob(**fields)))


def other_blob(edit):
    return lambda b, body, fields: edit(blob(**fields))


kinds("bad_signature_format", "sshsig", {
    "version_2": with_fields(version=2), "version_0": with_fields(version=0), "reserved_field": with_fields(reserved=b"x"),
    "other_magic": with_fields(magic=b"SSHSIH"), "sha1": with_fields(hashed="sha1"), "no_hash": with_fields(hashed=""),
    "hash_in_capitals": with_fields(hashed="SHA512"),
    "cut": other_blob(lambda blob_: blob_[:-1]), "cut_in_half": other_blob(lambda blob_: blob_[: len(blob_) // 2]),
    "only_magic": other_blob(lambda blob_: b"SSHSIG"), "byte_behind": other_blob(lambda blob_: blob_ + b"\0"),
    "empty": other_text(lambda text: ""), "junk_before": other_text(lambda text: "x\n" + text),
    "junk_behind": other_text(lambda text: text + "x\n"), "two": other_text(lambda text: text + text),
    "carriage_returns": other_text(lambda text: text.replace("\n", "\r\n")), "spaces": other_text(lambda text: text.replace("\n", " \n", 2)),
    "no_padding": other_blob(lambda blob_: blob_ + b"\0"), "pgp": other_text(lambda text: text.replace("SSH SIGNATURE", "PGP SIGNATURE")),
    "too_long": other_text(lambda text: text.replace("\n-----END", "\n" + "A" * 8000 + "\n-----END")),
    "length_4_gib": other_blob(lambda blob_: blob_[:10] + b"\xff\xff\xff\xff" + blob_[14:]),
    "short_signature": with_fields(signature=string(b"ssh-ed25519") + string(bytes(63))),
    "signature_of_other_type": with_fields(signature=string(b"ssh-rsa") + string(bytes(64))),
    "empty_signature": with_fields(signature=b""),
}, by_hand)  # fmt: skip


def hash_named_wrong(b, body, fields):
    fields["hashed"] = "sha256"  # what was signed says sha512


def malleable(b, body, fields):
    """S + L verifies where nobody looks (RFC 8032 §8.4)."""
    raw = fields["signature"][-64:]
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(raw[32:], "little") + order
    fields["signature"] = string(b"ssh-ed25519") + string(raw[:32] + s.to_bytes(32, "little"))


def somebody_elses(b, body, fields):
    fields["public"] = base64.b64decode(b.realm.public_key("bob").split()[1])


kinds("bad_signature", "sshsig", {
    "hash_named_wrong": hash_named_wrong, "malleable": malleable, "under_anothers_key": somebody_elses,
    "zeros": with_fields(signature=string(b"ssh-ed25519") + string(bytes(64))),
}, by_hand)  # fmt: skip


def certificate_as_key(b, body, fields):
    fields["public"] = string(b"ssh-ed25519-cert-v01@openssh.com") + string(bytes(32)) + fields["public"][-36:] + bytes(64)


def nested(b, body, fields):
    fields["public"] = blob(**fields)


kinds("bad_key", "sshsig", {
    "with_a_certificate": certificate_as_key, "nested": nested, "of_no_key": with_fields(public=b""),
    "key_with_a_byte_behind": lambda b, body, fields: fields.update(public=fields["public"] + b"\0"),
    "of_small_order": with_fields(public=string(b"ssh-ed25519") + string(b"\1" + bytes(31))),
    "of_dsa": with_fields(public=string(b"ssh-dss") + string(b"\1") * 4),
    "of_p384": with_fields(public=string(b"ecdsa-sha2-nistp384") + string(b"nistp384") + string(b"\4" + bytes(96))),
    "of_rsa_2048": with_fields(public=string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0\xff" + bytes(254) + b"\1")),
    "of_rsa_exponent_1": with_fields(public=string(b"ssh-rsa") + string(b"\1") + string(b"\0\xff" + bytes(382) + b"\1")),
    "of_a_point_off_the_curve": with_fields(public=string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\4" + bytes(64))),
}, by_hand)  # fmt: skip


# --- the messages themselves ---
kinds("unknown_message", "message", {"unknown": {"op": "sign"}, "empty": {"op": ""}, "capitals": {"op": "ISSUE"}}, lambda b, q: q)
kinds("bad_value", "message", {
    "no_op": lambda b: {}, "a_list": lambda b: [], "no_request": lambda b: {"op": "issue", "decisions": [], "gateway": "gw1", "policy_sha256": ""},
    "decisions_no_list": lambda b: {**b.honest(), "decisions": {}}, "decision_no_document": lambda b: {**b.honest(), "decisions": ["x"]},
    "body_not_base64": lambda b: {**b.honest(), "request": {"body": "{}", "signature": "x"}},
    "gateway_a_number": lambda b: {**b.honest(), "gateway": 1},
}, lambda b, make: make(b))  # fmt: skip
KINDS["message_with_more"] = (lambda b: {**b.honest(), "now": "2030-01-01T00:00:00Z"}, "unknown_key")
KINDS["document_with_more"] = (lambda b: b.issue({**b.request(), "key": "x"}), "unknown_key")


@kind("too_large")
def seventeen_approvals(b):
    request = b.request()
    return b.issue(request, *[b.decision(request)] * 17)


# --- what may be applied ---
@kind("not_permitted")
def revoked_by_somebody(b):
    session = b.granted(b.honest())["session"]
    return b.apply(b.sign("dave", b.body("revoke", "dave", session=session, reason="x")))


@kind("revoked")
def revoked_by_its_own_person_before_it_was_issued(b):
    body = b.request_body()
    request = b.sign("alice", body)
    assert b.ask(b.apply(b.sign("alice", b.body("revoke", "alice", session=body["session"], reason="x")))) == {"applied": True}
    b.realm.restart()
    return b.issue(request, b.decision(request))


@kind("revoked")
def revoked_by_its_approver_before_it_was_issued(b):
    body = b.request_body()
    request = b.sign("alice", body)
    decision = b.decision(request)
    assert b.ask(b.apply(b.sign("carol", b.body("revoke", "carol", session=body["session"], reason="x")))) == {"applied": True}
    return b.issue(request, decision)


@kind("unknown_type")
def applying_a_request(b):
    return b.apply(b.request())


@kind("revoked")
def a_revoked_session_asked_for_again(b):
    question = b.honest()
    session = b.granted(question)["session"]
    assert b.ask(b.apply(b.sign("erin", b.body("revoke", "erin", session=session, reason="x")))) == {"applied": True}
    return question


@kind("revoked")
def revoked_before_it_was_issued(b):
    body = b.request_body()
    request = b.sign("alice", body)
    assert b.ask(b.apply(b.sign("erin", b.body("revoke", "erin", session=body["session"], reason="x")))) == {"applied": True}
    b.realm.restart()
    return b.issue(request, b.decision(request))


# --- locks, revocations, incidents ---
def under_lock(b, what, **request):
    question = b.issue(made := b.request(by="bob", key="bob", **request), b.decision(made, access={"login": "bob"}))
    with b.locked(**what):
        yield question


kinds("locked", "locked", {"person": {"person": "bob"}, "approver": {"person": "carol"}, "target": {"target": "db"}, "gateway": {"node": "gw1"},
                           "jump_host": {"node": "jump1"}, "all": {"all": True}}, under_lock)  # fmt: skip


@kind("locked")
def asked_again_while_locked(b):
    question = b.honest()
    b.granted(question)
    with b.locked(person="alice"):
        yield question


@kind("locked")
def locked_and_restarted(b):
    question = b.honest()
    with b.locked(person="alice"):
        b.realm.restart()
        yield question


@kind("locked")
def a_locked_person_unlocks_themselves(b):
    b.applied("lock", by="dave", person="dave")
    yield b.apply(b.sign("dave", b.body("unlock", "dave", person="dave", reason="x")))
    b.applied("unlock", person="dave")


@kind("bad_order")
def an_unlock_held_back(b):
    unlock = b.sign("erin", b.body("unlock", "erin", at=-HOUR, person="bob", reason="x"))
    with b.locked(person="bob"):
        yield b.apply(unlock)


@kind("wrong_state")
def unlocking_what_is_not_locked(b):
    return b.apply(b.sign("erin", b.body("unlock", "erin", person="bob", reason="x")))


def applying(kind_, by="erin", **fields):
    return lambda b: b.apply(b.sign(by, b.body(kind_, by, **{"reason": "x", **fields})))


kinds("not_permitted", "without_the_right", {
    "lock": applying("lock", "carol", person="bob"), "lock_all": applying("lock", "alice", all=True),
    "revoke_person": applying("revoke", "alice", person="bob"), "revoke_all": applying("revoke", "dave", all=True),
    "incident_open": applying("incident_open", "alice", incident=uuid7(), targets=["db"], until=rfc3339(HOUR)),
}, lambda b, make: make(b))  # fmt: skip
KINDS["locking_nobody"] = (applying("lock", person="nobody"), "unknown_person")
KINDS["locking_no_target"] = (applying("lock", target="nothing"), "unknown_target")
KINDS["locking_no_node"] = (applying("lock", node="gw9"), "wrong_node")
kinds("bad_value", "subject", {
    "none": applying("lock"), "two": applying("lock", person="bob", target="db"), "all_false": applying("lock", all=False),
    "list": applying("lock", person=["bob"]), "pattern": applying("lock", person="*"), "newline": applying("lock", person="bob\n"),
    "no_reason": applying("lock", person="bob", reason=""),
}, lambda b, make: make(b))  # fmt: skip
KINDS["locking_a_session"] = (applying("lock", session=uuid7()), "bad_value")


@kind("revoked")
def a_revoked_persons_older_request(b):
    request = b.request(by="bob", key="bob", at=-120)
    decision = b.decision(request, access={"login": "bob"})
    b.applied("revoke", at=-60, person="bob")
    return b.issue(request, decision)


def in_incident(b, incident, **fields):
    return b.issue(b.request(incident=incident, **fields))


@kind("no_incident")
def incident_that_never_was(b):
    return in_incident(b, uuid7())


@kind("no_incident")
def closed_incident(b):
    incident = b.incident()
    b.granted(in_incident(b, incident))
    b.applied("incident_close", incident=incident)
    b.realm.restart()
    return in_incident(b, incident)


@kind("no_incident")
def asked_again_after_the_incident_was_closed(b):
    incident = b.incident()
    question = in_incident(b, incident)
    b.granted(question)
    b.applied("incident_close", incident=incident)
    return question


@kind("no_incident")
def incident_about_another_target(b):
    return in_incident(b, b.incident(targets=["net"]))


@kind("no_incident")
def incident_that_ends_now(b):
    return in_incident(b, b.incident(seconds=5))


@kind("replay")
def incident_opened_again(b):
    incident = b.incident()
    b.applied("incident_close", incident=incident)
    return applying("incident_open", incident=incident, targets=["db"], until=rfc3339(DAY // 24))(b)


@kind("wrong_state")
def closed_incident_extended(b):
    incident = b.incident()
    b.applied("incident_close", incident=incident)
    return applying("incident_extend", incident=incident, until=rfc3339(HOUR))(b)


KINDS["incident_over_the_limit"] = (applying("incident_open", incident=uuid7(), targets=["db"], until=rfc3339(9 * HOUR)), "duration_over_limit")
KINDS["incident_about_nothing"] = (applying("incident_open", incident=uuid7(), targets=["nothing"], until=rfc3339(HOUR)), "unknown_target")
KINDS["incident_closed_that_never_was"] = (applying("incident_close", incident=uuid7()), "unknown_incident")
kinds("bad_value", "incident", {
    "no_targets": applying("incident_open", incident=uuid7(), targets=[], until=rfc3339(HOUR)),
    "unsorted": applying("incident_open", incident=uuid7(), targets=["net", "db"], until=rfc3339(HOUR)),
    "ended": applying("incident_open", incident=uuid7(), targets=["db"], until=rfc3339(-HOUR)),
}, lambda b, make: make(b))  # fmt: skip


# --- keys of other types ---
def by_key(b, name, edit=None, algorithm=None):
    """alice's request, signed by another of her keys; `edit(signature)` changes what is in the SSHSIG."""
    body = json.dumps(b.request_body()).encode()
    key = b.realm.keys[name]
    made = key.signature(signed_bytes(body), algorithm)
    return {"body": base64.b64encode(body).decode(), "signature": armour(blob(key.public, edit(made) if edit else made))}


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def numbers(edit):
    """`edit(r, s)` gives two wire strings."""

    def change(signature):
        inner, parts = signature[4 + 19 + 4 :], []
        while inner:
            length = int.from_bytes(inner[:4], "big")
            parts.append(int.from_bytes(inner[4 : 4 + length], "big"))
            inner = inner[4 + length :]
        return string(b"ecdsa-sha2-nistp256") + string(b"".join(edit(*parts)))

    return change


kinds("bad_signature_format", "ecdsa", {
    "zero": numbers(lambda r, s: (string(b""), mpint(s))), "zero_byte": numbers(lambda r, s: (string(b"\0"), mpint(s))),
    "negative": numbers(lambda r, s: (string(b"\xff" + r.to_bytes(32, "big")), mpint(s))),
    "not_minimal": numbers(lambda r, s: (string(b"\0\0" + r.to_bytes(32, "big")), mpint(s))),
    "one_number": numbers(lambda r, s: (mpint(r),)), "three_numbers": numbers(lambda r, s: (mpint(r), mpint(s), mpint(s))),
    "der": lambda signature: string(b"ecdsa-sha2-nistp256") + string(bytes(70)),
    "named_ed25519": lambda signature: string(b"ssh-ed25519") + string(bytes(64)),
    "byte_behind": lambda signature: signature + b"\0",
}, lambda b, edit: b.issue(by_key(b, "ecdsa", edit)))  # fmt: skip
kinds("bad_signature", "ecdsa", {
    "r_over_the_order": numbers(lambda r, s: (mpint(r + ORDER), mpint(s))), "s_over_the_order": numbers(lambda r, s: (mpint(r), mpint(s + ORDER))),
    "s_is_the_order": numbers(lambda r, s: (mpint(r), mpint(ORDER))), "ones": numbers(lambda r, s: (mpint(1), mpint(1))),
    "huge": numbers(lambda r, s: (mpint(r), mpint(2**2000))),
}, lambda b, edit: b.issue(by_key(b, "ecdsa", edit)))  # fmt: skip
kinds("bad_signature_format", "rsa", {"sha1": "ssh-rsa"}, lambda b, algorithm: b.issue(by_key(b, "rsa", algorithm=algorithm)))
kinds("bad_signature", "rsa", {
    "cut": lambda signature: string(b"rsa-sha2-512") + string(signature[-383:]),
    "zero_in_front": lambda signature: string(b"rsa-sha2-512") + string(b"\0" + signature[-384:]),
    "zeros": lambda signature: string(b"rsa-sha2-512") + string(bytes(384)), "empty": lambda signature: string(b"rsa-sha2-512") + string(b""),
    "hash_named_wrong": lambda signature: string(b"rsa-sha2-256") + string(signature[-384:]),
}, lambda b, edit: b.issue(by_key(b, "rsa", edit)))  # fmt: skip


@kind("replay")
def other_half_of_an_ecdsa_signature(b):
    """(r, n - s) holds as well: no second certificate comes of it."""
    request = by_key(b, "ecdsa")
    b.granted(b.issue(request, b.decision(request)))
    key = b.realm.keys["ecdsa"]
    flip = numbers(lambda r, s: (mpint(r), mpint(ORDER - s)))
    signature = dearmour(request["signature"])
    algorithm = signature.rindex(string(b"ecdsa-sha2-nistp256"))
    twin = {**request, "signature": armour(blob(key.public, flip(signature[algorithm:])))}
    return b.issue(twin, b.decision(request))


if sk_keys.provider():

    def untouched(b, name, flags):
        raw = json.dumps(b.request_body()).encode()
        signature = sk_keys.sign(b.realm.dir / name, raw, flags=flags)
        return b.issue({"body": base64.b64encode(raw).decode(), "signature": signature})

    for flags in (0, 4):
        kinds("no_touch", f"sk_flags_{flags}", {"ed25519": "ed25519-sk", "ecdsa": "ecdsa-sk"},
              lambda b, name, flags=flags: untouched(b, name, flags))  # fmt: skip

    @kind("bad_signature")
    def touch_written_in_afterwards(b):
        question = untouched(b, "ed25519-sk", 0)
        signature = bytearray(dearmour(question["request"]["signature"]))
        signature[-5] = 1
        return b.issue({**question["request"], "signature": armour(bytes(signature))})

    @kind("bad_key")
    def a_web_authenticators_key(b):
        signature = dearmour(untouched(b, "ed25519-sk", 1)["request"]["signature"])
        return b.issue({**b.request(), "signature": armour(signature.replace(string(b"ssh:"), string(b"web:")))})

    @kind("hardware_key_wanted")
    def approval_by_a_plain_key(b):
        request = b.request(key="ed25519-sk", target="vault")
        return b.issue(request, b.decision(request, target="vault"))


@kind("hardware_key_wanted")
def plain_key_where_hardware_is_wanted(b):
    request = b.request(target="vault")
    return b.issue(request, b.decision(request, target="vault"))


# --- the tests ---
@pytest.mark.parametrize("name", list(KINDS))
def test_refused_by_the_signer(broker, name):
    attack, code = KINDS[name]
    made = attack(broker)
    if inspect.isgenerator(made):
        try:
            refused(broker, next(made), code)
        finally:
            next(made, None)  # undoes what it did
    else:
        refused(broker, made, code)
    broker.granted(broker.honest())


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_all_types_sign(broker, name):
    """What is refused above is refused for what was done to it."""
    request = by_key(broker, name)
    broker.granted(broker.issue(request, broker.decision(request)))


@sk_keys.needs_provider
@pytest.mark.parametrize("name", ["ed25519-sk", "ecdsa-sk"])
def test_hardware_keys_sign(broker, name):
    request = broker.request(key=name)
    broker.granted(broker.issue(request, broker.decision(request)))


@sk_keys.needs_provider
@pytest.mark.parametrize("target, flags, code", [
    ("vault", 1, None), ("vault", 5, None), ("hsm", 5, None), ("hsm", 1, "hardware_key_wanted"),
])  # fmt: skip
def test_rules_that_want_hardware_keys_take_them(broker, monkeypatch, target, flags, code):
    """1: touched; 5: and the authenticator knew its user, by a PIN or a finger."""
    monkeypatch.setenv("JITWG_SK_FLAGS", "5")
    request = broker.request(key="ed25519-sk", target=target)
    monkeypatch.setenv("JITWG_SK_FLAGS", str(flags))
    question = broker.issue(request, broker.decision(request, key="carol-sk", target=target))
    refused(broker, question, code) if code else broker.granted(question)


def test_there_are_at_least_forty_kinds():
    assert len(KINDS) >= 40


def test_no_approval_makes_it_longer_than_asked(broker):
    request = broker.request(duration=60)
    grant = broker.granted(broker.issue(request, broker.decision(request, duration=5400)))
    assert grant["not_after"] <= rfc3339(60)


def test_a_clock_behind_the_ledger_signs_nothing(broker):
    """The hash chain is right, the newest record is of tomorrow: the clock was set back."""

    def of_tomorrow(ledger):
        lines = ledger.read_text().splitlines()
        revoke = broker.sign("erin", broker.body("revoke", "erin", session=uuid7(), reason="x"))
        text = json.dumps({"kind": "applied", "at": rfc3339(DAY), "statement": revoke})
        digest = hashlib.sha256(f"{lines[-1][:64]} {text}".encode()).hexdigest()
        ledger.write_text("\n".join([*lines, f"{digest} {text}", ""]))

    broker.granted(broker.honest())
    good = broker.ledger()
    broker.realm.restart(of_tomorrow)
    refused(broker, broker.honest(), "clock_behind")
    broker.realm.restart(lambda ledger: ledger.write_bytes(good))
    broker.granted(broker.honest())


@pytest.mark.parametrize("frame", [b"", b"\0", b"{", b"[" * 100000, b"\xff" * 64, b'{"op":"issue"}x'])
def test_a_frame_that_is_no_message_ends_the_connection_alone(broker, frame):
    answer = broker.ask(frame)
    assert answer["error"]["code"] == "bad_json", answer
    broker.granted(broker.honest())


def test_the_same_bytes_again_are_no_new_certificate(broker):
    question = broker.honest()
    first = broker.ask(question)
    before = broker.ledger()
    broker.realm.restart()
    assert broker.ask(question) == first and broker.ledger() == before


def connection(broker):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(broker.realm.run / "signer.sock"))
    return sock


def test_connections_that_say_nothing_keep_nobody_out(broker, tmp_path):
    """Least of all the admin, who applies what the broker swallows."""
    silent = [connection(broker) for _ in range(64)]
    for sock in silent:
        sock.sendall(b"\0\0")
    try:
        revoke = tmp_path / "revoke.json"
        revoke.write_text(json.dumps(broker.sign("erin", broker.body("revoke", "erin", session=uuid7(), reason="x"))))
        done = subprocess.run([binary("jitwg-signer"), "--config", broker.realm.dir / "signer.conf", "apply", revoke],
                              capture_output=True, text=True, timeout=30)  # fmt: skip
        assert done.returncode == 0 and "applied" in done.stdout, done
        broker.granted(broker.honest())
    finally:
        for sock in silent:
            sock.close()


def test_who_reads_no_answers_fills_no_memory(broker):
    question = json.dumps({"op": "policy"}).encode()
    many = (len(question).to_bytes(4, "big") + question) * 5000
    with connection(broker) as sock:
        sock.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += sock.send(many)
    broker.granted(broker.honest())
