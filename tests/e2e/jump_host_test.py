"""Logins and their ends on Debian's sshd and PAM: pam_jitwg.so, jitwg-principals and jitwg-hostd together."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from fake_broker import FakeBroker  # noqa: E402
from jump_sandbox import BUILD, LOOSE_PORT, Jump, cgroup2_mount, kill_inside, wait_for  # noqa: E402

if os.geteuid() != 0:
    pytest.skip("SKIPPED: namespaces and sshd need root", allow_module_level=True)
if cgroup2_mount() is None:
    pytest.skip("SKIPPED: no cgroup v2 here", allow_module_level=True)
if not os.path.exists("/usr/sbin/sshd") or not os.path.exists(f"{BUILD}/bin/jitwg-hostd"):
    pytest.skip("SKIPPED: needs sshd and a build of jitwg-hostd", allow_module_level=True)

REFUSED = 255  # by ssh, of a connection that never became a login


@pytest.fixture
def jump(sandbox):
    """The sandbox with nobody logged in and hostd running; left so for the next."""
    yield sandbox
    if sandbox.hostd is None:
        sandbox.start_hostd()
    sandbox.run("pkill", "-KILL", "-x", "ssh")  # of the sandbox' own pid namespace
    for session in {shown["session"] for shown in sandbox.status()}:
        sandbox.broker.close(session, "returned")
    wait_for(lambda: sandbox.status() == [], "everybody is out")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    directory = tmp_path_factory.mktemp("jump")
    broker = FakeBroker(directory / "broker.sock")
    host = Jump(directory, broker)
    try:
        host.start_hostd()
        yield host
    finally:
        host.close()
        broker.stop()


def closed(jump, session, within=10.0):
    report = wait_for(lambda: jump.broker.report(session.id, "closed"), "evidence", within)
    assert report["evidence"] == {"processes": 0}


def long_login(jump, session, script="read never", **more):
    """A login that stays until its client goes; returns its ssh once what it runs has started."""
    login = subprocess.Popen(jump.ssh_command(session, f"echo started; {script}", **more), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert login.stdout.readline().strip() == "started"
    return login


def test_a_login_carries_its_session(jump):
    session = jump.session()
    result = jump.ssh(session, "echo $JITWG_SESSION_ID; cat /proc/self/cgroup")
    assert result.returncode == 0, (result, jump.hostd_log())
    first, *cgroups = result.stdout.splitlines()
    assert first == session.id
    assert any(line.startswith("0::") and f"/jitwg/{session.id}/" in line for line in cgroups)
    wait_for(lambda: jump.status() == [], "the record is gone with the login")
    log = jump.hostd_log()
    for event in ("may log in", "logged in from 10.90.0.7", "logged out"):
        assert any(event in line and line.endswith(f"session={session.id}") for line in log.splitlines()), log
    assert f"jitwg1:{session.id}" in (jump.directory / "sshd.log").read_text()


def test_status_shows_who_is_in(jump):
    session = jump.session()
    login = long_login(jump, session)
    (shown,) = jump.status()
    assert (shown["session"], shown["person"], shown["login"], shown["client"]) == (session.id, "alice", "alice", "10.90.0.7")
    kill_inside(login)


def test_the_time_left_is_said_at_login(jump):
    session = jump.session(seconds=590)
    result = subprocess.run(jump.ssh_command(session, options=("-tt",)), input="exit\n", capture_output=True, text=True,
                            timeout=60)
    assert f"jitwg: session {session.id}: 9m " in result.stdout, result


def test_revocation_ends_everything_of_the_session_and_nothing_else(jump):
    session, other = jump.session(), jump.session()
    kept = long_login(jump, other)
    mark = "7" + str(int(time.time()))
    script = (f"nohup sleep {mark}1 >/dev/null 2>&1 & setsid sleep {mark}2 & (setsid sleep {mark}3 &) ; "
              f"(trap '' TERM HUP; exec setsid sleep {mark}4) & sleep {mark}5")
    login = long_login(jump, session, script)
    if shutil.which("tmux"):
        jump.ssh(session, f"tmux -L jitwg new-session -d 'sleep {mark}6'")
    quiet = subprocess.Popen(jump.ssh_command(session, options=("-N", "-L", "9999:127.0.0.1:9")), stdin=subprocess.DEVNULL)
    count = 6 if shutil.which("tmux") else 5
    wait_for(lambda: len(jump.processes_named(f"^sleep {mark}")) >= count, "all have started")
    wait_for(lambda: len(jump.status()) >= 3, "the forwarding login is bound too")

    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert jump.processes_named(f"^sleep {mark}") == []
    assert login.wait(10) != 0 and quiet.wait(10) != 0
    assert {shown["session"] for shown in jump.status()} == {other.id}

    # sshd serves, the other session's login works on, the ended one's does not come back.
    assert kept.poll() is None
    assert jump.ssh(other, "true").returncode == 0
    again = jump.ssh(session, "true")
    assert again.returncode == REFUSED
    reason = f"session {session.id}: ended (revoked). Ask again with: jitwg request db-prod"
    assert any("refused" in line and reason in line and line.endswith(f"session={session.id}")
               for line in jump.hostd_log().splitlines())
    kill_inside(kept)


def test_the_terminal_is_told(jump):
    session = jump.session()
    login = subprocess.Popen(jump.ssh_command(session, "echo started; sleep 1000", options=("-tt",)), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while "started" not in login.stdout.readline():
        pass
    jump.broker.close(session.id, "locked")
    assert f"jitwg: session {session.id}: ended (locked)" in login.stdout.read()
    login.wait(10)
    closed(jump, session)


def test_a_session_ends_by_itself(jump):
    session = jump.session(seconds=4)
    login = long_login(jump, session)
    login.wait(15)
    assert session.not_after <= time.time() < session.not_after + 4
    closed(jump, session)
    assert jump.ssh(session, "true").returncode == REFUSED


def test_another_user(jump):
    session = jump.session()
    for user in ("bob", "root"):
        assert jump.ssh(session, "true", user=user).returncode == REFUSED
    assert "wrong_user" in jump.hostd_log() or "is for the login" in jump.hostd_log()


def test_another_address_than_the_tunnels(jump):
    # sshd's own source-address check aside, which another CA option may lack: ours is made in open_session.
    session = jump.session(source_address=None)
    assert jump.ssh(session, "true").returncode == 0
    result = jump.ssh(session, "echo inside", source="10.90.0.8")
    assert result.returncode == 254, result
    said = result.stdout + result.stderr
    assert f"session {session.id} may not be used from 10.90.0.8" in said and "inside" not in said
    assert jump.ssh(jump.session(), "true", source="10.90.0.8").returncode == REFUSED


def test_refused_in_open_session_the_connection_is_cut_too(jump):
    session = jump.session(source_address=None)
    start = time.monotonic()
    login = subprocess.Popen(jump.ssh_command(session, source="10.90.0.8", options=("-N",)), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert login.wait(12) == 255  # before sshd's own UnusedConnectionTimeout
    assert time.monotonic() - start < 12


def test_a_session_that_nobody_opened_here(jump):
    session = jump.session(opened=False)
    assert jump.ssh(session, "true").returncode == REFUSED
    assert f"session {session.id} is not live on this host" in jump.hostd_log()


def test_without_a_certificate_a_managed_person_reads_why(jump):
    command = jump.inside("ssh", "-F", "none", "-i", jump.directory / "alice", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                          "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", str(LOOSE_PORT),
                          "-b", "10.90.0.7", "alice@10.60.0.5", "true")
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert result.returncode == REFUSED
    assert "this login did not use a jitwg certificate" in result.stderr
    assert "Accepted" not in (jump.directory / "sshd-loose.log").read_text()


def test_two_logins_of_one_session_end_together_and_close_alone(jump):
    session = jump.session()
    first, second = long_login(jump, session), long_login(jump, session)
    kill_inside(first)
    wait_for(lambda: len(jump.status()) == 1, "one is left")
    assert second.poll() is None
    jump.broker.close(session.id, "returned")
    closed(jump, session)
    assert second.wait(10) != 0


def test_what_a_login_leaves_running_dies_with_the_session(jump):
    session = jump.session()
    mark = "8" + str(int(time.time()))
    assert jump.ssh(session, f"setsid -f sleep {mark} </dev/null >/dev/null 2>&1").returncode == 0
    wait_for(lambda: [s["open"] for s in jump.status()] == [False], "logged out, with something left")
    assert len(jump.processes_named(f"^sleep {mark}")) == 1
    jump.broker.close(session.id, "returned")
    closed(jump, session)
    assert jump.processes_named(f"^sleep {mark}") == []


def test_a_later_channel_of_one_connection_is_bound_too(jump):
    session = jump.session()
    control = f"{jump.directory}/control"
    options = ("-o", f"ControlPath={control}")
    master = long_login(jump, session, options=("-o", "ControlMaster=yes", *options))
    mark = "9" + str(int(time.time()))
    later = subprocess.Popen(jump.ssh_command(session, f"sleep {mark}", options=options), stdin=subprocess.DEVNULL)
    wait_for(lambda: jump.processes_named(f"^sleep {mark}"), "the second channel runs")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert jump.processes_named(f"^sleep {mark}") == []
    master.wait(10)
    later.wait(10)


def told_apart_from_time(logins):
    return [{key: value for key, value in each.items() if key != "time_left"} for each in logins]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_logins_bound(jump, how):
    session, other = jump.session(), jump.session()
    login, kept = long_login(jump, session), long_login(jump, other)
    jump.stop_hostd(how)
    assert jump.ssh(session, "true").returncode == REFUSED  # nobody to ask: nobody comes in
    gone_meanwhile = told_apart_from_time(jump.status())
    jump.start_hostd()
    assert told_apart_from_time(jump.status()) == gone_meanwhile and login.poll() is None
    wait_for(lambda: jump.ssh(session, "true").returncode == 0, "it serves again")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert login.wait(10) != 0 and kept.poll() is None
    kill_inside(kept)
    wait_for(lambda: jump.status() == [], "and knows when a login goes")


def test_a_login_that_went_while_hostd_was_down(jump):
    session = jump.session()
    login = long_login(jump, session)
    jump.stop_hostd(signal.SIGKILL)
    kill_inside(login)
    wait_for(lambda: not jump.processes_named("sshd: alice"), "sshd let it go")
    jump.start_hostd()
    wait_for(lambda: jump.status() == [], "noticed after the restart")


def test_a_session_closed_while_hostd_was_down(jump):
    session = jump.session()
    login = long_login(jump, session)
    jump.stop_hostd(signal.SIGKILL)
    jump.broker.close(session.id, "revoked")
    assert login.poll() is None
    jump.start_hostd()
    closed(jump, session)
    assert login.wait(10) != 0


def test_lost_contact(jump):
    """No word from the broker: nobody new, but who is in may come again for a while."""
    jump.stop_hostd()
    jump.write_config(**{"fresh-within": "2s", "lost-contact-after": "8s"})
    jump.start_hostd()
    session = jump.session()
    try:
        assert jump.ssh(session, "true").returncode == 0
        jump.broker.quiet.set()
        wait_for(lambda: jump.ssh(session, "true").returncode == REFUSED, "stale", 8)
        assert "stale_replica" in jump.hostd_log() or "lost contact" in jump.hostd_log()
        jump.broker.quiet.clear()
        wait_for(lambda: jump.ssh(session, "true").returncode == 0, "fresh again", 8)
        login = long_login(jump, session)
        jump.broker.quiet.set()
        time.sleep(3.5)  # the age itself is what is tested; the pure rule has its unit test
        assert jump.ssh(session, "true").returncode == 0
        wait_for(lambda: jump.ssh(session, "true").returncode == REFUSED, "lost", 12)
        assert login.poll() is None  # running ones live to their hard end
        kill_inside(login)
    finally:
        jump.broker.quiet.clear()
        jump.stop_hostd()
        jump.write_config()
        jump.start_hostd()


def test_others_questions_are_not_answered(jump):
    """Any local user may connect; only sshd's helper and root's processes learn or change anything."""
    session = jump.session()
    certificate = (jump.directory / f"{session.key.name}-cert.pub").read_text().split()[1]
    script = f"/usr/local/lib/jitwg/jitwg-principals alice {certificate}; exit $?"  # with a parent of its own
    result = jump.run("setpriv", "--reuid=2002", "--regid=2002", "--clear-groups", "sh", "-c", script)
    assert (result.returncode, result.stdout) == (1, "")
    assert "only sshd may ask" in result.stderr


def test_silent_askers_block_nobody(jump):
    session = jump.session()
    script = ("import socket,time\nheld=[]\nfor _ in range(300):\n s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\n"
              " s.connect('/run/jitwg/hostd.sock'); held.append(s)\nprint('held',flush=True)\ntime.sleep(30)")
    flood = subprocess.Popen(jump.inside("setpriv", "--reuid=2002", "--regid=2002", "--clear-groups", sys.executable, "-c", script),
                             stdout=subprocess.PIPE, text=True)
    assert flood.stdout.readline().strip() == "held"
    assert jump.ssh(session, "true").returncode == 0
    kill_inside(flood)
