"""The account for emergencies: it logs in through Debian's sshd and PAM when any of ours is broken, and never without being recorded."""

import os
import shutil
import socket
import subprocess
import threading

import pytest

from jump_host_test import REFUSED, jump, sandbox  # noqa: F401
from jump_sandbox import ADDRESS, HELPERS, INNER, RESCUE, wait_for

if shutil.which("sudo") is None:
    pytest.skip("SKIPPED: sudo is not installed", allow_module_level=True)

# What breaks, by what, and how it is mended. Everything that is ours, at least once.
BROKEN = {
    "nothing": ("true", "true"),
    "the module is gone": (f"mv {HELPERS}/pam_jitwg.so /run/module", f"mv /run/module {HELPERS}/pam_jitwg.so"),
    "the module is garbage": (f"mv {HELPERS}/pam_jitwg.so /run/module; head -c 9999 /dev/urandom > {HELPERS}/pam_jitwg.so",
                              f"mv /run/module {HELPERS}/pam_jitwg.so"),
    "the module is empty": (f"mv {HELPERS}/pam_jitwg.so /run/module; : > {HELPERS}/pam_jitwg.so", f"mv /run/module {HELPERS}/pam_jitwg.so"),
    "all helpers are gone": (f"mv {HELPERS} /run/helpers", f"mv /run/helpers {HELPERS}"),
    "the managed file is a pipe": ("mv /etc/jitwg/managed /run/managed; mkfifo /etc/jitwg/managed", "mv /run/managed /etc/jitwg/managed"),
    "the managed file is garbage": ("cp -p /etc/jitwg/managed /run/managed; head -c 999 /dev/urandom > /etc/jitwg/managed",
                                    "mv /run/managed /etc/jitwg/managed"),
    "the managed file manages everybody": ("cp -p /etc/jitwg/managed /run/managed; echo 'uids 0-4294967295' > /etc/jitwg/managed",
                                           "mv /run/managed /etc/jitwg/managed"),
    "the CA's file is gone": ("mv /etc/jitwg/ca.pub /run/ca.pub", "mv /run/ca.pub /etc/jitwg/ca.pub"),
    "all of /etc/jitwg is gone": ("mv /etc/jitwg /run/etc-jitwg", "mv /run/etc-jitwg /etc/jitwg"),
    "the socket is another's": ("mv /run/jitwg/hostd.sock /run/sock; mkfifo -m 666 /run/jitwg/hostd.sock; chown bob /run/jitwg/hostd.sock",
                                "mv /run/sock /run/jitwg/hostd.sock"),
    "all of /run/jitwg is gone": ("mv /run/jitwg /run/run-jitwg", "mv /run/run-jitwg /run/jitwg"),
    "no user jitwg": ("sed -i.jit s/^jitwg:/gone:/ /etc/passwd", "mv /etc/passwd.jit /etc/passwd"),
    "disks are full": ("mount -t tmpfs -o size=4k tmpfs /var; for disk in /var /run /home; do [ $disk = /var ] || mount -o remount,size=2m $disk; "
                       "head -c 3m /dev/zero > $disk/filler; done; true",
                       "for disk in /run /home; do rm $disk/filler; mount -o remount,size=64m $disk; done; umount /var"),
}  # fmt: skip


class Journal:
    """Where journald's socket is in the sandbox: keeps the entries, fields by name."""

    def __init__(self, jump):
        self.entries = []
        root = f"/proc/{jump.init}/root/run/systemd/journal"
        os.makedirs(root, exist_ok=True)
        self.path = f"{root}/socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := self._socket.recv(1 << 16):
            self.entries.append(dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line))

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        os.unlink(self.path)

    def rescues(self):
        return [entry for entry in self.entries if entry.get("JITWG_EVENT") == "rescue.login"]


@pytest.fixture
def journal(jump):  # noqa: F811
    made = Journal(jump)
    yield made
    made.close()


