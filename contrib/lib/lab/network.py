"""The wires: two switches in a network namespace of their own, and each host's addresses."""

import os
import signal
import socket
import subprocess

from . import kernel, world
from .errors import LabError

_SWITCHES = ("mgmt", "internet")


def _ip(lines):
    batch = "\n".join(lines) + "\n"
    done = subprocess.run(["ip", "-batch", "-"], input=batch, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"ip: {done.stderr.strip()}")


class Switches:
    """A namespace with one bridge per network and nobody in it.

    Only the file descriptor keeps it alive. gw's init inherits that, so the wires end with gw and
    there is no process and no name to clean up.
    """

    def __init__(self):
        ours, theirs = socket.socketpair()
        self._channel = ours
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                ours.close()
                kernel.unshare(kernel.NEWNET)
                theirs.send(b"ready")
                _plug(_parse_pids(theirs.recv(4096)))
                theirs.send(b"ok")
                status = 0
            except (OSError, LabError) as error:
                theirs.send(str(error).encode())
            finally:
                os._exit(status)
        theirs.close()
        self._expect(b"ready")
        self.fd = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def _expect(self, wanted):
        answer = self._channel.recv(4096)
        if answer != wanted:
            raise LabError(f"cannot make the lab's network: {answer.decode() or 'no answer'}")

    def connect(self, pids):
        """Plugs each host in; pids: host -> pid of its init, as seen from here."""
        self._channel.send(",".join(f"{host}={pid}" for host, pid in pids.items()).encode())
        self._expect(b"ok")

    def close(self):
        """Ends the helper; the wires stay as long as somebody holds the file descriptor."""
        self._channel.close()
        os.waitpid(self._pid, 0)
        os.close(self.fd)


def _parse_pids(packet):
    if not packet:
        os._exit(0)  # `up` gave up before there were hosts
    return dict(pair.split("=") for pair in packet.decode().split(","))


def _plug(pids):
    lines = []
    for switch in _SWITCHES:
        lines += [f"link add {switch} type bridge forward_delay 0", f"link set {switch} up"]
    for host, pid in pids.items():
        for interface in world.HOSTS[host].interfaces:
            port = f"{host}-{interface.switch}"
            lines += [
                f"link add {port} type veth peer name {interface.name} netns {pid}",
                f"link set {port} master {interface.switch}",
                f"link set {port} up",
            ]
    _ip(lines)


def _write_sysctl(name, value):
    with open(f"/proc/sys/net/{name}", "w") as setting:
        setting.write(value)


def configure(host):
    """Inside the host, once its interfaces are there."""
    # Said outright: a new namespace inherits some of these from whatever the machine does.
    _write_sysctl("ipv4/ip_forward", "1" if host.forwards else "0")
    for scope in ("all", "default"):
        _write_sysctl(f"ipv4/conf/{scope}/rp_filter", "2")
    _write_sysctl("ipv4/ping_group_range", "0 2147483647")
    lines = ["link set lo up"]
    for interface in host.interfaces:
        lines += [
            f"address add {interface.address} dev {interface.name}",
            f"link set {interface.name} up",
        ]
    lines += [f"route add {destination} via {via}" for destination, via in host.routes]
    _ip(lines)


def kernel_has_wireguard():
    """Tried rather than looked up: the module may be built in, loadable, or neither."""
    made = subprocess.run(["ip", "link", "add", "probe", "type", "wireguard"], capture_output=True)
    if made.returncode != 0:
        return False
    subprocess.run(["ip", "link", "delete", "probe"], check=True, capture_output=True)
    return True
