"""A jump host in namespaces of its own: Debian's sshd and PAM, the module, jitwg-hostd, one fake broker.

Smaller and quicker than contrib/lab, and able to do what a real broker never would. Run as a program it is the
sandbox' first process; as a module it is what tests hold: Jump.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid

from namespaces import unshare
import base64

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("JITWG_BUILD", os.path.join(ROOT, "build", "dev"))
HELPERS = "/usr/local/lib/jitwg"
ADDRESS = "10.60.0.5"
INNER = "10.90.0.7"
PEOPLE = {"alice": 2001, "bob": 2002}
RESCUE = "rescue"  # the account for emergencies
LOOSE_PORT = 2222  # an sshd whose administrator left other ways in


def cgroup2_mount():
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            words = line.split()
            if words[2] == "cgroup2":
                return words[1]
    return None


# ---- inside ---------------------------------------------------------------------------------------------------------


def run(*command):
    subprocess.run(command, check=True)


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def mount_all(directory):
    for path in ("/run", "/home", "/usr/local"):
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", path)
    layers = f"{directory}/etc-layers"
    os.mkdir(layers)
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", layers)
    os.mkdir(f"{layers}/upper")
    os.mkdir(f"{layers}/work")
    options = f"lowerdir=/etc,upperdir={layers}/upper,workdir={layers}/work"
    if subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", "/etc"]).returncode != 0:
        run("cp", "-a", "/etc/.", f"{layers}/upper")
        run("mount", "--bind", f"{layers}/upper", "/etc")
    if os.path.isdir("/var/spool/cron"):  # jobs of the sandbox run in the sandbox
        run("cp", "-a", "/var/spool/cron", f"{layers}/cron")
        run("find", f"{layers}/cron", "-type", "f", "-not", "-name", ".SEQ", "-delete")
        run("mount", "--bind", f"{layers}/cron", "/var/spool/cron")
    run("mount", "-t", "devpts", "-o", "newinstance,gid=5,mode=620,ptmxmode=666", "devpts", "/dev/pts")
    run("mount", "--bind", "/dev/pts/ptmx", "/dev/ptmx")
    for path in ("/run/sshd", "/run/jitwg", "/run/lock", HELPERS):
        os.makedirs(path, exist_ok=True)


def install(directory):
    with open("/etc/passwd", "a") as passwd, open("/etc/group", "a") as group, open("/etc/shadow", "a") as shadow:
        for name, uid in {**PEOPLE, RESCUE: 2009, "jitwg": 850}.items():
            passwd.write(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash\n")
            group.write(f"{name}:x:{uid}:\n")
            shadow.write(f"{name}:*:19000:0:99999:7:::\n")
            os.mkdir(f"/home/{name}", 0o700)
            os.chown(f"/home/{name}", uid, uid)
    os.makedirs("/etc/jitwg", exist_ok=True)
    shutil.copy(f"{directory}/ca.pub", "/etc/jitwg/ca.pub")
    write("/etc/jitwg/managed", "uids 0,1000-59999\n")
    shutil.copy(f"{BUILD}/lib/pam_jitwg.so", HELPERS)
    for name in ("jitwg-principals", "jitwg-hostd"):
        shutil.copy(f"{BUILD}/bin/{name}", HELPERS)
    shutil.copy(f"{ROOT}/contrib/pam/sshd", "/etc/pam.d/sshd")
    write("/etc/sudoers.d/people", "".join(f"{name} ALL=(ALL) NOPASSWD: ALL\n" for name in (*PEOPLE, RESCUE)), 0o440)
    shutil.copy(f"{directory}/host", "/etc/ssh/sandbox_key")
    os.chmod("/etc/ssh/sandbox_key", 0o600)
    listen = f"ListenAddress {ADDRESS}\nHostKey /etc/ssh/sandbox_key\n"
    shutil.rmtree("/etc/ssh/sshd_config.d", ignore_errors=True)
    write("/etc/ssh/sshd_config", f"Include /etc/ssh/sshd_config.d/*.conf\n{listen}")
    run(f"{BUILD}/bin/jitwg-hostd", "setup", "--apply", "--rescue", RESCUE, "--config", f"{directory}/hostd.conf")
    shutil.copy(f"{directory}/rescue.pub", f"/etc/ssh/jitwg-rescue_keys/{RESCUE}")
    with open("/etc/ssh/sshd_config.d/00-jitwg.conf") as file:
        loose = file.read().replace("AuthorizedKeysFile none", "AuthorizedKeysFile /etc/ssh/loose_%u")
    write("/etc/ssh/sshd_loose_config", listen + loose)
    shutil.copy(f"{directory}/alice.pub", "/etc/ssh/loose_alice")


def be_the_jump_host(directory, cgroup):
    write(f"{cgroup}/system/cgroup.procs", "0", 0o644)
    mount_all(directory)
    run("ip", "link", "set", "lo", "up")
    for address in (ADDRESS, INNER, "10.90.0.8"):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    install(directory)
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", f"{directory}/sshd.log"])
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", f"{directory}/sshd-loose.log", "-p", str(LOOSE_PORT),
                      "-f", "/etc/ssh/sshd_loose_config", "-o", "PidFile=none"])
    write(f"{directory}/up", "")
    while True:  # the first process of a pid namespace inherits every orphan
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.1)


# ---- outside --------------------------------------------------------------------------------------------------------


def wait_for(condition, what, within=10.0):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {within} s: {what}")


class Session:
    """A session that the CA signed: what a person's CLI would have written for them.

    `odd` makes a certificate that our signer never would, and a grant that names it all the same.
    """

    def __init__(self, jump, seconds, login, address, source_address, certificate_seconds, odd):
        self.id = str(uuid.uuid4())
        self.id = self.id[:14] + "7" + self.id[15:]
        start = int(time.time())
        self.not_after = start + seconds
        self.key = jump.directory / f"key-{self.id}"
        _keygen("-t", odd.get("key_type", "ed25519"), "-N", "", "-f", self.key)
        at = lambda when: time.strftime("%Y%m%d%H%M%SZ", time.gmtime(when))
        options = ["-O", "clear", "-O", "permit-pty", *odd.get("options", ())]
        if source_address:
            options += ["-O", f"source-address={source_address}"]
        _keygen("-s", jump.directory / "ca", "-I", odd.get("key_id", "jitwg1:{id}").format(id=self.id), "-n", f"jitwg:{self.id}", *options, "-V",
                f"{at(start - 30)}:{at(start + (certificate_seconds or seconds))}", "-z", "7", f"{self.key}.pub")
        blob = base64.b64decode((jump.directory / f"{self.key.name}-cert.pub").read_text().split()[1])
        text = lambda when: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
        raw = hashlib.sha256(self.id.encode()).digest()
        wg_key = base64.b64encode(raw[:31] + bytes([raw[31] & 0x7F])).decode()  # the one spelling of the point
        body = json.dumps({
            "type": "grant", "v": 1, "realm": "sandbox", "session": self.id, "person": "alice", "target": "db-prod",
            "login": login, "wg_public_key": wg_key, "address": [f"{address}/32"], "scope": [f"tcp {ADDRESS}:22"],
            "gateway": {"name": "gw1", "wireguard_key": wg_key, "endpoint": "192.0.2.10:51820"},
            "jump_hosts": [{"name": "jump1", "addresses": [ADDRESS], "host_keys": [jump.host_key]}],
            "certificate_sha256": hashlib.sha256(blob).hexdigest(), "serial": "7", "not_before": text(start),
            "not_after": text(self.not_after), "policy_sha256": "0" * 64, "break_glass": False,
        }).encode()
        signature = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "jitwg-grant", "-f", jump.directory / "ca"],
                                   input=body, capture_output=True, check=True).stdout.decode()
        self.grant = {"body": base64.b64encode(body).decode(), "signature": signature}


def _keygen(*arguments):
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)


def kill_inside(nsenter, how=signal.SIGKILL):
    """nsenter passes no signal on: to what it started, then."""
    for child in _children(nsenter.pid):
        os.kill(child, how)
    nsenter.wait(10)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


class Jump:
    def __init__(self, directory, broker):
        self.directory = directory
        self.broker = broker
        self.hostd = None
        for name in ("ca", "host", "node", "alice", "rescue"):
            _keygen("-t", "ed25519", "-N", "", "-C", "", "-f", directory / name)
        self.host_key = (directory / "host.pub").read_text().strip()
        self.cgroup = f"{cgroup2_mount()}/jitwg-sandbox-{os.getpid()}-{directory.name}"
        os.makedirs(f"{self.cgroup}/system")
        self.write_config()
        command = [*unshare("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"), sys.executable,
                   __file__, str(directory), self.cgroup]
        self.outer = subprocess.Popen(command)
        wait_for(lambda: (directory / "up").exists(), "the sandbox is up")
        children = f"/proc/{self.outer.pid}/task/{self.outer.pid}/children"
        with open(children) as file:
            self.init = int(file.read().split()[0])

    def write_config(self, **more):
        keys = {"broker": f"unix:{self.directory}/broker.sock", "node": "jump1", "node-key": self.directory / "node",
                "ca": "/etc/jitwg/ca.pub", "realm": "sandbox", "cgroup-root": self.cgroup, "grace": "1s",
                "state-dir": self.directory / "state", "runtime-dir": "/run/jitwg", **more}
        (self.directory / "hostd.conf").write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))

    def inside(self, *command):
        return ["nsenter", "-t", str(self.init), "-m", "-n", "-p", "--", *map(str, command)]

    def run(self, *command, **more):
        return subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=60, **more)

    def start_hostd(self, **environment):
        log = open(self.directory / "hostd.log", "a")
        self.hostd = subprocess.Popen(self.inside(f"{HELPERS}/jitwg-hostd", "--config", self.directory / "hostd.conf"),
                                      stdout=log, stderr=log, env={**os.environ, **environment})
        wait_for(lambda: self.broker.watched() and self.run("test", "-S", "/run/jitwg/hostd.sock").returncode == 0,
                 "hostd watches and listens")

    def stop_hostd(self, how=signal.SIGTERM):
        kill_inside(self.hostd, how)
        self.hostd = None
        wait_for(lambda: not self.broker.watched(), "the broker noticed")

    def pause_hostd(self):
        for pid in _children(self.hostd.pid):
            os.kill(pid, signal.SIGSTOP)

    def resume_hostd(self):
        # nsenter stops itself with its child.
        for pid in (*_children(self.hostd.pid), self.hostd.pid):
            os.kill(pid, signal.SIGCONT)

    def hostd_log(self):
        return (self.directory / "hostd.log").read_text()

    def session(self, seconds=600, login="alice", address=INNER, source_address=INNER, opened=True, certificate_seconds=None, **odd):
        session = Session(self, seconds, login, address, source_address, certificate_seconds, odd)
        if opened:
            self.broker.open(session.id, session.grant)
            wait_for(lambda: self.broker.report(session.id, "open"), "the node has it open")
        return session

    def ssh_command(self, session, *command, user="alice", source=INNER, options=()):
        return self.inside(
            "ssh", "-F", "none", *options, "-i", session.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-b", source,
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            f"{user}@{ADDRESS}", *command)

    def ssh(self, session, *command, **more):
        return subprocess.run(self.ssh_command(session, *command, **more), capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)

    def status(self):
        result = self.run(f"{BUILD}/bin/jitwg-hostd", "status", "--json", "--config", self.directory / "hostd.conf")
        assert result.returncode == (5 if self.hostd is None else 0), result
        return json.loads(result.stdout)["logins"]

    def processes_named(self, word):
        return self.run("pgrep", "-f", word).stdout.split()

    def close(self):
        self.outer.kill()
        self.outer.wait(10)
        with open(f"{self.cgroup}/cgroup.kill", "w") as file:
            file.write("1")
        wait_for(self._removed, "the cgroups are gone")

    def _removed(self):
        for path, folders, _ in os.walk(self.cgroup, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return not os.path.exists(self.cgroup)


if __name__ == "__main__":
    be_the_jump_host(sys.argv[1], sys.argv[2])
