"""Fresh Debian machines: one tree made by mmdebstrap, booted several times by systemd-nspawn, each its own copy of it.

The kernel is this machine's, everything else is the machine's own: its init, its files, its network.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

from realm import ROOT, wait_for

CACHE = ROOT / "build" / "debian"
# What an installed Debian server has, and what stands in for a kernel without WireGuard.
_SERVER = ["dbus", "iproute2", "libpam-systemd", "openssh-server", "polkitd", "procps", "sudo", "systemd-sysv", "netcat-openbsd"]
_STAND_IN = ["wireguard-go"]


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("mmdebstrap", "systemd-nspawn", "ip") if shutil.which(name) is None]
    return f"needs {', '.join(missing)}" if missing else None


def tree(packages):
    """The tree with these packages besides a server's, made once for each set of them."""
    wanted = sorted({*_SERVER, *_STAND_IN, *packages})
    digest = hashlib.sha256(("\n".join(wanted) + pathlib.Path(__file__).read_text()).encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    place, making = CACHE / digest, CACHE / f"making-{digest}"
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            for old in CACHE.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(wanted)}",
                            "bookworm", making], check=True, stdin=subprocess.DEVNULL)  # fmt: skip
            making.rename(place)
    return place


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, **more)


class Network:
    """Switches in a network namespace of their own; hosts are plugged in by namespace."""

    def __init__(self, prefix):
        self.prefix, self.namespaces = prefix, []
        self.wires = self.namespace("wires")

    def namespace(self, name):
        full = f"{self.prefix}-{name}"
        run("ip", "netns", "add", full)
        self.namespaces.append(full)
        run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def switch(self, name):
        run("ip", "-n", self.wires, "link", "add", name, "type", "bridge")
        run("ip", "-n", self.wires, "link", "set", name, "up")

    def plug(self, namespace, switch, address):
        port = f"p{len(run('ip', '-n', self.wires, '-br', 'link', capture_output=True).stdout.splitlines())}"
        run("ip", "-n", self.wires, "link", "add", port, "type", "veth", "peer", "name", f"{switch}0", "netns", namespace)
        run("ip", "-n", self.wires, "link", "set", port, "master", switch, "up")
        run("ip", "-n", namespace, "link", "set", f"{switch}0", "up")
        run("ip", "-n", namespace, "address", "add", address, "dev", f"{switch}0")

    def close(self):
        for full in self.namespaces:
            subprocess.run(["ip", "netns", "del", full])


class Machine:
    def __init__(self, directory, base, namespace, name):
        self.name, self.namespace, self.place = name, namespace, pathlib.Path(directory) / name
        self.root = self.place / "root"
        layers = self.place / "layers"
        for folder in (layers, self.root):
            folder.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", layers)
        for folder in ("upper", "work"):
            (layers / folder).mkdir()
        run("mount", "-t", "overlay", "-o", f"lowerdir={base},upperdir={layers}/upper,workdir={layers}/work", "overlay", self.root)
        (self.root / "etc/hostname").write_text(name + "\n")
        (self.root / "etc/machine-id").write_text("")
        self.start()

    def start(self):
        # cgroup v2, and the namespace's own /proc/sys/net to write to, as on a machine.
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe", "--capability=all",
             f"--directory={self.root}", f"--network-namespace-path=/run/netns/{self.namespace}", f"--machine={self.namespace}", "--bind=/dev/net/tun"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_up(self):
        wait_for(lambda: self._leader() and self.run("systemctl", "is-active", "multi-user.target").returncode == 0,
                 f"{self.name} up", seconds=180)  # fmt: skip

    def reboot(self):
        self.run("systemctl", "poweroff")
        self.process.communicate(timeout=120)
        self.start()
        self.wait_up()

    def _leader(self):
        assert self.process.poll() is None, self.process.stderr.read()
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return children[0] if children else None

    def run(self, *words, user=None, **more):
        return self.shell(" ".join(f"'{word}'" for word in words), user, **more)

    def shell(self, line, user=None, timeout=60):
        """As typed by root, or by a person, at a login of their own."""
        words = ["nsenter", f"--target={self._leader()}", "--all", "--", "/usr/bin/env", "-i", "TERM=dumb", "LANG=C.UTF-8",
                 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]  # fmt: skip
        as_whom = ["runuser", "-l", user, "-c", line] if user else ["HOME=/root", "sh", "-c", f"cd /root && {line}"]
        return subprocess.run([*words, *as_whom], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)

    def journal(self):
        return self.run("journalctl", "--no-pager", "-n", "80").stdout

    def close(self):
        for _ in range(2):  # asks it to power off; ends it
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    pass
        self.process.stderr.close()
        for mount in (self.root, self.place / "layers"):
            for _ in range(50):
                if subprocess.run(["umount", "--recursive", mount], capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)
