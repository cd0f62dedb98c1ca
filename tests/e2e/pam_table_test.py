"""The module's table in libpam's hands: mode x entry x managed or not x what hostd says, every cell.

The pure table and its other half, why a cell is so, are in pam_jitwg/verdict.h and tests/unit/pam_jitwg/verdict_test.cc. Here each cell is what
an application is told: pam_debug.so behind ours answers where ours has no say, with a code that ours never returns.
"""

import itertools
import os
import time

import pytest

from pam_module_test import CHECKS, FAULTS, MODULE, AUTH_INFO, Places, answer, places  # noqa: F401

OK = None
DENIED, AUTH, SESSION = "Permission denied", "Authentication failure", "Cannot make/remove an entry for the specified session"
NO_SAY = "Have exhausted maximum number of retries for service"  # pam_debug's answer
DEBUG = " ".join(f"{what}=maxtries" for what in ("auth", "cred", "acct", "prechauthtok", "chauthtok", "open_session", "close_session"))
ENTRIES = {"authenticate": "auth", "setcred(PAM_ESTABLISH_CRED)": "auth", "acct_mgmt": "account", "open_session": "session",
           "close_session": "session", "chauthtok": "password"}  # fmt: skip
# What a managed person's entry says: hostd allows, hostd does not (denial, fault, silence). Who is not managed: jitwg has no say.
LOGIN = {"authenticate": (AUTH, AUTH), "setcred(PAM_ESTABLISH_CRED)": (NO_SAY, NO_SAY), "acct_mgmt": (OK, DENIED), "open_session": (OK, DENIED),
         "close_session": (OK, SESSION), "chauthtok": (NO_SAY, NO_SAY)}  # fmt: skip
TABLE = {"login": LOGIN, "job": LOGIN, "sudo": {**{entry: (NO_SAY, NO_SAY) for entry in ENTRIES}, "acct_mgmt": (OK, DENIED)}}
HOSTD = {"allow": answer(), "deny": answer("deny", "revoked", not_after=0, text="jitwg: session: ended (revoked)"), "hangs up": b"",
         "garbage": FAULTS["garbage"], "half an answer": FAULTS["half an answer"], "down": "down", "a file": "file", "silent": None}  # fmt: skip


def cells():
    for mode, entry, managed, hostd in itertools.product(TABLE, ENTRIES, (True, False), HOSTD):
        asks = managed and OK in TABLE[mode][entry]
        if hostd != "silent" or asks:  # two seconds each
            yield pytest.param(mode, entry, managed, hostd, asks, id=f"{mode}-{entry.split('(')[0]}-{'managed' if managed else 'not'}-{hostd}")


def stack(here, arguments):
    lines = []
    for kind in ("auth", "account", "session", "password"):
        lines += [f"{kind} [success=done ignore=ignore default=die] {MODULE} {arguments}", f"{kind} requisite pam_debug.so {DEBUG}"]
    here.write("pam.d/jitwg", "\n".join(lines) + "\n")


def who(here, mode, managed):
    """alice and the service's account, as each mode looks for them."""
    here.write("loginuid", "2001" if managed and mode == "sudo" else "4294967295")
    here.write("caller", "2001" if managed else "34")
    return "alice" if managed else "backup"


def told(result):
    return OK if result.returncode == 0 else next(text for text in (NO_SAY, DENIED, AUTH, SESSION) if text in result.stderr)


@pytest.mark.parametrize("mode, entry, managed, hostd, asks", cells())
def test_cell(places, mode, entry, managed, hostd, asks):  # noqa: F811
    stack(places, f"mode={mode}")
    user = who(places, mode, managed)
    if hostd == "a file":
        places.write("hostd.sock", "")
    elif hostd != "down":
        places.answers(HOSTD[hostd])
    start = time.monotonic()
    result = places.pam(entry, user=user)
    allows, refuses = TABLE[mode][entry] if managed else (NO_SAY, NO_SAY)
    assert told(result) == (allows if hostd == "allow" else refuses), result
    assert time.monotonic() - start < (3 if hostd == "silent" else 2)
    if places.hostd:
        assert len(places.hostd.questions) == (1 if asks else 0)
    if told(result) in (DENIED, SESSION):
        assert ("ended (revoked)" if hostd == "deny" else CHECKS) in result.stdout + result.stderr


def test_every_cell_is_here():
    seen = list(cells())
    assert len(seen) == 3 * 6 * 2 * 7 + 7  # silence only where somebody is asked


