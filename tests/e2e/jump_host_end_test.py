"""What ends with a session on Debian's sshd and PAM without systemd, however it tries not to; and what does not end."""

import os
import shlex
import signal
import subprocess
import time

import pytest

from jump_host_test import BUILD, closed, jump, kill_inside, long_login, sandbox, told_apart_from_time, wait_for  # noqa: F401
from jump_host_hostile_test import LOGINS, events, mark
from jump_sandbox import HELPERS

LISTENER_PORT = 2300


def audited():
    """Does this kernel let us give a process an audit session? Not in most containers."""
    ask = ["/bin/sh", "-c", "echo 0 > /proc/self/loginuid && cat /proc/self/sessionid"]
    done = subprocess.run(ask, capture_output=True, text=True)
    return done.returncode == 0 and done.stdout not in ("", "0", "4294967295")


needs_audit = pytest.mark.skipif(not audited(), reason="SKIPPED: this kernel gives no audit sessions")


def root_script(jump, session, script):  # noqa: F811
    done = jump.ssh(session, script, user="root")
    assert done.returncode == 0, done
    return done.stdout


def cgroup_of(jump, pid):  # noqa: F811
    return jump.run("cat", f"/proc/{pid}/cgroup").stdout


# ---- what root can try ----


@needs_audit
def test_root_that_leaves_its_cgroup_is_found_by_its_audit_session(jump):  # noqa: F811
    session, other = jump.session(login="root"), jump.session(login="root")
    kept = long_login(jump, other, user="root")
    number = mark()
    root_script(jump, session, f"echo $$ > {jump.cgroup}/system/cgroup.procs; setsid -f sleep {number} >/dev/null 2>&1 </dev/null")
    (pid,) = jump.processes_named(f"^sleep {number}")
    assert session.id not in cgroup_of(jump, pid)
    assert [s["open"] for s in jump.status() if s["session"] == session.id] == [False], "still bound, though logged out"
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert jump.processes_named(f"^sleep {number}") == []
    assert kept.poll() is None and jump.ssh(other, "true", user="root").returncode == 0
    kill_inside(kept)


@needs_audit
def test_root_that_changes_its_loginuid_is_found_by_its_cgroup(jump):  # noqa: F811
    session, number = jump.session(login="root"), mark()
    said = root_script(jump, session, "cat /proc/self/sessionid; echo; echo 2002 > /proc/self/loginuid; cat /proc/self/sessionid; echo;"
                       f"setsid -f sleep {number} >/dev/null 2>&1 </dev/null")  # fmt: skip
    before, after = said.split()
    assert before != after
    assert jump.processes_named(f"^sleep {number}")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert jump.processes_named(f"^sleep {number}") == []


@needs_audit
def test_a_fork_hopper_outside_of_its_cgroup(jump):  # noqa: F811
    """Forks faster than /proc is read, where no cgroup.kill reaches it."""
    session, name = jump.session(login="root"), f"hop{mark()}"
    hop = f"""
import os
open('{jump.cgroup}/system/cgroup.procs', 'w').write('0')
if os.fork(): os._exit(0)
os.setsid()
for fd in range(3): os.close(fd)
for _ in range(5):
    if os.fork() == 0: break
while True:
    if os.fork(): os._exit(0)
# {name}
"""
    jump.ssh(session, f"cat > /tmp/{name}.py <<'END'\n{hop}\nEND\npython3 /tmp/{name}.py", user="root")
    wait_for(lambda: jump.processes_named(name), "it hops")
    jump.broker.close(session.id, "revoked")
    closed(jump, session, 30)
    time.sleep(0.3)
    assert jump.processes_named(name) == []


def test_sshd_itself_is_never_got(jump):  # noqa: F811
    """The monitor was moved to where sshd is, as it is when pam_systemd fails: it alone dies."""
    session, other = jump.session(login="root"), jump.session()
    kept = long_login(jump, other)
    login = long_login(jump, session, f"echo $PPID > {jump.cgroup}/system/cgroup.procs; read never", user="root")
    daemons = jump.processes_named("sshd -D")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    login.wait(10)
    assert jump.processes_named("sshd -D") == daemons and kept.poll() is None
    kill_inside(kept)