def ssh(jump, *command, user=RESCUE, key="rescue", options=()):  # noqa: F811
    return subprocess.run(jump.inside(
        "ssh", "-F", "none", "-i", jump.directory / key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-b", INNER,
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", *options, f"{user}@{ADDRESS}", *command),
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip


def sh(jump, script):  # noqa: F811
    done = jump.run("sh", "-c", script)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("hostd", ["up", "dead"])
@pytest.mark.parametrize("what", BROKEN)
def test_it_logs_in_whatever_is_broken_and_is_recorded(jump, journal, what, hostd):  # noqa: F811
    breaks, mends = BROKEN[what]
    if hostd == "dead":
        jump.stop_hostd(9)
    sh(jump, breaks)
    try:
        done = ssh(jump, "id -un; echo sid=$JITWG_SESSION_ID; sudo -n id -un; sudo -n -i id -un")
    finally:
        sh(jump, mends)
    assert done.returncode == 0 and done.stdout == f"{RESCUE}\nsid=\nroot\nroot\n" and not done.stderr, (done, (jump.directory / "sshd.log").read_text()[-2000:])
    (told,) = wait_for(journal.rescues, "the alert")
    assert told["PRIORITY"] == "1" and told["JITWG_PERSON"] == RESCUE and len(told["MESSAGE_ID"]) == 32
    assert told["MESSAGE"] == f"rescue login of {RESCUE} from {INNER}: no session was asked for; session=-"


def test_without_journald_it_is_an_alert_in_syslog(jump):  # noqa: F811
    sh(jump, "mkdir /run/dev; cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /run/dev; mkdir /run/dev/pts; ln -s pts/ptmx /run/dev/ptmx; "
             "mount --rbind /dev/pts /run/dev/pts; mount --rbind /run/dev /dev")
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.settimeout(10)
    try:
        log.bind(f"/proc/{jump.init}/root/run/dev/log")
        assert ssh(jump, "true").returncode == 0
        lines = []
        while not any("rescue login" in line for line in lines):
            lines.append(log.recv(4096).decode())
        assert lines[-1].startswith(f"<{10 * 8 + 1}>") and f"rescue login of {RESCUE} from {INNER}" in lines[-1], lines  # authpriv.alert
    finally:
        log.close()
        sh(jump, "umount -l /dev")


def test_a_recorder_that_hangs_delays_it_by_seconds_only(jump):  # noqa: F811
    path = f"/proc/{jump.init}/root/run/systemd/journal"
    os.makedirs(path, exist_ok=True)
    full = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    full.bind(f"{path}/socket")
    try:
        flood = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        flood.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                flood.sendto(b"x", f"{path}/socket")
        assert ssh(jump, "true", options=("-o", "ConnectTimeout=15")).returncode == 0
    finally:
        full.close()
        os.unlink(f"{path}/socket")


def test_its_keys_are_root_s_alone(jump):  # noqa: F811
    sh(jump, f"mkdir -p ~{RESCUE}/.ssh; cp /etc/ssh/loose_alice ~{RESCUE}/.ssh/authorized_keys; chown -R {RESCUE} ~{RESCUE}/.ssh; chmod 700 ~{RESCUE}/.ssh")
    assert ssh(jump, "true", key="alice").returncode == REFUSED, "a key in its home is none"
    sh(jump, f"chmod 666 /etc/ssh/jitwg-rescue_keys/{RESCUE}")
    assert ssh(jump, "true").returncode == REFUSED, "others could have put it there"
    sh(jump, f"chmod 644 /etc/ssh/jitwg-rescue_keys/{RESCUE}")
    assert ssh(jump, "true").returncode == 0


def test_it_has_no_password_and_no_certificate(jump):  # noqa: F811
    offered = ssh(jump, "true", key="alice", options=("-o", "PreferredAuthentications=none", "-v", "-o", "LogLevel=VERBOSE"))
    assert "Permission denied (publickey)." in offered.stderr, offered.stderr
    session = jump.session(login=RESCUE)
    assert jump.ssh(session, "true", user=RESCUE).returncode == REFUSED, "a session's certificate is not its key"


def test_its_key_opens_nobody_else_s_door(jump):  # noqa: F811
    for user in ("alice", "root"):
        assert ssh(jump, "true", user=user).returncode == REFUSED


def test_managed_people_do_not_jump_with_it(jump, journal):  # noqa: F811
    """The jump is by name: with the module gone nobody else gets past its line."""
    session = jump.session()
    assert jump.ssh(session, "true").returncode == 0
    sh(jump, f"mv {HELPERS}/pam_jitwg.so /run/module")
    try:
        assert jump.ssh(session, "true").returncode != 0
        for user in ("alice", "bob"):  # as from a login before it went
            assert jump.run("setpriv", "--reuid", user, "--clear-groups", "sudo", "-n", "id").returncode != 0
        assert jump.run("setpriv", "--reuid", RESCUE, "--clear-groups", "sudo", "-n", "id", "-un").stdout == "root\n"
    finally:
        sh(jump, f"mv /run/module {HELPERS}/pam_jitwg.so")
    assert jump.ssh(session, "true").returncode == 0
    assert not journal.rescues()


def test_when_the_jump_itself_is_gone_it_needs_a_session_like_everybody(jump):  # noqa: F811
    """Without Debian's pam_succeed_if the line fails shut, for the managed; the account stays excepted by the managed file."""
    modules = sh(jump, "dirname $(find / -xdev -name pam_succeed_if.so 2>/dev/null | head -1)").strip()
    sh(jump, f"mount --bind /dev/null {modules}/pam_succeed_if.so")
    try:
        session = jump.session()
        assert jump.ssh(session, "true").returncode == 0
        assert ssh(jump, "true").returncode == 0
        jump.stop_hostd(9)
        assert jump.ssh(session, "true").returncode != 0
    finally:
        sh(jump, f"umount {modules}/pam_succeed_if.so")


