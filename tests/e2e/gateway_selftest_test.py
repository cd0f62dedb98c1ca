"""jitwg-gateway selftest, and the gateway that serves on nothing else. What it notices: tests/unit/broker/gateway/selftest_test.cc."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time

import pytest

from gateway_test import GATEWAY, INSIDE, world  # noqa: F401

# As if this kernel, or nftables, did something else with one rule.
MEDDLER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
int nft_run_cmd_from_buffer(void *nft, const char *text) {
  int (*next)(void *, const char *) = dlsym(RTLD_NEXT, "nft_run_cmd_from_buffer");
  if (strncmp(text, "list ", 5) == 0) return next(nft, text);
  const char *more = getenv("MEDDLE");
  char *both = malloc(strlen(text) + strlen(more) + 2);
  strcat(strcat(strcpy(both, text), more), "\n");
  return next(nft, both);
}
"""


def selftest(world, *words, prefix=()):  # noqa: F811
    return world.gw.run([*prefix, GATEWAY, "selftest", "--config", world.path("gateway.conf"), *words], check=False)


def links(world):  # noqa: F811
    """By name and address: carrier and state come and go by themselves."""
    lines = world.gw.run("ip -o link").stdout.splitlines()
    return [(line.split(": ")[1], line.partition("link/")[2]) for line in lines]


def proof(world):  # noqa: F811
    return world.path("run/selftest.ok")