# ---- the user's manager, as systemd would have made it (the real one: tests/vm) ----


@pytest.fixture
def manager(jump):  # noqa: F811
    """Starts something in it on alice's behalf, as her systemd does when asked, which is no child of her login."""
    cgroup = f"{jump.cgroup}/user.slice/user-2001.slice/user@2001.service"
    jump.run("mkdir", "-p", f"{cgroup}/init.scope", f"{cgroup}/app.slice/run-1.service")

    def start(number, unit="app.slice/run-1.service"):
        script = f"echo $$ > {cgroup}/{unit}/cgroup.procs; exec setpriv --reuid=2001 --regid=2001 --clear-groups setsid -f sleep {number} >/dev/null 2>&1 </dev/null"
        assert jump.run("sh", "-c", script).returncode == 0
        wait_for(lambda: jump.processes_named(f"^sleep {number}"), f"{number} to run")

    yield start
    jump.run("sh", "-c", f"echo 1 > {cgroup}/cgroup.kill")
    wait_for(lambda: jump.run("sh", "-c", f"rmdir -p {cgroup}/init.scope {cgroup}/app.slice/run-1.service; test ! -e {cgroup}").returncode == 0, "it to go")


def test_what_the_users_manager_runs_ends_with_the_last_session(jump, manager):  # noqa: F811
    session, bobs, number = jump.session(), jump.session(login="bob"), mark()
    kept = long_login(jump, bobs, user="bob")
    assert jump.ssh(session, "true").returncode == 0
    login = long_login(jump, session)
    manager(number)
    kill_inside(login)
    wait_for(lambda: [s["open"] for s in jump.status() if s["session"] == session.id] == [False], "logged out, and still bound")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert jump.processes_named(f"^sleep {number}") == [] and kept.poll() is None
    kill_inside(kept)


def test_what_may_be_another_live_sessions_goes_on_and_is_said(jump, manager):  # noqa: F811
    session, other, number = jump.session(), jump.session(), mark()
    manager(f"{number}1")  # before both: nobody's of these
    time.sleep(0.05)  # starts are told in hundredths of a second
    first = long_login(jump, session)
    manager(f"{number}2")
    manager(f"{number}3", "init.scope")  # the manager itself, which both need
    time.sleep(0.05)
    second = long_login(jump, other)
    manager(f"{number}4")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    first.wait(10)
    assert [n for n in "1234" if jump.processes_named(f"^sleep {number}{n}")] == ["1", "3", "4"]
    (said,) = [line for line in events(jump, session) if "login.left_behind" in line]
    assert "1 of the processes of user@2001.service, which may be another session's" in said
    assert second.poll() is None
    jump.broker.close(other.id, "revoked")
    closed(jump, other)
    second.wait(10)
    assert jump.processes_named(f"^sleep {number}") == []


def test_two_sessions_that_end_together_leave_no_manager_to_each_other(jump, manager):  # noqa: F811
    sessions, number = [jump.session(), jump.session()], mark()
    logins = [long_login(jump, session) for session in sessions]
    manager(number)
    for session in sessions:
        jump.broker.close(session.id, "locked")
    for session, login in zip(sessions, logins, strict=True):
        closed(jump, session)
        login.wait(10)
    assert jump.processes_named(f"^sleep {number}") == []


# ---- many, and in mid-transfer ----


def test_five_thousand_processes_in_one_login(jump):  # noqa: F811
    session, number = jump.session(), mark()
    spawn = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(5000):
    if os.fork() == 0: os.setsid(); time.sleep(1000)
