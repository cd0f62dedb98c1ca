"""sudo, su, cron and at of managed people, on Debian's own: pam_jitwg.so mode=sudo and mode=job."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from jump_host_test import REFUSED, closed, jump, kill_inside, long_login, sandbox, wait_for  # noqa: F401

for needed in ("sudo", "su"):
    if shutil.which(needed) is None:
        pytest.skip(f"SKIPPED: {needed} is not installed", allow_module_level=True)

NOT_IN_A_SESSION = "was not started in the login of a session"


def events(jump, session):  # noqa: F811
    return [line for line in jump.hostd_log().splitlines() if line.endswith(f"session={session.id}")]


def as_alice(jump, script, loginuid="2001"):  # noqa: F811
    """A process of alice's that no login through sshd made: somebody's unit, a console."""
    become = f"echo {loginuid} > /proc/self/loginuid; " if loginuid else ""
    return jump.run("sh", "-c", f"{become}exec setpriv --reuid=2001 --regid=2001 --clear-groups sh -c '{script}'")


@pytest.mark.parametrize("command, said", [
    ("sudo id -un", "root"), ("sudo -n -v && echo validated", "validated"), ("sudo -l", "NOPASSWD"), ("sudo -i id -un", "root"),
    ("sudo -u bob id -un", "bob"), ("sudo su - bob -c id\\ -un", "bob"), ("sudo -u bob sudo id -un", "root"),
    ("sudo -u backup sudo -n id 2>&1; sudo su backup -s /bin/sh -c id\\ -un", "backup"),
])  # fmt: skip
def test_within_a_live_session(jump, command, said):  # noqa: F811
    session = jump.session()
    result = jump.ssh(session, command)
    assert said in result.stdout, (result, jump.hostd_log())
    assert any("may use su" in line for line in events(jump, session))


def test_su_with_a_password(jump):  # noqa: F811
    """The password is other modules' matter: right or wrong, the session is asked for besides."""
    jump.run("sh", "-c", "echo bob:secret | chpasswd")
    try:
        session = jump.session()
        assert jump.ssh(session, "echo secret | su bob -c id\\ -un").stdout == "bob\n", jump.hostd_log()
        assert jump.ssh(session, "echo wrong | su bob -c id\\ -un").stdout == ""
        outside = as_alice(jump, "echo secret | su bob -c id")
        assert "uid=" not in outside.stdout and NOT_IN_A_SESSION in outside.stderr, outside
    finally:
        jump.run("usermod", "-p", "*", "bob")


def test_fifty_sudos_at_once(jump):  # noqa: F811
    session = jump.session()
    result = jump.ssh(session, "for n in $(seq 50); do sudo -n id -u & done; wait")
    assert result.stdout == "0\n" * 50, result
    assert len([line for line in events(jump, session) if "alice may use sudo" in line]) == 50


def test_a_forked_and_reparented_process_is_in_it_still(jump):  # noqa: F811
    session = jump.session()
    result = jump.ssh(session, "setsid sh -c '(sleep 0.2; sudo id -un) & wait' | cat; env -i /usr/bin/sudo id -un")
    assert result.stdout == "root\nroot\n", result


@pytest.mark.parametrize("command", ["sudo id", "sudo -n -v", "sudo -l", "sudo -i id", "sudo -u backup id", "su bob -c id"])
@pytest.mark.parametrize("loginuid", ["2001", None])
def test_outside_any_session(jump, command, loginuid):  # noqa: F811
    """The environment of a live session proves nothing."""
    session = jump.session()
    login = long_login(jump, session)
    result = as_alice(jump, f"export JITWG_SESSION_ID={session.id} SSH_CONNECTION=1; echo x | {command}", loginuid)
    assert result.returncode != 0 and "uid=" not in result.stdout and "NOPASSWD" not in result.stdout, result
    if not command.startswith("su "):  # which asks for a password first, and got none
        assert NOT_IN_A_SESSION in result.stdout + result.stderr
        assert "Log in with: jitwg ssh TARGET" in result.stdout + result.stderr
        assert any("sudo.checked" in line or "sudo of alice refused" in line for line in jump.hostd_log().splitlines())
    kill_inside(login)


def test_root_behind_sudo_is_still_the_person(jump):  # noqa: F811
    result = jump.run("sh", "-c", "echo 2001 > /proc/self/loginuid; su bob -c id")
    assert result.returncode != 0 and NOT_IN_A_SESSION in result.stdout + result.stderr and "uid=" not in result.stdout


