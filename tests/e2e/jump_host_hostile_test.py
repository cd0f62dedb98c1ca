"""A hostile person with a live session, and a hostile stranger, on Debian's sshd and PAM."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from jump_host_test import (BUILD, LOOSE_PORT, REFUSED, closed, jump, kill_inside, long_login, sandbox,  # noqa: F401
                            wait_for)

LOGINS = "/run/jitwg/hostd/logins"


def events(jump, session):  # noqa: F811
    return [line for line in jump.hostd_log().splitlines() if line.endswith(f"session={session.id}")]


def mark():
    return str(time.monotonic_ns())[-9:]


def plain_ssh(jump, *options, user="alice", command="true"):  # noqa: F811
    return subprocess.run(jump.inside("ssh", "-F", "none", "-b", "10.90.0.7", "-o", "StrictHostKeyChecking=no", "-o",
                                      "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", *options, f"{user}@10.60.0.5", command),
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip


def test_a_login_that_nobody_would_end_is_refused(jump):  # noqa: F811
    """A service account is not managed: the module binds no login of it, so it outlived its session."""
    session = jump.session(login="jitwg")
    left = mark()
    result = jump.ssh(session, f"setsid -f sleep {left} >/dev/null 2>&1 </dev/null", user="jitwg")
    assert result.returncode == REFUSED
    assert any("not managed on this host" in line for line in events(jump, session))
    assert jump.processes_named(f"^sleep {left}") == []


def test_fifty_logins_at_once(jump):  # noqa: F811
    session = jump.session()
    logins = [subprocess.Popen(jump.ssh_command(session, "echo $JITWG_SESSION_ID"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True) for _ in range(50)]  # fmt: skip
    said = [login.communicate(timeout=120) for login in logins]
    assert [login.returncode for login in logins] == [0] * 50, said
    assert {out.strip() for out, _ in said} == {session.id}
    wait_for(lambda: jump.status() == [], "all are out")


def test_planted_files_and_forged_environment(jump):  # noqa: F811
    session = jump.session()
    key = (jump.directory / "alice.pub").read_text().strip()
    plant = f"""mkdir -p ~/.ssh; chmod 700 ~/.ssh; echo '{key}' | tee ~/.ssh/authorized_keys ~/.ssh/authorized_keys2 >/dev/null
        echo 'touch ~/rc-ran' > ~/.ssh/rc; echo JITWG_SESSION_ID=forged > ~/.ssh/environment
        echo 'JITWG_SESSION_ID DEFAULT=forged' > ~/.pam_environment; echo planted"""
    assert jump.ssh(session, plant).stdout == "planted\n"
    forged = ("-o", "SetEnv=JITWG_SESSION_ID=forged LD_PRELOAD=/tmp/x.so")
    assert jump.ssh(session, "echo $JITWG_SESSION_ID$LD_PRELOAD; ls ~", options=forged).stdout == f"{session.id}\n"
    assert plain_ssh(jump, "-i", jump.directory / "alice", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes").returncode == REFUSED
    jump.ssh(session, "rm -rf ~/.ssh ~/.pam_environment")


@pytest.mark.parametrize("port", [22, LOOSE_PORT])
@pytest.mark.parametrize("method", ["password", "keyboard-interactive", "hostbased", "none"])
def test_other_methods_open_nothing(jump, method, port):  # noqa: F811
    command = ["sh", "-c", 'printf "#!/bin/sh\\necho x\\n" > /tmp/ask; chmod 700 /tmp/ask; exec "$@"', "ask", "env", "SSH_ASKPASS=/tmp/ask",
               "SSH_ASKPASS_REQUIRE=force", "ssh", "-F", "none", "-b", "10.90.0.7", "-p", str(port), "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", "-o", f"PreferredAuthentications={method}", "alice@10.60.0.5", "true"]  # fmt: skip
    assert jump.run(*command, stdin=subprocess.DEVNULL).returncode == REFUSED


def test_a_key_without_its_certificate(jump):  # noqa: F811
    session = jump.session()
    bare = jump.directory / f"bare-{mark()}"
    bare.write_bytes(session.key.read_bytes())
    bare.chmod(0o600)
    assert plain_ssh(jump, "-i", bare, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes").returncode == REFUSED


@pytest.mark.parametrize("change", [
    ["-I", "jitwg1:{other}"], ["-n", "jitwg:{other}"], ["-n", "jitwg:{id},alice"], ["-n", "alice"], ["-n", ""], ["-z", "8"],
    ["-O", "permit-port-forwarding"], ["-O", "force-command=id"], ["-V", "-1m:+52w"], ["-I", "alice"], ["-h"],
])  # fmt: skip
def test_our_cas_other_certificates_open_nothing(jump, change):  # noqa: F811
    """Signed by the very CA, for the very key, but not the bytes that the grant names."""
    session, other = jump.session(), jump.session()
    arguments = {"-I": f"jitwg1:{session.id}", "-n": f"jitwg:{session.id}", "-V": "-30s:+10m", "-z": "7"}
    change = [word.format(id=session.id, other=other.id) for word in change]
    arguments.pop(change[0], None)
    flat = [word for pair in arguments.items() for word in pair] + [word for word in change if word != ""]
    if change == ["-n", ""]:
        flat.remove("-n")
    subprocess.run(["ssh-keygen", "-q", "-s", jump.directory / "ca", "-O", "clear", "-O", "permit-pty", *flat, f"{session.key}.pub"],
                   check=True, capture_output=True)  # fmt: skip
    assert jump.ssh(session, "true").returncode == REFUSED
    assert jump.ssh(other, "true").returncode == 0


def test_a_dead_certificate_and_a_live_one_in_one_connection(jump):  # noqa: F811
    dead, live = jump.session(), jump.session()
    jump.broker.close(dead.id, "revoked")
    closed(jump, dead)
    for first, second in ((dead, live), (live, dead)):
        result = plain_ssh(jump, "-i", first.key, "-i", second.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                           command="echo $JITWG_SESSION_ID")  # fmt: skip
        assert (result.returncode, result.stdout) == (0, f"{live.id}\n")
    # A live one shown first does not vouch for the key without certificate that logs in.
    result = plain_ssh(jump, "-i", f"{live.key}-cert.pub", "-i", jump.directory / "alice", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                       "-p", str(LOOSE_PORT))  # fmt: skip
    assert result.returncode in (REFUSED, 254), result


@pytest.mark.parametrize("forward", [("-L", "9998:10.60.0.5:22"), ("-D", "9996"), ("-L", "9995:/run/jitwg/hostd.sock")])
def test_local_forwarding_is_refused(jump, forward):  # noqa: F811
    session = jump.session()
    login = subprocess.Popen(jump.ssh_command(session, options=("-N", *forward)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    port = forward[1].split(":")[0]
    wait_for(lambda: jump.run("sh", "-c", f"ss -Hltn | grep -q :{port}").returncode == 0, "ssh to listen")
    ask = ["curl", "-s", "-m", "3", "--socks5-hostname", f"127.0.0.1:{port}", "http://10.60.0.5:22/"] if forward[0] == "-D" else \
        ["sh", "-c", f"(sleep 1) | timeout 3 nc -w1 127.0.0.1 {port}"]  # fmt: skip
    assert "SSH" in jump.run("sh", "-c", "(sleep 1) | timeout 3 nc -w1 10.60.0.5 22").stdout, "what an answer would be"
    assert "SSH" not in jump.run(*ask).stdout
    assert login.poll() is None
    kill_inside(login)


def test_other_channels(jump):  # noqa: F811
    session = jump.session()
    remote = subprocess.run(jump.ssh_command(session, options=("-N", "-o", "ExitOnForwardFailure=yes", "-R", "9997:10.60.0.5:22")),
                            capture_output=True, timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip
    assert remote.returncode == REFUSED
    through = subprocess.run(jump.ssh_command(session, options=("-W", "10.60.0.5:22")), capture_output=True, text=True, timeout=60,
                             stdin=subprocess.DEVNULL)  # fmt: skip
    assert through.returncode == REFUSED and "SSH-2.0" not in through.stdout
    tunnel = subprocess.run(jump.ssh_command(session, options=("-N", "-w", "0:0", "-o", "ExitOnForwardFailure=yes")), capture_output=True,
                            timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip
    assert tunnel.returncode == REFUSED
    assert jump.ssh(session, "echo $SSH_AUTH_SOCK$DISPLAY", options=("-A", "-X", "-Y")).stdout == "\n"


def test_file_transfer_is_bound_and_ends_in_the_middle(jump):  # noqa: F811
    session = jump.session()
    options = ["-F", "none", "-o", "IdentitiesOnly=yes", "-i", session.key, "-o", "BindAddress=10.90.0.7", "-o", "BatchMode=yes",
               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-l", "8000"]  # fmt: skip
    commands = [["scp", "-q", "-O", *options, "alice@10.60.0.5:/bin/bash", "/tmp/scp-copy"],
                ["sftp", "-q", "-s", "/usr/lib/openssh/sftp-server", *options, "alice@10.60.0.5:/bin/bash", "/tmp/sftp-copy"]]  # fmt: skip
    transfers = [subprocess.Popen(jump.inside(*command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                 for command in commands]  # fmt: skip
    wait_for(lambda: len(jump.status()) == 2, "both are bound")
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert all(transfer.wait(10) != 0 for transfer in transfers)


def test_what_tries_to_outlive_its_session(jump):  # noqa: F811
    """Fork-hoppers, ignored signals, stopped processes, changed names, other namespaces: all in one login."""
    session, other = jump.session(), jump.session(login="bob")
    kept = long_login(jump, other, user="bob")
    name = f"hop{mark()}"
    program = f"""
