"""Small networks for one test: each host is a network, mount and process namespace of its own."""

import os
import subprocess
import time

from namespaces import unshare


def why_not():
    """Why this machine cannot, or None."""
    if os.geteuid() != 0:
        return "needs root and network namespaces"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    return None


def kernel_has_wireguard():
    """Tried in a network namespace that takes the interface along."""
    made = subprocess.run(["unshare", "--net", "ip", "link", "add", "probe", "type", "wireguard"], capture_output=True)
    return made.returncode == 0


def wait_for(condition, what, timeout=20.0):
    """Polls until condition() is truthy and returns that."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain for: {what}")
        time.sleep(0.02)
    return value


class Host:
    """Ends with everything in it when closed: its first process takes the process namespace along."""

    def __init__(self, name):
        self.name = name
        # WireGuard's sockets would be shared between network namespaces.
        script = "mkdir -p /run/wireguard && mount -t tmpfs none /run/wireguard && echo up && exec sleep 3600"
        self._holder = subprocess.Popen(
            [*unshare("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"), "sh", "-ec", script],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout.readline() == "up\n"
        (self._pid,) = self._children(self._holder.pid)
        # Duplicate address detection would cost each link its first seconds.
        self.run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0")
        self.run("ip link set lo up")

    @staticmethod
    def _children(pid):
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]

    def _enter(self, command):
        words = command.split() if isinstance(command, str) else list(command)
        return ["nsenter", "-t", str(self._pid), "-n", "-m", "-p", "--", *words]

    def on_its_network(self, command):
        """The command for subprocess, without the host's files and processes: signals reach it."""
        return ["nsenter", f"--net=/proc/{self._pid}/ns/net", "--", *command]

    def run(self, command, check=True, timeout=30, **more):
        done = subprocess.run(self._enter(command), capture_output=True, text=True, timeout=timeout, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: {command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def popen(self, command, **more):
        return subprocess.Popen(self._enter(command), text=True, **more)

    def signal(self, process, number):
        """To the command that popen() started: nsenter itself passes no signals on."""
        for pid in self._children(process.pid):
            os.kill(pid, number)

    def close(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


def connect(one, one_addresses, two, two_addresses, name):
    """A cable between two hosts, `name` at both ends."""
    subprocess.run(
        ["ip", "link", "add", name, "netns", str(one._pid), "type", "veth", "peer", "name", name,
         "netns", str(two._pid)], check=True,
    )  # fmt: skip
    for host, addresses in ((one, one_addresses), (two, two_addresses)):
        for address in addresses:
            host.run(f"ip addr add {address} dev {name}" + (" nodad" if ":" in address else ""))
        host.run(f"ip link set {name} up")