@pytest.mark.parametrize("loginuid", [None, "0"])
@pytest.mark.parametrize("hostd", ["up", "down"])
def test_the_system_itself_is_no_person(jump, loginuid, hostd):  # noqa: F811
    """Root's own scripts, and cron's, whose pam_loginuid says 0: also while hostd is down."""
    if hostd == "down":
        jump.stop_hostd()
    become = f"echo {loginuid} > /proc/self/loginuid; " if loginuid else ""
    result = jump.run("sh", "-c", f"{become}su -s /bin/sh backup -c id\\ -un && sudo id -un")
    assert result.stdout == "backup\nroot\n", result


def test_the_rescue_account_needs_no_session(jump):  # noqa: F811
    jump.run("sh", "-c", "echo 'except bob' >> /etc/jitwg/managed")
    try:
        result = jump.run("sh", "-c", "echo 2002 > /proc/self/loginuid; exec setpriv --reuid=2002 --regid=2002 --clear-groups "
                          "sh -c 'sudo id -un; sudo su - bob -c id\\ -un; sudo -u alice sudo id'")  # fmt: skip
        assert result.stdout == "root\nbob\n", result  # but as alice it is alice's session that counts
        assert NOT_IN_A_SESSION in result.stderr
    finally:
        jump.run("sed", "-i", "$d", "/etc/jitwg/managed")