print('started', flush=True); time.sleep(1000)
# many{number}
"""
    login = subprocess.Popen(jump.ssh_command(session, "exec python3 -c \"$(cat)\""), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    login.stdin.write(spawn)
    login.stdin.close()
    assert login.stdout.readline() == "started\n"
    (shown,) = jump.status()
    assert shown["processes"] > 5000
    jump.broker.close(session.id, "revoked")
    closed(jump, session, 30)
    assert jump.processes_named(f"many{number}") == []
    login.wait(10)


def test_two_hundred_logins_at_once(jump):  # noqa: F811
    sessions = [jump.session() for _ in range(4)]
    commands = [jump.ssh_command(sessions[n % 4], "echo in; read x; echo $JITWG_SESSION_ID") for n in range(200)]
    logins = []
    for batch in range(0, 200, 20):  # as many handshakes at once as MaxStartups lets through
        more = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for command in commands[batch : batch + 20]]  # fmt: skip
        assert [login.stdout.readline() for login in more] == ["in\n"] * 20, jump.hostd_log()[-2000:]
        logins += more
    shown = jump.status()
    gone = [s for s in shown if not s["open"]]
    assert len(shown) == 200 and gone == []
    said = [login.communicate("go\n", timeout=120)[0] for login in logins[:50]]
    assert [out.strip() for out in said] == [sessions[n % 4].id for n in range(50)]
    for session in sessions:
        jump.broker.close(session.id, "revoked")
    for session in sessions:
        closed(jump, session, 60)
    assert jump.status() == []
    for login in logins[50:]:
        login.wait(10)


def test_rsync_in_mid_transfer(jump):  # noqa: F811
    session = jump.session()
    shell = " ".join(["ssh", "-F", "none", "-o", "IdentitiesOnly=yes", "-i", str(session.key), "-b", "10.90.0.7", "-o", "BatchMode=yes",
                      "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])  # fmt: skip
    big = f"/tmp/big-{mark()}"
    jump.run("truncate", "-s", "2G", big)
    transfer = subprocess.Popen(jump.inside("rsync", "--bwlimit=2000", "-W", "-e", shell, big, "alice@10.60.0.5:"), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    wait_for(lambda: jump.processes_named("^rsync --server"), "the far side runs")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert transfer.wait(20) != 0 and jump.processes_named("^rsync --server") == []
    jump.run("rm", "-f", big)


@pytest.mark.parametrize("start", ["tmux -L t{n} new-session -d 'sleep {n}'", "mkdir -pm 700 ~/.s; export SCREENDIR=~/.s; screen -dmS s{n} sleep {n}; sleep 1"])
def test_terminal_multiplexers(jump, start):  # noqa: F811
    session, number = jump.session(), mark()
    done = jump.ssh(session, f"export TERM=vt100; {start.format(n=number)}", options=("-tt",))
    wait_for(lambda: jump.processes_named(f"^sleep {number}"), f"it lives on without the login: {done}")
    assert [s["open"] for s in jump.status()] == [False]
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert jump.processes_named(number) == []


# ---- what is said ----


@pytest.mark.parametrize("minutes", [15, 5, 1])
def test_before_the_end_every_terminal_is_told(jump, minutes):  # noqa: F811
    session = jump.session(seconds=minutes * 60 + 6)
    said = f"jitwg: session {session.id} ends in {minutes}m"
    login = subprocess.Popen(jump.ssh_command(session, "echo started; read never", options=("-tt",)), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    number = mark()
    jump.ssh(session, f"export TERM=vt100; tmux -L t{number} new-session -d 'cat'", options=("-tt",))

    def pane():
        return jump.run("setpriv", "--reuid=2001", "--regid=2001", "--clear-groups", "tmux", "-L", f"t{number}", "capture-pane", "-p").stdout

    wait_for(lambda: said in pane(), "the tmux that nobody looks at is told as well", 20)
    jump.broker.close(session.id, "returned")
    assert said.encode() in login.stdout.read()
    login.wait(10)
    closed(jump, session)


def test_the_same_persons_other_session_is_told_and_goes_on(jump):  # noqa: F811
    session, other, bobs = jump.session(), jump.session(), jump.session(login="bob")
    ended = long_login(jump, session)
    tty = ("-tt",)
    kept, bystander = (subprocess.Popen(jump.ssh_command(s, "echo started; read x; echo got $x", user=user, options=tty), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for s, user in ((other, "alice"), (bobs, "bob")))  # fmt: skip
    for login in (kept, bystander):
        while "started" not in login.stdout.readline():
            pass
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    ended.wait(10)
    said, others = kept.communicate("on\n", timeout=20)[0], bystander.communicate("on\n", timeout=20)[0]
    assert f"session {session.id} ended (revoked). This login's session {other.id} goes on" in said and "got on" in said
    assert session.id not in others and "got on" in others


def test_what_no_kill_ends_is_said(jump):  # noqa: F811
    """An at job, a crontab and lingering are found; lingering is turned off."""
    session, older = jump.session(), jump.session()
    jump.run("sh", "-ec", "mount -t tmpfs tmpfs /var/spool; mkdir -p /var/spool/cron/atjobs /var/spool/cron/crontabs;"
             "mount -t tmpfs tmpfs /var/lib/systemd; mkdir /var/lib/systemd/linger")  # fmt: skip
    try:
        jump.run("sh", "-ec", "cd /var/spool/cron/atjobs; touch a00001-before; chown 2001 *")
        time.sleep(1.1)  # times here are whole seconds
        login = long_login(jump, session)
        jump.run("sh", "-ec", "cd /var/spool/cron/atjobs; touch a00002-mine a00003-bobs; chown 2001 a00002*; chown 2002 a00003*;"
                 "touch ../crontabs/alice ../crontabs/bob /var/lib/systemd/linger/alice /var/lib/systemd/linger/bob")  # fmt: skip
        jump.broker.close(session.id, "revoked")
        closed(jump, session)
        login.wait(10)
        (said,) = [line for line in events(jump, session) if "login.left_behind" in line]
        assert "alice left behind: lingering, now turned off; a new crontab; 1 at job (a00002-mine) " in said.replace("session=", " session=")
        assert jump.run("ls", "/var/lib/systemd/linger").stdout == "bob\n"
        jump.run("sh", "-ec", "rm -r /var/lib/systemd/linger; rm /var/spool/cron/crontabs/*; rm /var/spool/cron/atjobs/*")
        assert jump.ssh(older, "true").returncode == 0
        jump.broker.close(older.id, "revoked")
        closed(jump, older)
        assert not [line for line in events(jump, older) if "left_behind" in line]
    finally:
        jump.run("umount", "/var/spool", "/var/lib/systemd")


# ---- hostd's books ----


def test_status_says_how_old_its_knowledge_is_and_when_nobody_serves(jump):  # noqa: F811
    session = jump.session()
    login = long_login(jump, session)

    def status(*more, user=0):
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return jump.run(*as_user, f"{BUILD}/bin/jitwg-hostd", "status", *more, "--config", jump.directory / "hostd.conf")

    wait_for(lambda: "broker: last heard" in status().stdout, "hostd to have left its state", 8)
    said = status()
    assert said.returncode == 0 and "jump1: jitwg-hostd runs\n" in said.stdout and session.id in said.stdout
    assert " open " in said.stdout and "fresh" in status("--json").stdout
    jump.stop_hostd(signal.SIGKILL)
    said = status()
    assert said.returncode == 5 and "jitwg-hostd does not run since about" in said.stdout and session.id in said.stdout
    assert "processes" in status("--json").stdout
    jump.run("chmod", "755", jump.directory)
    other = status(user=2001)
    assert other.returncode != 0 and session.id not in other.stdout
    jump.start_hostd()
    kill_inside(login)


@pytest.mark.parametrize("damage", ["rm -f {f}", "echo garbage > {f}", ": > {f}"])
def test_a_lost_record_is_made_anew_from_the_leaf(jump, damage):  # noqa: F811
    session = jump.session()
    login = long_login(jump, session)
    before = jump.status()[0]
    jump.stop_hostd(signal.SIGKILL)
    jump.run("sh", "-ec", f"cd {LOGINS}; for f in {session.id}.*; do {damage.format(f='$f')}; done")
    jump.start_hostd()
    (after,) = jump.status()
    for key in ("session", "person", "login", "target", "pid", "not_after", "open", "audit_session"):
        assert after[key] == before[key], key
    assert login.poll() is None
    kill_inside(login)
    wait_for(lambda: jump.status() == [], "its monitor is watched again")
    assert any("logged out" in line for line in events(jump, session))


def test_hostd_killed_at_any_moment_loses_no_login(jump):  # noqa: F811
    session, number = jump.session(), mark()
    script = f"while :; do {shlex.join(map(str, jump.ssh_command(session, f'setsid -f sleep {number} >/dev/null 2>&1 </dev/null')[7:]))}; done"
    coming = subprocess.Popen(jump.inside("sh", "-c", script), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for pause in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4):
            time.sleep(pause)
            jump.stop_hostd(signal.SIGKILL)
            jump.start_hostd()
        wait_for(lambda: len(jump.processes_named(f"^sleep {number}")) >= 3, "some logins in between", 30)
    finally:
        kill_inside(coming)
    jump.broker.close(session.id, "revoked")
    closed(jump, session, 20)
    assert jump.processes_named(f"^sleep {number}") == [] and jump.status() == []


def test_an_upgrade_under_a_running_login(jump):  # noqa: F811
    """As a package does it: each file is another one under the same name, then hostd is restarted."""
    session = jump.session()
    login = long_login(jump, session)
    before = told_apart_from_time(jump.status())
    for name in ("pam_jitwg.so", "jitwg-principals", "jitwg-hostd"):
        file = f"{HELPERS}/{name}"
        jump.run("sh", "-c", f"cp -p {file} {file}.new && mv {file}.new {file}").check_returncode()
    assert jump.run("sh", "-c", "readlink /proc/$(pgrep -x jitwg-hostd)/exe").stdout.endswith("(deleted)\n")
    jump.stop_hostd()
    jump.start_hostd()
    assert told_apart_from_time(jump.status()) == before and login.poll() is None
    later = long_login(jump, session)
    kill_inside(login)
    wait_for(lambda: len(jump.status()) == 1, "the old module's login closed")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert later.wait(10) != 0


def test_a_full_disk_refuses_logins_and_ends_those_that_run(jump):  # noqa: F811
    session, other = jump.session(), jump.session()
    login, leaves = long_login(jump, session), long_login(jump, other)
    jump.stop_hostd()
    jump.run("sh", "-ec", "cp -a /run/jitwg/hostd /run/hostd-kept; mount -t tmpfs -o size=64k,mode=0700 tmpfs /run/jitwg/hostd;"
             "cp -a /run/hostd-kept/. /run/jitwg/hostd")  # fmt: skip
    try:
        jump.start_hostd()
        jump.run("sh", "-c", "cat /dev/zero > /run/jitwg/hostd/filling")
        refused = jump.ssh(session, "echo in")
        assert refused.returncode == 254 and "could not bind the login" in refused.stdout + refused.stderr, refused
        assert any("No space left" in line for line in events(jump, session))
        kill_inside(leaves)
        wait_for(lambda: any("logged out" in line for line in events(jump, other)), "a logout is noticed")
        jump.broker.close(session.id, "revoked")
        closed(jump, session)
        assert login.wait(10) != 0
        jump.run("rm", "/run/jitwg/hostd/filling")
        assert jump.ssh(other, "true").returncode == 0
        wait_for(lambda: jump.status() == [], "and nothing is left in the books")
    finally:
        jump.stop_hostd()
        jump.run("umount", "-l", "/run/jitwg/hostd")
        jump.run("sh", "-c", f"rm -rf {LOGINS}/*")
        jump.start_hostd()


@needs_audit
def test_a_shared_audit_session_is_mended(jump):  # noqa: F811
    """An sshd that was started from a login of alice's: pam_loginuid finds her uid there already and does nothing."""
    start = f"echo 2001 > /proc/self/loginuid && cat /proc/self/sessionid && exec /usr/sbin/sshd -D -p {LISTENER_PORT} -o PidFile=none"
    daemon = subprocess.Popen(jump.inside("sh", "-c", start), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: jump.run("sh", "-c", f"ss -Hltn | grep -q :{LISTENER_PORT}").returncode == 0, "sshd to listen")
    shared = os.read(daemon.stdout.fileno(), 20).decode().strip()
    port = ("-p", str(LISTENER_PORT))
    try:
        session, other = jump.session(), jump.session()
        first, second = long_login(jump, session, options=port), long_login(jump, other, options=port)
        numbers = [s["audit_session"] for s in jump.status()]
        assert len(set(numbers)) == 2 and None not in numbers and int(shared) not in numbers
        assert jump.ssh(session, "cat /proc/self/loginuid; echo; cat /proc/self/sessionid", options=port).stdout.split()[0] == "2001"
        jump.broker.close(session.id, "revoked")
        closed(jump, session)
        assert first.wait(10) != 0 and second.poll() is None
        assert jump.ssh(other, "true", options=port).returncode == 0, "that sshd lives"
        kill_inside(second)
    finally:
        kill_inside(daemon)