import os, signal, subprocess, sys, time
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP): signal.signal(number, signal.SIG_IGN)
def hop():
    while True:
        if os.fork(): os._exit(0)
        os.setsid()
for number in range(20):
    if os.fork() == 0: hop()
if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)
subprocess.Popen(['unshare', '-Urpf', 'sleep', '{name[3:]}'])
print('started', flush=True)
time.sleep(1000)
# {name}
"""
    login = subprocess.Popen(jump.ssh_command(session, f"cat > /tmp/{name}; exec python3 /tmp/{name}"), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    login.stdin.write(program)
    login.stdin.close()
    assert login.stdout.readline() == "started\n"
    assert jump.ssh(session, f"find /sys/fs/cgroup -writable -name cgroup.procs 2>/dev/null; for p in $(cut -d: -f3 /proc/self/cgroup); do "
                    "echo $$ > /sys/fs/cgroup$p/../../../system/cgroup.procs; done 2>/dev/null; cat /proc/self/cgroup").stdout.count(session.id) == 1
    start = time.monotonic()
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    assert time.monotonic() - start < 8
    assert jump.processes_named(name) == []
    assert kept.poll() is None and [s["session"] for s in jump.status()] == [other.id]
    assert jump.ssh(other, "true", user="bob").returncode == 0
    kill_inside(kept)


def test_a_stopped_terminal_holds_up_nothing(jump):  # noqa: F811
    session = jump.session()
    master, slave = pty.openpty()
    login = subprocess.Popen(jump.ssh_command(session, "stty ixon; yes", options=("-tt",)), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    wait_for(lambda: select.select([master], [], [], 0)[0], "output")
    os.write(master, b"\x13")
    login.send_signal(signal.SIGSTOP)  # and a client that reads nothing any more
    jump.broker.close(session.id, "revoked")
    closed(jump, session)
    login.kill()
    login.wait(10)
    os.close(master)


def test_a_flood_of_questions_of_every_phase(jump):  # noqa: F811
    session = jump.session()
    login = long_login(jump, session)
    certificate = (jump.directory / f"{session.key.name}-cert.pub").read_text().split()[1]
    flood = f"""