@pytest.mark.parametrize("fault", ["down", "stopped", "none"])
def test_a_running_login_without_an_answer(jump, fault):  # noqa: F811
    session = jump.session()
    login = subprocess.Popen(jump.ssh_command(session, "echo started; read go; sudo id 2>&1; echo over"), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert login.stdout.readline() == "started\n"
    if fault == "down":
        jump.stop_hostd(signal.SIGKILL)
    elif fault == "stopped":
        jump.pause_hostd()
    start = time.monotonic()
    try:
        said, _ = login.communicate("go\n", timeout=20)
    finally:
        if fault == "stopped":
            jump.resume_hostd()
    if fault == "none":
        assert "uid=0" in said
        return
    assert "cannot check your session now. Try again" in said and "uid=" not in said and said.endswith("over\n")
    assert time.monotonic() - start < 4


def test_in_the_grace_of_an_ended_session(jump):  # noqa: F811
    """Asked to end, not yet ended: nothing new by sudo."""
    session = jump.session()
    script = "trap '' HUP TERM PIPE; echo started; while ! sudo -n true 2>>/run/said/x; do sleep 0.02; done; while sudo -n true 2>>/run/said/x; do :; done; sleep 9"
    jump.run("mkdir", "-m", "777", "-p", "/run/said")
    login = long_login(jump, session, script)
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    said = jump.run("cat", "/run/said/x").stdout
    jump.run("rm", "/run/said/x")
    assert f"session {session.id}: ended (revoked). Ask again with: jitwg request db-prod" in said
    assert any("sudo of alice refused" in line for line in events(jump, session))
    login.wait(10)


def test_a_cgroup_that_is_only_named_like_a_session(jump):  # noqa: F811
    session = jump.session()
    login = long_login(jump, session)
    fake = f"{jump.cgroup}/system/jitwg/{session.id}/1"
    os.makedirs(fake)
    try:
        result = jump.run("sh", "-c", f"echo 0 > {fake}/cgroup.procs; echo 2001 > /proc/self/loginuid; "
                          "exec setpriv --reuid=2001 --regid=2001 --clear-groups sudo id")  # fmt: skip
        assert NOT_IN_A_SESSION in result.stderr and "uid=" not in result.stdout, result
    finally:
        for path in (fake, os.path.dirname(fake), os.path.dirname(os.path.dirname(fake))):
            os.rmdir(path)
    kill_inside(login)


def test_another_persons_process_in_a_session(jump):  # noqa: F811
    """Root moved it there; its loginuid says whose it is."""
    session = jump.session()
    login = long_login(jump, session)
    leaf = f"{jump.cgroup}/jitwg/{session.id}/{jump.status()[0]['pid']}"
    result = jump.run("sh", "-c", f"echo 0 > {leaf}/cgroup.procs; echo 2002 > /proc/self/loginuid; "
                      "exec setpriv --reuid=2002 --regid=2002 --clear-groups sudo id")  # fmt: skip
    assert 'is for the login "alice", not "bob"' in result.stderr and "uid=" not in result.stdout, result
    kill_inside(login)


# ---- cron and at ----------------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(jump):  # noqa: F811
    if shutil.which("at") is None:
        pytest.skip("SKIPPED: at is not installed")
    daemon = subprocess.Popen(jump.inside("atd", "-f", "-b", "0", "-l", "100"))
    wait_for(lambda: jump.processes_named("^atd"), "atd runs")
    yield jump
    jump.run("sh", "-c", "rm -f /var/spool/cron/atjobs/a* /var/spool/cron/atjobs/=*")
    kill_inside(daemon)


def at(jump, user, script):  # noqa: F811
    result = jump.run("setpriv", "--reuid", str({"alice": 2001, "bob": 2002, "root": 0}[user]), "--regid",
                      str({"alice": 2001, "bob": 2002, "root": 0}[user]), "--clear-groups", "at", "now", input=script)  # fmt: skip
    assert result.returncode == 0, result
    jump.run("pkill", "-HUP", "-x", "atd")


def test_an_at_job_runs_in_a_session_and_ends_with_it(jobs):
    short, longer = jobs.session(seconds=300), jobs.session(seconds=600)
    kept = [long_login(jobs, session) for session in (longer, short)]
    name = f"7{time.monotonic_ns() % 10**8}"
    at(jobs, "alice", f"setsid -f sleep {name}; sleep {name}\n")
    wait_for(lambda: len(jobs.processes_named(f"^sleep {name}")) == 2, "it runs")
    (shown,) = [s for s in jobs.status() if s["client"] == "atd"]
    assert (shown["session"], shown["login"]) == (short.id, "alice")
    assert any("atd may run a job of alice" in line for line in events(jobs, short))
    assert any("atd runs a job of alice" in line for line in events(jobs, short))
    jobs.broker.close(short.id, "revoked")
    closed(jobs, short)
    assert jobs.processes_named(f"^sleep {name}") == []
    assert kept[0].poll() is None and kept[1].wait(10) != 0
    assert jobs.processes_named("^atd"), "atd itself was not ended"
    kill_inside(kept[0])


@pytest.mark.parametrize("case", ["nobody is in", "only bob is in", "hostd is down"])
def test_an_at_job_without_a_session_does_not_run(jobs, case):
    if case == "only bob is in":
        session = jobs.session(login="bob")
        login = long_login(jobs, session, user="bob")
    if case == "hostd is down":
        session = jobs.session()
        login = long_login(jobs, session)
        jobs.stop_hostd()
    before = jobs.hostd_log()
    jobs.run("mkdir", "-m", "777", "-p", "/run/ran")
    at(jobs, "alice", "touch /run/ran/alice\n")
    at(jobs, "root", "touch /run/ran/system\n")
    wait_for(lambda: jobs.run("test", "-e", "/run/ran/system").returncode == 0, "the system's own job ran")
    if case != "hostd is down":
        wait_for(lambda: 'job of alice refused: jitwg: jobs of "alice" run only while' in jobs.hostd_log()[len(before):], "recorded")
    time.sleep(0.5)
    assert jobs.run("ls", "/run/ran").stdout == "system\n"
    jobs.run("rm", "-r", "/run/ran")
    if case != "nobody is in":
        kill_inside(login)


def test_cron(jump):  # noqa: F811
    """One minute of the real cron: alice's job while she is in, bob's not, the system's always."""
    if shutil.which("cron") is None:
        pytest.skip("SKIPPED: cron is not installed")
    session = jump.session()
    login = long_login(jump, session)
    name = f"6{time.monotonic_ns() % 10**8}"
    jump.run("sh", "-c", f"""mkdir -m 1777 /run/cron-{name}
        for user in alice bob; do echo "* * * * * echo \\$JITWG_SESSION_ID > /run/cron-{name}/$user; exec sleep {name}" | crontab -u $user -; done
        echo "* * * * * root su -s /bin/sh backup -c 'touch /run/cron-{name}/system'" > /etc/cron.d/{name}""")
    daemon = subprocess.Popen(jump.inside("cron", "-f"))
    try:
        wait_for(lambda: jump.run("test", "-e", f"/run/cron-{name}/system").returncode == 0, "the system's job", 75)
        wait_for(lambda: jump.processes_named(f"^sleep {name}"), "alice's job")
        assert jump.run("cat", f"/run/cron-{name}/alice").stdout.strip() == session.id
        wait_for(lambda: "job of bob refused" in jump.hostd_log(), "bob's was refused")
        assert jump.run("ls", f"/run/cron-{name}").stdout.split() == ["alice", "system"]
        jump.broker.close(session.id, "revoked")
        closed(jump, session)
        assert jump.processes_named(f"^sleep {name}") == []
        assert daemon.poll() is None
    finally:
        jump.run("sh", "-c", f"crontab -r -u alice; crontab -r -u bob; rm /etc/cron.d/{name}")
        kill_inside(daemon)
    login.wait(10)
