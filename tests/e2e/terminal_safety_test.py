"""Whatever people write, and whatever the broker says, no control or bidi character reaches a terminal raw: it would hide,
move or repaint what is read before something is approved. --json too, because people look at that as well."""

import json
import os
import pathlib
import subprocess
import sys
import unicodedata

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cli_owned_broker_test import World  # noqa: E402
from cli_test import JITWG  # noqa: E402
from realm import Realm, binary  # noqa: E402

pytestmark = pytest.mark.skipif(not (JITWG and binary("jitwgd")), reason="SKIPPED: jitwg or jitwgd is not built")

# What a statement's text may hold: no C0, but C1 (0x9b is CSI), bidi overrides, zero width, a tag character, a backslash.
NASTY = "ok \u009b31m \u202egnp\u202c \u2066x\u2069 \u200b\u2028\ufeff\U000e0041\u00ad \\u{1b} end"
RAW = "\x1b]0;owned\x07\x1b[2J\r\b" + NASTY  # a broker may say anything


def hidden(text):
    """The characters in it that a terminal must not get."""
    return sorted({f"U+{ord(c):04X}" for c in text
                   if (unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n")})  # fmt: skip


def check(result, must_say=""):
    said = (result.stdout + result.stderr).decode()
    assert hidden(said) == [], said
    assert must_say in said, said
    return said


def test_this_test_can_fail():
    assert len(hidden(NASTY)) > 8 and "U+001B" in hidden(RAW) and hidden("kısa — ärger\n") == []


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


def jitwg(realm, person, *words):
    home = realm.dir / f"home-{person}"
    config = home / ".config/jitwg"
    config.mkdir(parents=True, exist_ok=True)
    (config / "config").write_text(f"broker = unix:{realm.run}/broker.sock\nrealm = lab-1\nca = {realm.public_key('ca')}\n"
                                   f"person = {person}\nidentity = {realm.dir}/{person}\n")  # fmt: skip
    return subprocess.run([JITWG, *words], env={"PATH": os.environ["PATH"], "HOME": str(home)}, capture_output=True,
                          timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip


def test_what_people_wrote(realm):
    document, session, _ = realm.request(reason=NASTY, ticket=NASTY)
    assert realm.post("/v1/statements", document)[0] == 200
    for json_flag in ([], ["--json"]):
        for person, words in {("carol", "pending"): "ok", ("alice", "list"): session[-8:], ("alice", "show"): "ok"}.items():
            more = [session] if person[1] == "show" else []
            check(jitwg(realm, *person, *more, *json_flag), words)
    approved = check(jitwg(realm, "carol", "approve", session, "--yes", "--comment", "fine \u202e"), "\\u{9b}31m")
    assert "\\u{202e}gnp" in approved, "what she signed about was shown"
    check(jitwg(realm, "alice", "show", session), "\\u{9b}31m")
    told = json.loads(jitwg(realm, "alice", "show", session, "--json").stdout)
    assert (told["reason"], told["ticket"]) == (NASTY, NASTY), "for programs it is what was written"
    second, other, _ = realm.request(reason=NASTY)
    assert realm.post("/v1/statements", second)[0] == 200
    check(jitwg(realm, "carol", "deny", other, "--yes", "--reason", NASTY))
    check(jitwg(realm, "alice", "show", other))
    check(jitwg(realm, "alice", "up", other))
    check(jitwg(realm, "erin", "revoke", session, "--yes", "--reason", NASTY))
    check(jitwg(realm, "alice", "show", session))
    statement = realm.dir / "statement.json"
    for body in (document, realm.sign("alice", json.dumps({"type": RAW}))):
        statement.write_text(json.dumps(body))
        for json_flag in ([], ["--json"]):
            check(jitwg(realm, "alice", "statement", "show", statement, *json_flag))
            check(jitwg(realm, "alice", "statement", "verify", statement, "--allowed-signers", realm.dir / "allowed_signers", *json_flag))
    check(jitwg(realm, "erin", "lock", "bob", "--yes", "--reason", NASTY))
    assert "\\u{9b}31m" in check(jitwg(realm, "erin", "locks"))
    check(jitwg(realm, "erin", "locks", "--json"))
    check(jitwg(realm, "erin", "export", session, realm.dir / "export"))
    for program in ("jitwgd", "jitwg-signer"):
        assert hidden(realm.log(program)) == []


@pytest.mark.parametrize("words", [["show", "{}"], ["list"], ["pending"], ["up", "{}"], ["return", "{}"], ["show", "\u202e\x1b"],
                                   ["approve", "{}", "--yes"], ["nosuch\x1b[2J"], ["list", "--\x1b"], ["request", "\x1b", "--reason", "x"]],
                         ids=lambda words: words[0].split("\x1b")[0] + str(len(words)))  # fmt: skip
def test_what_an_owned_broker_says(tmp_path, words):
    world = World(tmp_path)
    try:
        world.jitwg("request", "db-prod", "--reason", "INC-1", "--for", "5m")
        session = world.session()
        texts = {"person": RAW, "target": RAW, "reason": RAW, "ticket": RAW, "login": RAW, "gateway": RAW, "jump_hosts": [RAW], "scope": [RAW],
                 "close_reason": RAW, "approvals": [{"person": RAW, "decision": "approve", "at": session["requested_at"], "comment": RAW}],
                 "evidence": {RAW: {"at": session["requested_at"], "result": RAW, "peer": False}}}  # fmt: skip
        for changed in [{}, *({key: value} for key, value in texts.items())]:
            lie = {**session, **(changed or texts)}
            world.broker.answers = {"/v1/realm": (200, world.realm()), session["session"]: (200, lie), "/activate": (403, {"error": {
                "code": "no_rule", "message": RAW, "hint": RAW}}), "/v1/sessions": (200, [lie]), "/v1/pending": (200, [lie]),
                "/v1/statements": (200, {"read_until": RAW, **lie})}  # fmt: skip
            for more in ([], ["--json"]):
                argv = [JITWG, *(word.replace("{}", session["session"]) for word in words), *more, "--identity", str(tmp_path / "alice")]
                said = check(subprocess.run(argv, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, timeout=60,
                                            stdin=subprocess.DEVNULL))  # fmt: skip
                if words == ["show", "{}"] and "reason" in changed:
                    assert ("\\u202egnp" if more else "\\u{202e}gnp") in said, "it was shown"
    finally:
        world.broker.close()