import itertools, os, socket
certificate = '{certificate}'
packets = [b'', b'jitwg1', b'jitwg1\\n', os.urandom(90000), b'jitwg1\\nphase=sudo\\nuser=alice\\n', b'jitwg1\\nphase=close\\nuser=alice\\n',
           b'jitwg1\\nphase=sudo\\nuser=alice\\nservice=sudo\\n', b'jitwg1\\nphase=job_open\\nuser=alice\\nservice=cron\\n',
           b'jitwg1\\nphase=account\\nuser=alice\\n', b'jitwg1\\nphase=account\\nphase=account\\nuser=alice\\n',
           f'jitwg1\\nphase=principals\\nuser=alice\\ncertificate={{certificate}}\\n'.encode(),
           f'jitwg1\\nphase=open\\nuser=alice\\ncertificate={{certificate}}\\nclient=10.90.0.7\\n'.encode()]
for _ in range(3): os.fork()
for n, packet in enumerate(itertools.cycle(packets)):
    try:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect('/run/jitwg/hostd.sock'); s.send(packet)
        if n % 3: assert b'verdict=allow' not in s.recv(100000)
    except OSError: pass
    if n == 200: print('going', flush=True)
"""
    flooding = subprocess.Popen(jump.inside("setpriv", "--reuid=2002", "--regid=2002", "--clear-groups", sys.executable, "-c", flood),
                                stdout=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    assert flooding.stdout.readline() == "going\n"
    try:
        for _ in range(5):
            assert jump.ssh(session, "true").returncode == 0
        assert login.poll() is None and len(jump.status()) >= 1
        size = len(jump.hostd_log())
        time.sleep(2)
        assert len(jump.hostd_log()) - size < 20_000, "anybody could fill the journal"
        jump.broker.close(session.id, "revoked")
        closed(jump, session)
    finally:
        jump.run("pkill", "-KILL", "-U", "2002")
        flooding.wait(10)
    assert login.wait(10) != 0


def test_hostile_state_files(jump):  # noqa: F811
    session, other = jump.session(), jump.session()
    login, kept = long_login(jump, session), long_login(jump, other)
    jump.stop_hostd(signal.SIGKILL)
    jump.run("sh", "-ec", f"""cd {LOGINS}; for f in {session.id}.*; do echo garbage > $f; done
        head -c 100000 /dev/zero > big; mkdir directory; ln -s /etc/shadow link; mkfifo fifo; : > empty; echo half > x.new
        sed s,{other.id},{session.id},g {other.id}.* > elsewhere""")
    try:
        jump.start_hostd()
        assert "is damaged" in jump.hostd_log()
        jump.broker.close(session.id, "revoked")  # by its cgroup, whatever the files say
        closed(jump, session)
        assert login.wait(10) != 0
        assert jump.ssh(other, "true").returncode == 0
    finally:
        jump.run("sh", "-c", f"rm -rf {LOGINS}/*")
        kill_inside(kept) if kept.poll() is None else None