@pytest.mark.parametrize("mode", TABLE)
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("managed", [True, False])
def test_a_line_that_is_not_understood(places, mode, entry, managed):  # noqa: F811
    places.answers(answer())
    stack(places, f"mode={mode} mode={mode}")
    result = places.pam(entry, user=who(places, mode, managed))
    assert told(result) == (SESSION if entry == "close_session" else DENIED) and places.hostd.questions == []


# ---- who is managed, by mode ----


@pytest.mark.parametrize("caller, loginuid, asked", [
    ("0", "4294967295", False), ("0", "0", False), ("0", "2001", True), ("0", "34", False), ("0", "", True), ("2001", "4294967295", True),
    ("34", "2001", True), ("34", "4294967295", False), ("34", "", True), ("34", "nonsense", True),
])  # fmt: skip
def test_sudo_by_the_kernels_word(places, caller, loginuid, asked):  # noqa: F811
    """Whatever PAM_USER and PAM_RUSER say."""
    places.answers(answer())
    stack(places, "mode=sudo")
    places.write("caller", caller)
    places.write("loginuid", loginuid)
    for user in ("alice", "backup", "root"):
        assert told(places.pam("acct_mgmt", user=user)) == (OK if asked else NO_SAY)
    name = {"2001": "alice", "34": "backup", "0": "uid 0"}[caller]
    assert places.hostd.questions == [f"jitwg1\nphase=sudo\nuser={name}\nservice=jitwg\n"] * (3 if asked else 0)


@pytest.mark.parametrize("user, loginuid, asked", [
    ("root", "4294967295", False), ("root", "0", False), ("root", "2001", True), ("root", "", True), ("alice", "4294967295", True),
    ("backup", "2001", False), ("nosuchuser", "4294967295", True),
])  # fmt: skip
def test_jobs_by_whose_they_are(places, user, loginuid, asked):  # noqa: F811
    places.answers(answer())
    stack(places, "mode=job debug")
    with open(places.directory / "passwd", "a") as passwd:
        passwd.write("root:x:0:0::/:/bin/sh\n")
    places.write("loginuid", loginuid)
    for entry in ("acct_mgmt", "open_session"):
        assert told(places.pam(entry, user=user)) == (OK if asked else NO_SAY)
    phases = [question.split("\n")[1] for question in places.hostd.questions]
    assert phases == (["phase=job", "phase=job_open"] if asked else [])


def test_sudo_silent_or_not_the_refused_read_why(places):  # noqa: F811
    """sudo asks for silence by default; its person would read "account management error" only."""
    places.answers(answer("deny", "revoked", not_after=0, text="jitwg: session: ended (revoked)"))
    stack(places, "mode=sudo")
    who(places, "sudo", True)
    result = places.pam("acct_mgmt(PAM_SILENT)")
    assert told(result) == DENIED and "ended (revoked)" in result.stdout + result.stderr


def test_a_job_carries_its_session(places):  # noqa: F811
    places.answers(answer())
    places.service("mode=job")
    result = places.pam("open_session", env=())
    assert result.returncode == 0 and "id=0197c0de-0000-7000-8000-00000000abcd" in result.stdout + result.stderr, result


@pytest.mark.parametrize("what", ["managed", "passwd"])
@pytest.mark.parametrize("mode", TABLE)
def test_files_that_do_not_count_manage_everybody(places, mode, what):  # noqa: F811
    places.answers(answer())
    stack(places, f"mode={mode}")
    user = who(places, mode, False)
    places.write("managed", "uids 0,1000-59999\n")
    assert told(places.pam("acct_mgmt", user=user)) == NO_SAY
    os.chmod(places.directory / what, 0o666)
    assert told(places.pam("acct_mgmt", user=user)) == OK  # hostd was asked, and allowed
    assert len(places.hostd.questions) == 1


def test_methods_and_sizes(places):  # noqa: F811
    """What sshd may put into SSH_AUTH_INFO_0: one certificate of any type, at most."""
    places.answers(answer())
    places.service("mode=login")
    for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", "sk-ssh-ed25519", "rsa-sha2-512"):
        env = [("SSH_AUTH_INFO_0", AUTH_INFO.replace("ssh-ed25519", kind)), ("SSH_CONNECTION", "10.90.0.7 1 10.60.0.5 22")]
        assert places.pam("open_session", env=env).returncode == 0
    assert len(places.hostd.questions) == 5  # which of them are ours is for hostd to say
