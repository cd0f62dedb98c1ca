"""The wires: two switches in a network namespace of their own, and each host's addresses."""

import os
import signal
import subprocess

from . import cgroup, kernel, packets, world
from .children import close_inherited
from .errors import LabError

_SWITCHES = ("mgmt", "internet")


def _ip(lines):
    batch = "\n".join(lines) + "\n"
    done = subprocess.run(["ip", "-batch", "-"], input=batch, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"ip: {done.stderr.strip()}")


def start_switches(lab):
    """Forks the process that holds the wires, in a network namespace with nobody else in it.

    It answers on a control socket as the hosts do, one request a connection: `plug` and `link`.
    """
    control = packets.listen(world.control_path(lab, world.SWITCHES))
    cgroup.make(lab, world.SWITCHES)
    if os.fork():
        control.close()
        return
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        cgroup.join(cgroup.path(lab, world.SWITCHES))
        os.setsid()
        close_inherited({control.fileno()})
        kernel.set_process_name("lab-switches")
        kernel.unshare(kernel.NEWNET)
        _serve(control)
    finally:
        os._exit(1)


def _serve(control):
    while True:
        connection, _ = control.accept()
        with connection:
            try:
                request, _ = packets.receive(connection)
                if request is None:
                    continue
                if request["op"] == "plug":
                    _plug(request["pids"])
                else:
                    _link(request["of"], request["state"])
                answer = {}
            except (OSError, LabError, ValueError, KeyError) as error:
                answer = {"error": str(error) or repr(error)}
            try:
                packets.send(connection, answer)
            except OSError:
                pass  # whoever asked has gone


def _port(host, interface):
    return f"{host}-{interface.switch}"


def _plug(pids):
    """Makes the switches and wires each host to them; pids: host -> pid of its init."""
    lines = []
    for switch in _SWITCHES:
        lines += [f"link add {switch} type bridge forward_delay 0", f"link set {switch} up"]
    for host, pid in pids.items():
        for interface in world.HOSTS[host].interfaces:
            port = _port(host, interface)
            lines += [
                f"link add {port} type veth peer name {interface.name} netns {pid}",
                f"link set {port} master {interface.switch}",
                f"link set {port} up",
            ]
    _ip(lines)


def _link(host, state):
    """Down: as if the host's cables were cut. It keeps its addresses and sees no carrier."""
    _ip([f"link set {_port(host, i)} {state}" for i in world.HOSTS[host].interfaces])


def _write_sysctl(name, value):
    with open(f"/proc/sys/net/{name}", "w") as setting:
        setting.write(value)


def configure(host):
    """Inside the host, once its interfaces are there."""
    # Said outright: a new namespace inherits some of these from whatever the machine does.
    _write_sysctl("ipv4/ip_forward", "1" if host.role == "gateway" else "0")
    for scope in ("all", "default"):
        _write_sysctl(f"ipv4/conf/{scope}/rp_filter", "2")
    _write_sysctl("ipv4/ping_group_range", "0 2147483647")
    for scope in ("all", "default"):
        _write_sysctl(f"ipv6/conf/{scope}/disable_ipv6", "0")
        _write_sysctl(f"ipv6/conf/{scope}/forwarding", "1" if host.role == "gateway" else "0")
    lines = ["link set lo up"]
    for interface in host.interfaces:
        lines += [f"link set {interface.name} up"]
        for address in interface.addresses:  # nobody else has it: not to be looked for first
            nodad = " nodad" if ":" in address else ""
            lines += [f"address add {address} dev {interface.name}{nodad}"]
    lines += [f"route add {destination} via {via}" for destination, via in host.routes]
    _ip(lines)


def kernel_has_wireguard():
    """Tried rather than looked up: the module may be built in, loadable, or neither."""
    made = subprocess.run(["ip", "link", "add", "probe", "type", "wireguard"], capture_output=True)
    if made.returncode != 0:
        return False
    subprocess.run(["ip", "link", "delete", "probe"], check=True, capture_output=True)
    return True
