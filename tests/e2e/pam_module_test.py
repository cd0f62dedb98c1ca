"""pam_jitwg.so and jitwg-principals in libpam's hands (pam_wrapper, pamtester), against a fake hostd.

What each phase returns for every kind of answer; the pure table is tested in tests/unit/pam_jitwg.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from fake_hostd import SESSION, FakeHostd, answer  # noqa: E402

BUILD = os.environ.get("JITWG_BUILD", os.path.join(ROOT, "build", "dev"))
# The release build has no tests of its own; the module with other paths in it is then the debug build's.
TESTS = next((t for t in (f"{BUILD}/tests", os.path.join(ROOT, "build", "dev", "tests")) if os.path.exists(f"{t}/pam_jitwg_test.so")), f"{BUILD}/tests")
MODULE = f"{TESTS}/pam_jitwg_test.so"
AUTH_INFO = "publickey ssh-ed25519-cert-v01@openssh.com QUJD\n"
CONNECTION = "10.90.0.7 51000 10.60.0.5 22"
DENIED = "Permission denied"
CHECKS = "cannot check your session"

for needed in ("pamtester", "nm", "readelf"):
    if shutil.which(needed) is None:
        pytest.skip(f"SKIPPED: {needed} is not installed", allow_module_level=True)
if not os.path.exists(MODULE):
    pytest.skip(f"SKIPPED: {MODULE} is not built", allow_module_level=True)


class Places:
    """The files and the socket that the test build of the module looks for, and a PAM service of it."""

    def __init__(self, directory):
        self.directory = directory
        self.hostd = None
        (directory / "pam.d").mkdir()
        self.write("passwd", "alice:x:2001:2001::/:/bin/sh\nbackup:x:34:34::/:/bin/sh\n")
        self.service("mode=login")

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)

    def service(self, arguments):
        lines = [f"{kind} requisite {MODULE} {arguments}" for kind in ("auth", "account", "session", "password")]
        lines.append(f"session optional {TESTS}/pam_probe.so")
        self.write("pam.d/jitwg", "\n".join(lines) + "\n")

    def answers(self, reply):
        self.hostd = FakeHostd(self.directory / "hostd.sock", reply)

    def environment(self):
        return {**os.environ, "JITWG_TEST_PLACES": str(self.directory)}

    def pam(self, *operations, user="alice", env=(("SSH_AUTH_INFO_0", AUTH_INFO), ("SSH_CONNECTION", CONNECTION))):
        command = ["pamtester"]
        for name, value in env:
            command += ["-E", f"{name}={value}"]
        command += ["jitwg", user, *operations]
        more = {"LD_PRELOAD": "libpam_wrapper.so", "PAM_WRAPPER": "1",
                "PAM_WRAPPER_SERVICE_DIR": str(self.directory / "pam.d")}
        return subprocess.run(command, env={**self.environment(), **more}, capture_output=True, text=True, timeout=30)

    def principals(self, *arguments):
        command = [f"{TESTS}/jitwg-principals-test", *arguments]
        return subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=30)

    def close(self):
        if self.hostd:
            self.hostd.close()


@pytest.fixture
def places(tmp_path):
    here = Places(tmp_path)
    yield here
    here.close()


def refused(result, text):
    assert result.returncode != 0, result
    assert DENIED in result.stderr, result
    assert text in result.stdout + result.stderr, result


def test_account_allowed(places):
    places.answers(answer())
    assert places.pam("acct_mgmt").returncode == 0
    assert places.hostd.questions == ["jitwg1\nphase=account\nuser=alice\n"]


def test_open_asks_with_certificate_and_client_and_marks_the_session(places):
    places.answers(answer(text=f"jitwg: session {SESSION}: 1h 29m left."))
    result = places.pam("open_session", "close_session")
    assert result.returncode == 0, result
    assert places.hostd.questions == [
        "jitwg1\nphase=open\nuser=alice\ncertificate=QUJD\nclient=10.90.0.7\n",
        "jitwg1\nphase=close\nuser=alice\n",
    ]
    said = result.stdout + result.stderr
    assert f"jitwg: session {SESSION}: 1h 29m left." in said
    limit, session = re.search(r"probe limit=(\S+) id=(\S+)", said).groups()
    assert session == SESSION
    assert 5300 < int(limit) <= 5400


@pytest.mark.parametrize("phase", ["acct_mgmt", "open_session"])
def test_denied_says_why(places, phase):
    text = f"jitwg: session {SESSION}: ended (revoked). Ask again with: jitwg request db-prod"
    places.answers(answer("deny", "revoked", not_after=0, text=text))
    result = places.pam(phase)
    refused(result, text)
    assert "probe limit" not in result.stdout + result.stderr


# No answer by the rules, whatever the fault is: refused, and the person told that it is the host's.
FAULTS = {
    "half an answer": answer()[:-1],
    "cut in a key": answer()[:60],
    "garbage": b"\x00\xff" * 100,
    "empty packet": b"\n",
    "hangs up": b"",
    "too much": answer(text="x" * (100 * 1024)),
    "unknown verdict": answer("maybe"),
    "unknown key": answer(extra="1"),
    "two packets in one": answer() + answer(),
    "no session": answer(session=""),
    "session that is none": answer(session="root,alice"),
    "end that is no number": answer(not_after="soon"),
    "end before 1970": answer(not_after=-1),
}


@pytest.mark.parametrize("phase", ["acct_mgmt", "open_session"])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_refuses(places, phase, fault):
    places.answers(FAULTS[fault])
    refused(places.pam(phase), CHECKS)


@pytest.mark.parametrize("phase", ["acct_mgmt", "open_session"])
def test_absent_hostd_refuses_at_once(places, phase):
    start = time.monotonic()
    refused(places.pam(phase), CHECKS)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("phase", ["acct_mgmt", "open_session"])
def test_silent_hostd_refuses_within_the_deadline(places, phase):
    places.answers(None)
    start = time.monotonic()
    refused(places.pam(phase), CHECKS)
    assert 1.9 < time.monotonic() - start < 3


def test_stopped_hostd_with_a_full_backlog_refuses_within_the_deadline(places):
    path = str(places.directory / "hostd.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as waiting:
            waiting.connect(path)
            start = time.monotonic()
            refused(places.pam("acct_mgmt"), CHECKS)
            assert 1.9 < time.monotonic() - start < 3


def test_a_stream_socket_or_a_file_in_its_place_refuses(places):
    path = places.directory / "hostd.sock"
    path.write_text("")
    refused(places.pam("acct_mgmt"), CHECKS)
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        refused(places.pam("acct_mgmt"), CHECKS)


@pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED: needs root to give a socket away")
def test_another_users_socket_refuses(places):
    places.answers(answer())
    os.chown(places.directory / "hostd.sock", 65534, 65534)
    refused(places.pam("acct_mgmt"), CHECKS)
    assert places.hostd.questions == []


def test_an_end_that_is_past_refuses(places):
    places.answers(answer(not_after=int(time.time()) - 1))
    refused(places.pam("open_session"), CHECKS)


@pytest.mark.parametrize("auth_info", [
    None, "", "publickey ssh-ed25519 QUJD\n", "password\n", AUTH_INFO + AUTH_INFO, AUTH_INFO + "password\n",
    "publickey ssh-ed25519-cert-v01@openssh.com " + "A" * 100000 + "\n",
])
def test_open_without_exactly_one_certificate_refuses_unasked(places, auth_info):
    places.answers(answer())
    env = [("SSH_CONNECTION", CONNECTION)]
    if auth_info is not None:
        env.append(("SSH_AUTH_INFO_0", auth_info))
    refused(places.pam("open_session", env=env), "did not use a jitwg certificate only. Log in with: jitwg ssh TARGET")
    assert places.hostd.questions == []


@pytest.mark.parametrize("connection", [None, "", "10.90.0.7"])
def test_open_without_the_clients_address_refuses_unasked(places, connection):
    places.answers(answer())
    env = [("SSH_AUTH_INFO_0", AUTH_INFO)]
    if connection is not None:
        env.append(("SSH_CONNECTION", connection))
    refused(places.pam("open_session", env=env), CHECKS)
    assert places.hostd.questions == []


def test_a_managed_person_never_authenticates_with_anything_else(places):
    places.answers(answer())
    result = places.pam("authenticate")
    assert result.returncode != 0 and "Authentication failure" in result.stderr
    assert places.hostd.questions == []


def test_the_unmanaged_are_not_asked_about(places):
    places.answers(answer("deny"))
    # A stack in which nobody has a say refuses: what counts is that hostd was not asked and nothing was said.
    result = places.pam("acct_mgmt", user="backup")
    assert places.hostd.questions == [] and "jitwg" not in result.stdout
    places.write("pam.d/jitwg", f"account requisite {MODULE} mode=login\naccount required pam_permit.so\n")
    assert places.pam("acct_mgmt", user="backup").returncode == 0
    refused(places.pam("acct_mgmt"), "")


@pytest.mark.parametrize("user", ["alice", "nosuchuser", "root"])
def test_managed_or_unknown_is_asked_about(places, user):
    places.answers(answer())
    assert places.pam("acct_mgmt", user=user).returncode == 0
    assert len(places.hostd.questions) == 1


@pytest.mark.parametrize("arguments", ["", "mode=su", "mode=", "mode=login mode=sudo", "mode=job mode=job", "mode=login mode=login", "mode=login debug debug",
                                       "mode=login socket=/tmp/x", "debug", "MODE=login"])
@pytest.mark.parametrize("operation", ["authenticate", "acct_mgmt", "open_session"])
@pytest.mark.parametrize("user", ["alice", "backup"])
def test_arguments_it_does_not_know_let_nobody_in(places, arguments, operation, user):
    places.answers(answer())
    places.service(arguments)
    refused(places.pam(operation, user=user), CHECKS)
    assert places.hostd.questions == []


def test_debug_changes_nothing(places):
    places.answers(answer())
    places.service("debug mode=login")
    assert places.pam("acct_mgmt", "open_session").returncode == 0


def test_silent_is_silent(places):
    places.answers(answer(text="1h left"))
    result = places.pam("open_session(PAM_SILENT)")
    assert result.returncode == 0 and "left" not in result.stdout + result.stderr


def test_principals_prints_the_one_principal(places):
    places.answers(answer())
    result = places.principals("alice", "QUJD")
    assert (result.returncode, result.stdout) == (0, f"jitwg:{SESSION}\n")
    assert places.hostd.questions == ["jitwg1\nphase=principals\nuser=alice\ncertificate=QUJD\n"]


@pytest.mark.parametrize("fault", FAULTS)
def test_principals_fault_prints_nothing(places, fault):
    places.answers(FAULTS[fault])
    result = places.principals("alice", "QUJD")
    assert (result.returncode, result.stdout) == (1, "") and result.stderr


def test_principals_denied_or_absent_prints_nothing(places):
    result = places.principals("alice", "QUJD")
    assert (result.returncode, result.stdout) == (1, "") and "does not run" in result.stderr
    places.answers(answer("deny", "not_live", text="jitwg: no"))
    result = places.principals("alice", "QUJD")
    assert (result.returncode, result.stdout) == (1, "") and "not_live" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("alice",), ("alice", "QUJD", "x"), ("alice", ""), ("", "QUJD"),
                                       ("al\nice", "QUJD"), ("alice", "A" * 70000)])
def test_principals_bad_arguments(places, arguments):
    places.answers(answer())
    result = places.principals(*arguments)
    assert result.returncode in (1, 2) and result.stdout == ""
    assert places.hostd.questions == []


def _needed(path):
    listing = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    return {name for name in re.findall(r"NEEDED.*\[(.*)\]", listing) if not name.startswith("ld-linux")}


def test_module_exports_its_entry_points_and_links_libpam_and_libc_only():
    module = f"{BUILD}/lib/pam_jitwg.so"
    listing = subprocess.run(["nm", "-D", "--defined-only", module], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split()[-1] for line in listing.splitlines()) == [
        "pam_sm_acct_mgmt", "pam_sm_authenticate", "pam_sm_chauthtok",
        "pam_sm_close_session", "pam_sm_open_session", "pam_sm_setcred"]
    assert _needed(module) == {"libpam.so.0", "libc.so.6"}
    assert _needed(f"{BUILD}/bin/jitwg-principals") == {"libc.so.6"}


def test_what_is_installed_takes_no_path_from_outside():
    for path in (f"{BUILD}/lib/pam_jitwg.so", f"{BUILD}/bin/jitwg-principals"):
        with open(path, "rb") as binary:
            assert b"JITWG_TEST_PLACES" not in binary.read()
