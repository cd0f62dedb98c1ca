"""What changes in the middle of a login: between the principals command and PAM's account, or between account and open_session.
Real ssh and sshd; what the person reads is what counts.

A third sshd stops at either place, and goes on when the test says so: its principals command asks jitwg-hostd like ours the first of the
two times, and its PAM stack is ours with a wait in it.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from jump_host_test import BUILD, REFUSED, closed, jump, sandbox, wait_for  # noqa: F401
from jump_sandbox import HELPERS

PORT = 2223
LATE = "/run/late"
DENIED_IN_OPEN = 254
CLOCK = f"{BUILD}/tests/shifted_clock.so"

WAIT = f'touch {LATE}/reached-$1; while [ -e {LATE}/hold-$1 ]; do sleep 0.02; done\n'
PRINCIPALS = f"""#!/bin/sh
mkdir {LATE}/asked 2>/dev/null && exec {HELPERS}/jitwg-principals "$@"
set -- account; {WAIT}
cat {LATE}/principal
"""


@pytest.fixture(scope="module")
def late(sandbox):  # noqa: F811
    script = f"""set -e
mkdir -m 777 {LATE}
printf '%s' "$PRINCIPALS" > {HELPERS}/late-principals; printf '#!/bin/sh\n%s' "$WAIT" > {HELPERS}/late-wait
chmod 755 {HELPERS}/late-*
sed 's,{HELPERS}/jitwg-principals,{HELPERS}/late-principals,' /etc/ssh/sshd_loose_config > /etc/ssh/sshd_late_config
sed '/pam_jitwg.so mode=login/ {{ /^session/ i session requisite pam_exec.so type=open_session {HELPERS}/late-wait open
}}' /etc/pam.d/sshd > /etc/pam.d/sshd-late
ln -s /usr/sbin/sshd {HELPERS}/sshd-late"""
    result = sandbox.run("env", f"PRINCIPALS={PRINCIPALS}", f"WAIT={WAIT}", "sh", "-c", script)
    assert result.returncode == 0, result
    assert sandbox.run("grep", "-c", "pam_jitwg.so", "/etc/pam.d/sshd-late").stdout == "2\n"
    # By its name sshd chooses its PAM service.
    daemon = subprocess.Popen(sandbox.inside(f"{HELPERS}/sshd-late", "-D", "-E", sandbox.directory / "sshd-late.log", "-f",
                                             "/etc/ssh/sshd_late_config", "-p", PORT, "-o", "PidFile=none"))  # fmt: skip
    wait_for(lambda: sandbox.run("sh", "-c", f"ss -Hltn sport = {PORT}").stdout, "it listens")
    yield sandbox
    daemon.kill()
    daemon.wait(10)


class Login:
    """An ssh that is held at `place`."""

    def __init__(self, host, session, place):
        self.host, self.place = host, place
        host.run("sh", "-c", f"rm -rf {LATE}/*; echo jitwg:{session.id} > {LATE}/principal; touch {LATE}/hold-{place}")
        options = ("-p", str(PORT), "-o", "LogLevel=INFO")  # which shows banners
        self.ssh = subprocess.Popen(host.ssh_command(session, "echo inside; cat /proc/self/cgroup", options=options), text=True,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        wait_for(lambda: host.run("test", "-e", f"{LATE}/reached-{place}").returncode == 0, f"held before {place}", 20)

    def goes_on(self):
        self.host.run("rm", f"{LATE}/hold-{self.place}")
        out, err = self.ssh.communicate(timeout=30)
        return self.ssh.returncode, out + err


@pytest.fixture
def host(late, jump):  # noqa: F811
    yield late
    late.run("sh", "-c", f"rm -f {LATE}/hold-*")


@pytest.fixture
def patient(host):
    """hostd with a grace that a busy machine does not use up."""
    for grace in ("8s", "1s"):
        host.stop_hostd()
        host.write_config(grace=grace)
        host.start_hostd()
        if grace == "8s":
            yield


def test_held_past_the_grace_it_is_ended(host):
    session = host.session()
    login = Login(host, session, "account")
    host.broker.close(session.id, "revoked")
    closed(host, session)
    code, said = login.goes_on()
    assert code == REFUSED and "inside" not in said


def refused(login, text, *codes):
    start = time.monotonic()
    code, said = login.goes_on()
    assert code in (codes or (REFUSED if login.place == "account" else DENIED_IN_OPEN,)), said
    assert text in said and "inside" not in said, said
    assert time.monotonic() - start < 8
    return said


@pytest.mark.parametrize("place", ["account", "open"])
def test_nothing_changes(host, place):
    session = host.session()
    code, said = Login(host, session, place).goes_on()
    assert code == 0 and "inside" in said and session.id in said


@pytest.mark.parametrize("reason", ["revoked", "locked", "returned", "incident_closed", "expired"])
def test_the_session_ends_before_account(host, patient, reason):
    """Within the grace: the monitor is in the session's leaf already, and past it nothing of the session lives."""
    session = host.session(seconds=6, certificate_seconds=600) if reason == "expired" else host.session()
    login = Login(host, session, "account")
    if reason != "expired":
        host.broker.close(session.id, reason)
    time.sleep(max(0.0, session.not_after - time.time() if reason == "expired" else 0) + 1)
    refused(login, f"jitwg: session {session.id}: ended ({reason}). Ask again with: jitwg request db-prod")
    closed(host, session)
    assert any("account of alice refused" in line and f"session={session.id}" in line for line in host.hostd_log().splitlines())