def refusal(world, *prefix):  # noqa: F811
    """What the daemon says when it does not start; it must have touched nothing."""
    done = world.gw.run([*prefix, GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode == 5, (done.returncode, done.stderr)  # not 2, which the unit takes for a mistake that stays
    assert "not_confirmed" in done.stderr and "systemctl start jitwg-gateway-selftest" in done.stderr
    assert world.gw.run("nft list ruleset").stdout == ""
    assert world.gw.run("ip link show jitwg0", check=False).returncode != 0
    assert not os.path.exists(world.path("state"))
    return done.stderr


def test_it_leaves_a_proof_and_nothing_else(world):  # noqa: F811
    os.remove(proof(world))
    before = links(world)
    done = selftest(world)
    assert done.returncode == 0 and " packets, 0 as they must not be\n" in done.stdout and not done.stderr, done
    assert links(world) == before and world.gw.run("nft list ruleset").stdout == ""
    made = json.load(open(proof(world)))
    assert made.keys() == {"boot_id", "ruleset_sha256", "time"}
    assert made["boot_id"] == open("/proc/sys/kernel/random/boot_id").read().strip()
    assert stat.S_IMODE(os.stat(proof(world)).st_mode) == 0o644
    cases = json.loads(selftest(world, "--json").stdout)
    assert len(cases) > 300 and {case["level"] for case in cases} == {"ok"}
    assert {case["check"][:4] for case in cases} == {"IPv4", "IPv6", "pool"}
    world.grant(1, [f"tcp {INSIDE}:5432"])
    world.start()
    world.wait_open(1)
    world.restart()  # the same proof does for every start since the boot


def test_two_capabilities_are_enough(world):  # noqa: F811
    few = [f"--{kind}=-all,+sys_admin,+net_admin" for kind in ("inh-caps", "bounding-set")]
    assert selftest(world, prefix=("setpriv", *few, "--no-new-privs")).returncode == 0


def test_without_a_proof_nothing_is_served(world):  # noqa: F811
    os.remove(proof(world))
    assert "No such file" in refusal(world)
    shutil.rmtree(world.path("run"))
    assert "No such file" in refusal(world)
    assert selftest(world).returncode == 0
    world.start()


def _rewritten(**changes):
    def change(path):
        made = {**json.load(open(path)), **changes}
        with open(path, "w") as f:
            json.dump(made, f)

    return change


def _half(path):
    os.truncate(path, os.path.getsize(path) // 2)


def _linked(path):
    os.rename(path, f"{path}.elsewhere")
    os.symlink(f"{path}.elsewhere", path)


BAD_PROOFS = {
    "another boot": (_rewritten(boot_id="0197f4a0-0000-4000-8000-000000000000"), "before this machine's last boot"),
    "other chains": (_rewritten(ruleset_sha256="0" * 64), "of other chains"),
    "a key too many": (_rewritten(passed=True), "passed"),
    "no time": (_rewritten(time="yesterday"), "time"),
    "half a file": (_half, "selftest.ok does not count"),
    "empty": (lambda path: os.truncate(path, 0), "selftest.ok does not count"),
    "somebody else's": (lambda path: os.chown(path, 12345, 12345), "belongs to uid 12345"),
    "writable by others": (lambda path: os.chmod(path, 0o646), "by others"),
    "writable by its group": (lambda path: os.chmod(path, 0o664), "by others"),
    "a symbolic link": (_linked, "selftest.ok does not count"),
    "in somebody else's directory": (lambda path: os.chown(os.path.dirname(path), 12345, 12345), "root's alone"),
    "in a directory of everybody": (lambda path: os.chmod(os.path.dirname(path), 0o1777), "root's alone"),
    "in a directory of a group": (lambda path: os.chmod(os.path.dirname(path), 0o775), "root's alone"),
}


@pytest.mark.parametrize("what", BAD_PROOFS)
def test_a_proof_that_proves_nothing_does_not_count(world, what):  # noqa: F811
    spoil, words = BAD_PROOFS[what]
    spoil(proof(world))
    assert words in refusal(world)
    found = json.loads(world.gw.run([GATEWAY, "doctor", "--json", "--config", world.path("gateway.conf")], check=False).stdout)
    (said,) = [each for each in found if each["check"] == "selftest"]
    assert said["level"] == "problem" and words in said["text"] and "jitwg-gateway-selftest" in said["remedy"]


def test_the_proof_is_of_this_interface(world):  # noqa: F811
    conf = open(world.path("gateway.conf")).read()
    with open(world.path("gateway.conf"), "w") as f:
        f.write(conf.replace("interface = jitwg0", "interface = wg9"))
    assert "of other chains" in refusal(world)


def test_doctor_says_when_it_passed(world):  # noqa: F811
    found = json.loads(world.gw.run([GATEWAY, "doctor", "--json", "--config", world.path("gateway.conf")], check=False).stdout)
    (said,) = [each for each in found if each["check"] == "selftest"]
    assert said["level"] == "ok" and json.load(open(proof(world)))["time"] in said["text"]


@pytest.fixture(scope="module")
def meddler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meddler")
    (folder / "it.c").write_text(MEDDLER)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "it.so", folder / "it.c"], check=True)
    return str(folder / "it.so")


@pytest.mark.parametrize(("rule", "case", "came"), [
    ("insert rule inet jitwg forward ct state established accept", "IPv4 tcp host: established, and over",
     "must be dropped, but came out of the inside"),
    ("insert rule inet jitwg from_tunnel udp dport 1005 drop", "IPv6 udp segment: in scope", "must come out of the inside"),
    ("delete table inet jitwg", "", "No such file"),
])  # fmt: skip
def test_chains_that_do_otherwise_are_told_and_leave_no_proof(world, meddler, rule, case, came):  # noqa: F811
    done = selftest(world, prefix=("env", f"LD_PRELOAD={meddler}", f"MEDDLE={rule}"))
    assert done.returncode == (1 if case else 3), done
    said = done.stdout + done.stderr
    assert case in said and came in said, said
    assert not os.path.exists(proof(world)), "the old one goes first"
    refusal(world)
    if case:
        assert "no gateway serves on these chains" in said and " as they must not be\n" in said
        cases = json.loads(selftest(world, "--json", prefix=("env", f"LD_PRELOAD={meddler}", f"MEDDLE={rule}")).stdout)
        assert case in {each["check"] for each in cases if each["level"] == "problem"}
        assert "ok" in {each["level"] for each in cases}


@pytest.mark.parametrize(("prefix", "code", "words"), [
    (("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"), 1, "modprobe tun"),
    (("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--no-new-privs"), 1, "CAP_SYS_ADMIN"),
    (("unshare", "--mount", "sh", "-c", 'mount -o bind,ro /proc/sys /proc/sys && exec "$@"', "sh"), 1, "/proc/sys"),
])  # fmt: skip
def test_what_it_lacks_is_said(world, prefix, code, words):  # noqa: F811
    done = selftest(world, prefix=prefix)
    assert done.returncode == code and words in done.stderr, done
    assert not os.path.exists(proof(world))


def test_killed_it_leaves_nothing(world):  # noqa: F811
    before = links(world)
    for delay in (0, 0.02, 0.05, 0.1, 0.2):
        running = world.gw.popen([GATEWAY, "selftest", "--config", world.path("gateway.conf")], stdout=subprocess.DEVNULL)
        while os.path.exists(proof(world)) and running.poll() is None:
            time.sleep(0.001)
        time.sleep(delay)
        if running.poll() is None:
            world.gw.signal(running, signal.SIGKILL)
        if running.wait(10) == 0:
            continue  # it was through already
        assert links(world) == before
        assert "selftest" not in world.gw.run("ps -eo args").stdout
        assert not os.path.exists(proof(world))
        refusal(world)
        assert selftest(world).returncode == 0
    assert [name for name in os.listdir(world.path("run")) if name not in ("selftest.ok", "selftest.ok.new")] == []
