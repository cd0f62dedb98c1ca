"""jitwg without a broker: usage, exit codes, policy commands, help, completion (DESIGN §12)."""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _binary():
    for build in (os.environ.get("JITWG_BUILD"), ROOT / "build/dev", ROOT / "build/release"):
        if build and (pathlib.Path(build) / "bin/jitwg").exists():
            return str(pathlib.Path(build) / "bin/jitwg")
    return None


JITWG = _binary()
pytestmark = pytest.mark.skipif(JITWG is None, reason="SKIPPED: jitwg is not built")

COMMANDS = [
    "request", "pending", "show", "approve", "deny", "activate", "up", "down", "ssh", "names", "return", "revoke",
    "lock", "unlock", "locks", "incident open", "incident extend", "incident close", "incident review", "incident list", "incident show",
    "write-off", "export", "statement show", "statement verify", "ssh-command", "list", "policy check", "policy test", "policy explain", "policy diff", "trust", "doctor", "version", "help", "completion bash",
]  # fmt: skip

POLICY = """version = 1
realm = "lab-1"
[defaults]
duration = "60m"
max_duration = "90m"
pending_for = "24h"
activate_within = "60m"
pools = ["10.90.0.0/16"]
[groups]
platform = ["alice", "bob"]
security = ["carol"]
contractors = ["dave"]
[gateways.gw1]
endpoint = "192.0.2.10:51820"
wireguard_key = "AwEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
node_key = "{gw}"
[targets.db-prod]
gateways = ["gw1"]
scope = ["tcp 10.60.10.20:5432"]
labels = ["prod"]
[[rule]]
name = "platform reaches prod"
who = ["group:platform"]
targets = ["label:prod"]
approvals = 1
approvers = ["group:security"]
[[deny]]
name = "contractors never"
who = ["group:contractors"]
targets = ["label:prod"]
[[test]]
person = "alice"
target = "db-prod"
for = "90m"
at = "2026-03-02T10:00:00+03:00"
expect = "{expect}"
"""


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def jitwg(home):
    def run(*args, config=None, stdin="", **environment):
        if config is not None:
            folder = home / ".config/jitwg"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config").write_text(config)
        env = {"PATH": os.environ["PATH"], "HOME": str(home), **environment}
        return subprocess.run([JITWG, *args], env=env, input=stdin, text=True, capture_output=True, timeout=30)

    return run


@pytest.fixture
def policy(home):
    def write(expect="approval", text=POLICY):
        path = home / "policy.toml"
        path.write_text(text.replace("{gw}", _public_key(home, "gw")).replace("{expect}", expect))
        return str(path)

    return write


def _public_key(folder, name):
    path = folder / name
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join((folder / f"{name}.pub").read_text().split()[:2])


def error_of(result):
    return json.loads(result.stdout)["error"]


def test_no_subcommand_is_usage(jitwg):
    result = jitwg()
    assert result.returncode == 2
    assert result.stdout == "" and "usage: jitwg" in result.stderr


def test_unknown_subcommand_and_option(jitwg):
    assert jitwg("frobnicate").returncode == 2
    assert jitwg("list", "--frob").returncode == 2
    assert jitwg("policy", "frob").returncode == 2
    assert error_of(jitwg("list", "--frob", "--json"))["code"] == "bad_argument"