def test_the_session_ends_before_open_session(host):
    """The login is bound from account on: it is ended, whichever comes first, sshd's refusal or the end."""
    session = host.session()
    login = Login(host, session, "open")
    host.broker.close(session.id, "revoked")
    closed(host, session)
    code, said = login.goes_on()
    assert code in (REFUSED, DENIED_IN_OPEN) and "inside" not in said


@pytest.mark.parametrize("place", ["account", "open"])
def test_the_broker_goes_silent(host, place):
    host.stop_hostd()
    host.write_config(**{"fresh-within": "2s"})
    host.start_hostd()
    try:
        login = Login(host, host.session(), place)
        host.broker.quiet.set()
        time.sleep(3.5)  # the age itself is what is tested
        refused(login, "jitwg: this host has lost contact with the broker and lets nobody new in. Try again in a minute")
    finally:
        host.broker.quiet.clear()
        host.stop_hostd()
        host.write_config()
        host.start_hostd()


@pytest.mark.parametrize("place", ["account", "open"])
def test_the_clock_is_set_back(host, place):
    clock = host.directory / "clock"
    clock.write_text("0")
    host.stop_hostd()
    host.start_hostd(LD_PRELOAD=CLOCK, JITWG_TEST_CLOCK=str(clock))
    try:
        session = host.session()
        login = Login(host, session, place)
        clock.write_text("-7200")
        said = refused(login, f"jitwg: session {session.id} starts ")
        assert "and this host's clock says" in said and "One of the clocks is wrong" in said
    finally:
        clock.write_text("0")
        host.stop_hostd()
        host.start_hostd()


@pytest.mark.parametrize("place", ["account", "open"])
@pytest.mark.parametrize("fault", ["down", "killed", "stopped", "garbage", "another's socket", "a file", "half an answer"])
def test_hostd_is_not_what_answers(host, place, fault):
    login = Login(host, host.session(), place)
    server, path = None, "/run/jitwg/hostd.sock"
    if fault == "stopped":
        host.pause_hostd()
    else:
        host.stop_hostd(signal.SIGTERM if fault == "down" else signal.SIGKILL)
    if fault in ("garbage", "another's socket", "half an answer"):
        reply = {"garbage": "os.urandom(200)", "half an answer": "b'jitwg1\\nverdict=allow\\ncode=ok\\n'"}.get(fault, "b'x'")
        user = 2002 if fault == "another's socket" else 0
        program = (f"import os,socket; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); os.path.exists('{path}') and os.unlink('{path}')\n"
                   f"s.bind('{path}'); os.chmod('{path}',0o666); os.chown('{path}',{user},{user}); os.setuid({user}); s.listen(8)\n"
                   f"print('up',flush=True)\nwhile True: c,_=s.accept(); c.recv(99999); c.send({reply}); c.close()")  # fmt: skip
        server = subprocess.Popen(host.inside(sys.executable, "-c", program), stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "up\n"
    elif fault == "a file":
        host.run("sh", "-c", f"rm -f {path}; touch {path}")
    try:
        refused(login, "jitwg: this host cannot check your session now. Try again in a minute, or tell its owner")
    finally:
        if fault == "stopped":
            host.resume_hostd()
        if server:
            host.run("pkill", "-KILL", "-f", "SOCK_SEQPACKET")
            server.wait(10)
        host.run("rm", "-f", path) if host.hostd is None else None


def test_hostd_is_restarted_before_account(host):
    login = Login(host, host.session(), "account")
    host.stop_hostd(signal.SIGKILL)
    host.start_hostd()
    refused(login, "jitwg: jitwg-hostd was restarted during this login. Log in again")


def test_hostd_is_restarted_before_open_session(host):
    """It needs nothing of what was forgotten: certificate, user and address are checked anew, and the login is bound."""
    session = host.session()
    login = Login(host, session, "open")
    host.stop_hostd(signal.SIGKILL)
    host.start_hostd()
    code, said = login.goes_on()
    assert code == 0 and "inside" in said and f"/jitwg/{session.id}/" in said, said


def test_a_session_that_the_broker_forgot(host):
    session = host.session()
    login = Login(host, session, "account")
    host.broker.forget(session.id)
    host.broker.say(host.broker.update(snapshot=[]))
    wait_for(lambda: host.ssh(session, "true").returncode == REFUSED, "the node knows")
    refused(login, f"session {session.id}")