@needs_audit
def test_an_audit_session_that_stays_shared_is_not_used(jump):  # noqa: F811
    """Without CAP_AUDIT_CONTROL, as in a container, nobody can renew it."""
    capable = ["setpriv", "--bounding-set=-audit_control", "--inh-caps=-audit_control", "/usr/sbin/sshd"]
    start = f"echo 2001 > /proc/self/loginuid && exec {' '.join(capable)} -D -p {LISTENER_PORT} -o PidFile=none"
    daemon = subprocess.Popen(jump.inside("sh", "-c", start))
    wait_for(lambda: jump.run("sh", "-c", f"ss -Hltn | grep -q :{LISTENER_PORT}").returncode == 0, "sshd to listen")
    port = ("-p", str(LISTENER_PORT))
    try:
        session = jump.session()
        login = long_login(jump, session, options=port)
        assert [s["audit_session"] for s in jump.status()] == [None]
        assert any("is others' too" in line for line in events(jump, session))
        jump.broker.close(session.id, "revoked")
        closed(jump, session)
        assert login.wait(10) != 0
        assert jump.run("sh", "-c", f"ss -Hltn | grep -q :{LISTENER_PORT}").returncode == 0, "and ended nothing of others"
    finally:
        kill_inside(daemon)


def test_pids_are_used_again(jump):  # noqa: F811
    """A record of a monitor whose pid is another process' by now: that one is nobody's."""
    session = jump.session()
    bystander = subprocess.Popen(jump.inside("sleep", "1000"))
    pid = wait_for(lambda: jump.processes_named("^sleep 1000"), "the bystander")[0]
    login = long_login(jump, session)
    jump.stop_hostd(signal.SIGKILL)
    jump.run("sh", "-ec", f"cd {LOGINS}; sed 's/\"pid\":[0-9]*/\"pid\":{pid}/' {session.id}.* > x; rm {session.id}.*; mv x {session.id}.{pid}")
    jump.start_hostd()
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert login.wait(10) != 0 and bystander.poll() is None
    kill_inside(bystander)


def test_without_descriptors_nothing_is_claimed_and_all_ends_later(jump):  # noqa: F811
    session, other = jump.session(), jump.session()
    login, kept = long_login(jump, session), long_login(jump, other)
    pid = jump.run("pgrep", "-x", "jitwg-hostd").stdout.strip()
    jump.run("prlimit", "--pid", pid, "--nofile=4:").check_returncode()
    try:
        jump.broker.close(session.id, "revoked")
        assert jump.ssh(other, "true").returncode == 255
        time.sleep(1)
        assert jump.broker.report(session.id, "closed") is None
    finally:
        jump.run("prlimit", "--pid", pid, "--nofile=1024:")
    closed(jump, session, 30)
    assert login.wait(10) != 0 and kept.poll() is None
    assert jump.run("pgrep", "-x", "jitwg-hostd").stdout.strip() == pid
    wait_for(lambda: jump.ssh(other, "true").returncode == 0, "it serves again")
    kill_inside(kept)
