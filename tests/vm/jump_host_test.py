"""Logins and their ends where systemd, logind and the user's manager are: Debian's stock stack, in the machine of tests/vm/run."""

import json
import os
import pwd
import re
from pathlib import Path

import pytest

from vm_site import Held, Opened, journal, jitwg, pid_of, run, unit, wait_for

pytestmark = pytest.mark.skipif("JITWG_VM" not in os.environ, reason="for the machine of tests/vm/run")


def sleeping(prefix):
    """Numbers of the sleeps that run."""
    found = run("pgrep", "-ax", "sleep", check=False).stdout.split()
    return sorted(int(word) for word in found if word.startswith(str(prefix)) and len(word) == 4)


def pids_of(name):
    """Of those that run: what was killed is there until somebody has waited for it."""
    return run("pgrep", "-r", "D,R,S,T,t", "-x", name, check=False).stdout.split()


def status():
    return json.loads(run("jitwg-hostd", "status", "--json").stdout)


def logins(session):
    return [login for login in status()["logins"] if login["session"] == session.id]


def in_scopes(session):
    """Those that pam_systemd has moved: before the person's first command runs."""
    return [login for login in logins(session) if login["scope"]]


def said_left_behind(session):
    return [e["MESSAGE"] for e in journal("JITWG_EVENT=login.left_behind", f"JITWG_SESSION_ID={session.id}")]


@pytest.fixture
def opened(site):
    """Opens sessions; all are over afterwards."""
    made = []

    def open_one(*words, **more):
        made.append(Opened(*words, **more))
        return made[-1]

    yield open_one
    for session in made:
        session.end()


@pytest.fixture
def log_in():
    made = []

    def log_in_one(session, script="exec cat", person="alice", ssh=None):
        words = ("jitwg", "ssh", session.id, "--", script) if ssh is None else ("ssh", *ssh, script)
        made.append(Held(*words, person=person))
        return made[-1]

    yield log_in_one
    for login in made:
        login.end()


@pytest.fixture
def never_killed(site):
    """sshd itself: the same process after all."""
    before = unit("ssh.service", "MainPID")
    yield
    assert unit("ssh.service", "MainPID") == before and unit("ssh.service", "ActiveState") == "active"


def test_what_a_login_gets_from_pam_in_this_order(opened):
    session = opened()
    said = jitwg("alice", "ssh", session.id, "--", "echo $JITWG_SESSION_ID; cat /proc/self/loginuid; echo; cat /proc/self/sessionid; echo; cat /proc/self/cgroup").stdout
    name, loginuid, audit, cgroup = said.split()
    assert (name, int(loginuid)) == (session.id, pwd.getpwnam("alice").pw_uid)
    assert cgroup == f"0::/user.slice/user-{loginuid}.slice/session-{audit}.scope", "loginuid first, then us, then logind"
    events = [e["JITWG_EVENT"] for e in journal(f"JITWG_SESSION_ID={session.id}", "_SYSTEMD_UNIT=jitwg-hostd.service")]
    assert events[:2] == ["login.allowed", "login.opened"]


def test_all_that_a_session_started_ends_with_it(opened, log_in, never_killed):
    """However it was started; an at job, a crontab and lingering are found. Another person's login goes on."""
    session, erins = opened(), opened(person="erin")
    bystander = log_in(erins, person="erin")
    assert bystander.echoes("before")
    script = """
        tmux -L t new-session -d 'sleep 7001'
        mkdir -pm 700 ~/.screen; SCREENDIR=~/.screen screen -dmS s sleep 7002
        nohup sleep 7003 >/dev/null 2>&1 &
        setsid -f sleep 7004
        (setsid sh -c 'sleep 7005 & sleep 0' &)
        systemd-run --user -q sleep 7006
        systemd-run --user -q --scope sleep 7007 &
        systemd-run --user -q --on-active=1 --timer-property=AccuracySec=1ms sleep 7008
        systemd-run --user -q -p Restart=always -p RestartSec=0 sleep 7009
        echo true | at now + 1 hour; echo '0 0 1 1 * true' | crontab -
        exec cat"""
    login = log_in(session, script)
    assert login.echoes("started")
    wait_for(lambda: sleeping(70) == list(range(7001, 7010)), f"all to run, not only {sleeping(70)}")
    run("loginctl", "enable-linger", "alice")
    quiet = log_in(session, ssh=("-N", "-L", "9999:127.0.0.1:9", f"jitwg-{session.id[-8:]}"), script="")
    both = wait_for(lambda: len(found := in_scopes(session)) == 2 and found, "both logins to be in their scopes")
    assert max(each["processes"] for each in both) >= 5
    for each in both:
        assert each["scope"].endswith(f"/session-{each['audit_session']}.scope")
    session.revoke()
    evidence = session.closed()["evidence"]["jump1"]
    assert evidence["result"] == "verified"
    assert sleeping(70) == []
    uid = pwd.getpwnam("alice").pw_uid
    assert unit(f"user@{uid}.service", "ActiveState") != "active" and not Path("/var/lib/systemd/linger/alice").exists()
    (said,) = said_left_behind(session)
    assert "lingering, now turned off; a new crontab; 1 at job (" in said
    assert not login.echoes("afterwards", 3) and quiet.process.wait(20) != 0
    assert bystander.echoes("after")
    run("crontab", "-r", "-u", "alice")


