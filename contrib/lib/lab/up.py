"""`up`: claims the name, makes the hosts, wires them, starts their programs."""

import json
import os
import signal
import socket
import time

from . import build, cgroup, client, init, kernel, keys, network, units, world
from .down import remove
from .errors import LabError, say
from .hosts import Plan
from .start import start_all

_TOOLS = (
    "/usr/sbin/sshd", "/usr/bin/ssh-agent", "/usr/bin/ssh-keygen", "/usr/bin/wg", "/usr/bin/sudo",
    "/usr/bin/setpriv", "/usr/bin/openssl", "/lib/systemd/systemd-journald",
)  # fmt: skip

_BOOT_WITHIN = 300  # seconds; of all hosts at once, on an emulated machine


def _check_machine():
    if os.geteuid() != 0:
        raise LabError("needs root: it makes network namespaces")
    if not os.path.isdir("/proc/sys/net/ipv6"):
        raise LabError("needs IPv6: this machine's kernel was started without it")
    absent = [tool for tool in _TOOLS if not os.access(tool, os.X_OK)]
    if absent:
        raise LabError(f"not installed: {', '.join(absent)} (see contrib/lib/packages-lab)")


def _claim(lab):
    """The state folder is the lab's existence: who makes it owns the name."""
    while True:
        os.makedirs(world.STATE_ROOT, mode=0o755, exist_ok=True)
        try:
            os.mkdir(world.state_dir(lab), 0o700)
            return
        except FileNotFoundError:
            continue  # the last other lab just went, and took the parent with it
        except FileExistsError:
            break
    try:
        client.ask(lab, next(iter(world.HOSTS)), op="status")
    except LabError:
        raise LabError(
            f"lab {lab} was left behind by an `up` that did not finish or has crashed: "
            "run `down` first"
        ) from None
    raise LabError(f"lab {lab} is already up")


def _interrupted(*_):
    raise KeyboardInterrupt  # cleans up, as Ctrl-C does


def _wants_systemd(asked):
    of_the_machine = "systemd" if os.path.isdir("/run/systemd/system") else "lab"
    wanted = asked or os.environ.get("JITWG_LAB_INIT") or of_the_machine
    if wanted not in ("lab", "systemd"):
        raise LabError(f"no init {wanted}: lab or systemd")
    if wanted == "lab":
        return False
    if why := units.why_not():
        raise LabError(f"no systemd in the hosts: {why}")
    return True


def up(lab, build_given, with_daemons, keep, init):
    _check_machine()
    systemd = _wants_systemd(init)
    directory = build.find(build_given)
    missing = build.missing(directory)
    if with_daemons and missing:
        raise LabError(f"missing: {', '.join(missing)} (build it first)")
    _claim(lab)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        _make(lab, directory, with_daemons, systemd)
        start_all(lab, with_daemons)
    except BaseException:
        if keep:
            say(f"keeping what there is of lab {lab}, to look at; `down` removes it")
        else:
            remove(lab)
        raise
    say(f"lab {lab} is up after {time.monotonic() - began:.1f} s")


def _make(lab, directory, with_daemons, systemd):
    state = world.state_dir(lab)
    os.mkdir(f"{state}/root")
    build.copy_binaries(directory, f"{state}/bin")
    plan = Plan(
        lab=lab,
        keys=keys.make(state),
        binaries=f"{state}/bin",
        root=f"{state}/root",
        policy_template=build.policy_template(),
        sshd_files=build.sshd_files(directory) if with_daemons else None,
        echo_service=build.echo_service(),
        systemd=units.Sources(*build.unit_sources()) if systemd else None,
    )
    about = {"build": directory, "realm": plan.keys.realm, "daemons": with_daemons}
    with open(f"{state}/lab.json", "w") as file:
        json.dump({**about, "init": "systemd" if systemd else "lab"}, file)
    network.start_switches(lab)
    channels, pids = {}, {}
    for host in world.HOSTS.values():
        cgroup.make(lab, host.name)
        channels[host.name] = _spawn(plan, host)
    for host, channel in channels.items():
        pids[host] = int(_told(channel, host))
        inside = f"/proc/{pids[host]}/root{world.CONTROL_SOCKET}"
        os.symlink(inside, world.control_path(lab, host))
    client.ask(lab, world.SWITCHES, op="plug", pids=pids)
    for channel in channels.values():
        channel.send(b"wired")
    for host, channel in channels.items():
        _told(channel, host)
        channel.close()
    for host in world.HOSTS:
        _wait_for_agent(lab, host)


def _wait_for_agent(lab, host):
    deadline = time.monotonic() + _BOOT_WITHIN
    while True:
        try:
            return client.connect(lab, host).close()
        except LabError as error:
            if time.monotonic() > deadline:
                raise LabError(f"host {host} did not boot within {_BOOT_WITHIN} s") from error
            time.sleep(0.02)


def _told(channel, host):
    message = channel.recv(65536).decode()
    if not message or message.startswith("error"):
        raise LabError(f"host {host} did not come up: {message or 'its init died'}")
    return message


def _spawn(plan, host):
    """Forks the host's init into new namespaces; returns a channel on which it tells its pid (as
    seen from here), waits for "wired", and tells when it is ready."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        os.waitpid(pid, 0)
        return ours
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        ours.close()
        cgroup.join(cgroup.path(plan.lab, host.name))
        flags = kernel.NEWNS | kernel.NEWNET | kernel.NEWUTS | kernel.NEWIPC
        kernel.unshare(flags | kernel.NEWPID | kernel.NEWCGROUP)
        first = os.fork()
        if first:
            theirs.send(str(first).encode())
            os._exit(0)
        init.main(plan, host, theirs)
    except BaseException as error:
        theirs.send(f"error: {error or repr(error)}".encode())
    finally:
        os._exit(1)