def test_options_are_not_guessed_from_their_beginning(jitwg):
    assert jitwg("version", "--js").returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_how_with_an_example(jitwg, command):
    result = jitwg(*command.split(), "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert f"usage: jitwg {command}" in result.stdout
    assert "example:" in result.stdout and "--json" in result.stdout
    assert jitwg("help", *command.split()).stdout == result.stdout


def test_every_subcommand_stands_in_help_and_manual(jitwg):
    overview = jitwg("help").stdout
    manual = (ROOT / "contrib/man/jitwg.1").read_text()
    for command in COMMANDS:
        assert f"\n  {command}" in overview
        assert f".It Ic {command}" in manual
    listed = [line for line in overview.splitlines() if line.startswith("  ")]
    assert len(listed) == len(COMMANDS)


def test_every_option_stands_in_the_manual(jitwg):
    manual = (ROOT / "contrib/man/jitwg.1").read_text()
    for command in COMMANDS:
        for line in jitwg(*command.split(), "--help").stdout.splitlines():
            if line.startswith("  --"):
                assert f"Fl -{line.split()[0][2:]}" in manual, line


@pytest.mark.parametrize("command", ["request", "show", "approve", "deny", "activate", "up", "ssh", "names", "return", "write-off", "export", "incident open", "incident show",
                                     "statement show", "statement verify", "ssh-command"])
def test_a_missing_argument_is_usage(jitwg, command):
    result = jitwg(*command.split(), "--json")
    assert result.returncode == 2 and error_of(result)["code"] == "bad_argument"


@pytest.mark.parametrize("command", ["pending", "list", "locks", "version"])
def test_an_argument_too_many_is_usage(jitwg, command):
    assert jitwg(command, "something").returncode == 2


def test_reason_is_mandatory(jitwg):
    for command in (["request", "db-prod"], ["up", "db-prod"], ["deny", "12ab34"], ["revoke", "12ab34"],
                    ["lock", "bob"], ["unlock", "bob"], ["incident", "open", "db"], ["incident", "close", "12ab34"], ["write-off", "12ab34"]):
        result = jitwg(*command, "--json")
        assert result.returncode == 2
        assert "--reason" in error_of(result)["message"]


def test_version(jitwg):
    assert jitwg("version").stdout.startswith("jitwg 0.")
    assert jitwg("--version").stdout == jitwg("version").stdout
    assert set(json.loads(jitwg("version", "--json").stdout)) == {"version"}


def test_an_error_goes_to_stderr_or_with_json_to_stdout(jitwg):
    plain = jitwg("show", "xyz")
    assert plain.returncode == 2 and plain.stdout == ""
    assert plain.stderr.startswith("jitwg: ") and "jitwg: hint: " in plain.stderr
    machine = jitwg("show", "xyz", "--json")
    assert machine.returncode == 2 and machine.stderr == ""
    assert set(error_of(machine)) == {"code", "message", "hint"}


def test_an_unknown_or_short_id_is_usage(jitwg, home):
    assert error_of(jitwg("activate", "12ab3", "--json"))["code"] == "bad_argument"
    for command in ("activate", "return", "down", "ssh", "names"):
        result = jitwg(command, "12ab34", "--json", config=f"realm = lab-1\nca = {_public_key(home, 'ca')}\n")
        assert result.returncode == 2 and error_of(result)["code"] == "unknown_session", command


def test_an_ambiguous_id_names_the_candidates(jitwg, home):
    ids = ["019b0000-0000-7000-8000-0000fa12ab34", "019b0000-0000-7000-8000-1111fa12ab34"]
    for session in ids:
        (home / ".local/state/jitwg" / session).mkdir(parents=True)
    result = jitwg("activate", "12ab34", "--json")
    assert result.returncode == 2
    assert error_of(result)["code"] == "ambiguous_id"
    assert all(session in error_of(result)["hint"] for session in ids)


def test_without_configuration_it_says_what_is_missing(jitwg):
    error = error_of(jitwg("pending", "--json"))
    assert error["code"] == "bad_config" and "realm" in error["hint"]


def test_an_unknown_key_in_the_configuration_is_refused(jitwg):
    result = jitwg("pending", "--json", config="relm = lab-1\n")
    assert result.returncode == 2 and error_of(result)["code"] == "bad_config"


def test_a_configuration_that_cannot_be_read_is_not_taken_for_none(jitwg, home):
    path = home / ".config/jitwg/config"
    path.mkdir(parents=True)
    assert "cannot be read" in error_of(jitwg("pending", "--json"))["message"]
    path.rmdir()
    path.write_bytes(b"\xff\xfe = \x80\n")
    answer = subprocess.run([JITWG, "pending", "--json"], env={"PATH": os.environ["PATH"], "HOME": str(home)}, capture_output=True)
    assert answer.returncode == 2 and json.loads(answer.stdout.decode("utf-8"))["error"]["code"] == "bad_config"


def test_an_answer_that_cannot_be_written_is_no_success():
    with open("/dev/full", "w") as full:
        done = subprocess.run([JITWG, "version", "--json"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "could not be written" in done.stderr


def test_no_broker_is_unavailable(jitwg, home):
    config = f"realm = lab-1\nca = {_public_key(home, 'ca')}\n"
    for command in (["pending"], ["list"], ["request", "db-prod", "--reason", "x"]):
        result = jitwg(*command, "--json", config=config, JITWG_BROKER=f"unix:{home}/nobody.sock")
        assert result.returncode == 5, command
        assert error_of(result)["code"] == "broker_unavailable"
    assert not list((home / ".local").rglob("wg.key")), "a request that never left leaves no keys"


def test_the_environment_comes_between_command_line_and_file(jitwg, home):
    config = f"broker = unix:/file.sock\nrealm = lab-1\nca = {_public_key(home, 'ca')}\n"
    asked = lambda *args, **env: error_of(jitwg("list", "--json", *args, config=config, **env))["message"]
    assert "/file.sock" in asked()
    assert "/env.sock" in asked(JITWG_BROKER="unix:/env.sock")
    assert "/option.sock" in asked("--broker", "unix:/option.sock", JITWG_BROKER="unix:/env.sock")


def test_what_is_shown_is_escaped(jitwg):
    result = jitwg("show", "\x1b[31mred")
    assert "\x1b" not in result.stderr and "\\u{1b}" in result.stderr


def test_policy_check(jitwg, policy):
    result = jitwg("policy", "check", policy())
    assert result.returncode == 0, result.stderr
    assert ": good" in result.stdout
    machine = json.loads(jitwg("policy", "check", policy(), "--json").stdout)
    assert machine["tests"] == 1 and len(machine["policy_sha256"]) == 64


def test_policy_check_names_line_and_reason(jitwg, policy):
    result = jitwg("policy", "check", policy(expect="deny"), "--json")
    assert result.returncode == 2
    line = POLICY.splitlines().index("[[test]]") + 1
    assert error_of(result)["code"] == "bad_policy" and f":{line}:" in error_of(result)["message"]
    broken = jitwg("policy", "check", policy(text=POLICY.replace("realm =", "realm ==")), "--json")
    assert broken.returncode == 2 and ":2" in error_of(broken)["message"]
    assert jitwg("policy", "check", "/nonexistent").returncode == 1


def test_policy_test_prints_each(jitwg, policy):
    good = jitwg("policy", "test", policy())
    assert good.returncode == 0 and good.stdout.startswith("ok ")
    bad = jitwg("policy", "test", policy(expect="deny"))
    assert bad.returncode == 2 and bad.stdout.startswith("FAIL ") and "1 of 1" in bad.stderr
    assert error_of(jitwg("policy", "test", policy(expect="deny"), "--json"))["code"] == "bad_policy"


def explain(jitwg, path, person, *more):
    result = jitwg("policy", "explain", "--person", person, "--target", "db-prod", "--file", path, "--json", *more)
    assert result.returncode == 0, result.stdout
    return json.loads(result.stdout)


def test_policy_explain(jitwg, policy):
    path = policy()
    alice = explain(jitwg, path, "alice", "--for", "90m", "--at", "2026-03-02T10:00:00+03:00")
    assert alice["outcome"] == "approval" and alice["approvers"] == ["carol"] and alice["duration"] == 5400
    assert alice["access"]["scope"] == ["tcp 10.60.10.20:5432"] and alice["denial"] is None
    dave = explain(jitwg, path, "dave")
    assert dave["outcome"] == "deny" and dave["access"] is None
    assert dave["denial"]["code"] == "denied_by_rule"
    assert explain(jitwg, path, "alice", "--for", "91m")["denial"]["code"] == "duration_over_limit"
    assert "platform reaches prod" in jitwg(
        "policy", "explain", "--person", "alice", "--target", "db-prod", "--file", path).stdout  # fmt: skip


def test_bash_completion_completes(jitwg, home):
    script = home / "completion"
    script.write_text(jitwg("completion", "bash").stdout)

    def complete(*words):
        quoted = " ".join(f"'{word}'" for word in words)
        code = f". {script}; COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _jitwg; echo ${{COMPREPLY[@]}}"
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert complete("jitwg", "re") == ["request", "return", "revoke"]
    assert complete("jitwg", "policy", "") == ["check", "test", "explain", "diff"]
    assert complete("jitwg", "up", "db-prod", "--det") == ["--detach"]
    assert "--file" in complete("jitwg", "policy", "explain", "--fi")