def test_transfers_a_stopped_terminal_and_crowds(opened, log_in, never_killed):
    """sftp in the middle, Ctrl-S on a terminal that fills, five that fork for ever, five hundred that ignore SIGTERM."""
    session = opened()
    host = f"jitwg-{session.id[-8:]}"
    run("truncate", "-s", "1G", "/home/alice/big")
    transfer = Held("sftp", "-q", "-l", "800", f"{host}:big", "/home/alice/copy")
    wait_for(lambda: pids_of("sftp-server"), "the far side to run")
    terminal = log_in(session, "stty ixon; yes", ssh=("-tt", host))
    assert terminal.hears("y")
    terminal.process.stdin.write(b"\x13")
    terminal.process.stdin.flush()
    crowd = """
        $SIG{TERM} = "IGNORE"; $0 = "crowd";
        for (1..5) { if (!fork) { setpgrp; while (1) { exit if fork } } }
        for (1..500) { if (!fork) { sleep 1000; exit } }
        print "started\n"; sleep 1000;"""
    login = log_in(session, f"exec perl -e '$| = 1; {crowd}'")
    assert login.hears("started", 300)
    assert max(each["processes"] for each in in_scopes(session)) > 500 and len(pids_of("crowd")) > 500
    session.revoke()
    assert session.closed()["evidence"]["jump1"]["result"] == "verified"
    assert [pids_of(name) for name in ("crowd", "sftp-server", "yes")] == [[], [], []]
    assert transfer.process.wait(20) != 0
    run("rm", "-f", "/home/alice/big", "/home/alice/copy")


def test_the_same_persons_other_session_keeps_what_is_its_own(opened, log_in, never_killed):
    session, other = opened(), opened()
    first = log_in(session, "systemd-run --user -q sleep 7101; exec cat")
    assert first.echoes("one")
    second = log_in(other, "setsid -f sleep 7102; systemd-run --user -q sleep 7103; exec cat")
    assert second.echoes("two")
    jitwg("alice", "ssh", session.id, "--", "systemd-run --user -q sleep 7104")
    assert sleeping(71) == [7101, 7102, 7103, 7104]
    session.revoke()
    session.closed()
    assert sleeping(71) == [7102, 7103, 7104], "what is surely the ended one's, and no more"
    assert re.search(r"\d+ of the processes of user@\d+\.service, which may be another session's", said_left_behind(session)[0])
    assert second.echoes("still here")
    other.revoke()
    other.closed()
    assert sleeping(71) == []


def test_root_cannot_leave_its_session(opened, log_in, never_killed):
    """Into sshd's own cgroup, into a scope of the system's, under another loginuid."""
    session = opened("box")
    script = """
        setsid -f sh -c 'echo $$ > /sys/fs/cgroup/system.slice/ssh.service/cgroup.procs; exec sleep 7201'
        setsid -f systemd-run -q --scope sleep 7202
        setsid -f sh -c 'echo 1000 > /proc/self/loginuid; exec sleep 7203'
        exec cat"""
    login = log_in(session, script)
    assert login.echoes("started")
    wait_for(lambda: sleeping(72) == [7201, 7202, 7203], "all to run")
    session.revoke()
    assert session.closed()["evidence"]["jump1"]["result"] == "verified"
    assert sleeping(72) == [] and not login.echoes("afterwards", 3)


def test_a_shared_audit_session_is_mended_before_logind_looks(opened, log_in):
    """sshd started from a login of alice's: unmended, logind would take the next login for that one."""
    uid, pid_file = pwd.getpwnam("alice").pw_uid, Path("/run/sshd-by-hand.pid")
    run("systemctl", "stop", "ssh.service")
    run("mkdir", "-p", "/run/sshd")  # the unit's own goes with it
    run("sh", "-c", f"echo {uid} > /proc/self/loginuid; exec ip netns exec jump /usr/sbin/sshd -o PidFile={pid_file}")
    daemon = int(wait_for(lambda: pid_file.exists() and pid_file.read_text(), "sshd"))
    shared = Path(f"/proc/{daemon}/sessionid").read_text()
    try:
        session = opened()
        login = log_in(session)
        assert login.echoes("in")
        (shown,) = in_scopes(session)
        assert shown["audit_session"] not in (None, int(shared))
        assert shown["scope"].endswith(f"/session-{shown['audit_session']}.scope")
        session.revoke()
        session.closed()
        assert not login.echoes("afterwards", 3) and Path(f"/proc/{daemon}/sessionid").read_text() == shared
    finally:
        os.kill(daemon, 15)
        run("systemctl", "start", "ssh.service")


def test_hostd_killed_again_and_again_keeps_logins_bound(opened, log_in):
    session = opened()
    login = log_in(session, "setsid -f sleep 7401; exec cat")
    assert login.echoes("in")
    before = in_scopes(session)
    for round in range(3):
        pid = pid_of("jitwg-hostd")
        os.kill(pid, 9)
        wait_for(lambda: pid_of("jitwg-hostd") not in (0, pid) and unit("jitwg-hostd.service", "ActiveState") == "active", "hostd again")
        if round == 1:
            for record in Path("/run/jitwg/hostd/logins").glob(f"{session.id}.*"):
                record.write_text("damaged")
    after = wait_for(lambda: logins(session), "the login, from its leaf")
    for key in ("pid", "scope", "audit_session", "open", "login", "person"):
        assert after[0][key] == before[0][key], key
    assert login.echoes("still in")
    session.revoke()
    session.closed()
    assert sleeping(74) == []
