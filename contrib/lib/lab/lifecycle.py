"""`up`, `down` and `status`."""

import json
import os
import shutil
import socket
import sys
import time

from . import build, cgroup, client, init, kernel, keys, network, world
from .errors import LabError
from .hosts import Plan
from .programs import make_listener

_TOOLS = (
    "/usr/sbin/sshd", "/usr/bin/ssh-agent", "/usr/bin/ssh-keygen", "/usr/bin/wg", "/usr/bin/sudo",
    "/usr/bin/setpriv", "/usr/bin/systemd-cat", "/lib/systemd/systemd-journald",
)  # fmt: skip
_DAEMONS = ("jitwg-signer", "jitwgd", "jitwg-gateway", "jitwg-hostd")
# Each stage starts when the one before is ready; within a stage all start at once.
_STAGES = (("wireguard-go", "echo", "jitwg-signer"), ("jitwgd",), ("jitwg-gateway", "jitwg-hostd"))


def _say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def _check_machine():
    if os.geteuid() != 0:
        raise LabError("needs root: it makes network namespaces")
    absent = [tool for tool in _TOOLS if not os.access(tool, os.X_OK)]
    if absent:
        raise LabError(f"not installed: {', '.join(absent)} (see contrib/lib/packages-lab)")


def _claim(lab):
    """The state folder is the lab's existence: who makes it owns the name."""
    os.makedirs(world.STATE_ROOT, mode=0o755, exist_ok=True)
    try:
        os.mkdir(world.state_dir(lab), 0o700)
    except FileExistsError:
        try:
            client.ask(lab, "gw", op="status")
        except LabError:
            raise LabError(
                f"lab {lab} was left behind by an `up` that did not finish or has crashed: "
                "run `down` first"
            ) from None
        raise LabError(f"lab {lab} is already up") from None


def up(lab, build_given, with_daemons, keep):
    _check_machine()
    directory = build.find(build_given)
    missing = build.missing(directory)
    if with_daemons and missing:
        raise LabError(f"missing: {', '.join(missing)} (build it first)")
    _claim(lab)
    began = time.monotonic()
    try:
        _make(lab, directory, with_daemons)
        _start_all(lab, with_daemons)
    except BaseException:
        if keep:
            _say(f"keeping what there is of lab {lab}, to look at; `down` removes it")
        else:
            _remove(lab)
        raise
    _say(f"lab {lab} is up after {time.monotonic() - began:.1f} s")


def _make(lab, directory, with_daemons):
    state = world.state_dir(lab)
    os.mkdir(f"{state}/root")
    build.copy_binaries(directory, f"{state}/bin")
    plan = Plan(
        lab=lab,
        keys=keys.make(),
        binaries=f"{state}/bin",
        broker_socket=f"{state}/broker.sock",
        root=f"{state}/root",
        policy_template=build.policy_template(),
        sshd_files=build.sshd_files(directory) if with_daemons else None,
        echo_service=build.echo_service(),
    )
    with open(f"{state}/lab.json", "w") as file:
        json.dump({"build": directory, "realm": plan.keys.realm, "daemons": with_daemons}, file)
    switches = network.Switches()
    broker = make_listener(world.BROKER_SOCKET, plan.broker_socket)
    try:
        channels, pids = {}, {}
        for host in world.HOSTS.values():
            cgroup.make(lab, host.name)
            # Only gw holds on to these two: the wires and the broker's socket end with gw.
            kept = (switches.fd, broker) if host.name == "gw" else (None, None)
            channels[host.name] = _spawn(plan, host, *kept)
        for host, channel in channels.items():
            pids[host] = int(_told(channel, host))
        switches.connect(pids)
        for channel in channels.values():
            channel.send(b"wired")
        for host, channel in channels.items():
            _told(channel, host)
            channel.close()
    finally:
        broker.close()
        switches.close()


def _told(channel, host):
    message = channel.recv(65536).decode()
    if not message or message.startswith("error"):
        raise LabError(f"host {host} did not come up: {message or 'its init died'}")
    return message


def _spawn(plan, host, switches_fd, broker):
    """Forks the host's init into new namespaces; returns a channel on which it tells its pid (as
    seen from here), waits for "wired", and tells when it is ready."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        os.waitpid(pid, 0)
        return ours
    try:
        ours.close()
        cgroup.join(cgroup.path(plan.lab, host.name))
        flags = kernel.NEWNS | kernel.NEWNET | kernel.NEWUTS | kernel.NEWIPC
        kernel.unshare(flags | kernel.NEWPID | kernel.NEWCGROUP)
        first = os.fork()
        if first:
            theirs.send(str(first).encode())
            os._exit(0)
        init.main(plan, host, theirs, switches_fd, broker)
    except BaseException as error:
        theirs.send(f"error: {error or repr(error)}".encode())
    finally:
        os._exit(1)


def _start(lab, wanted):
    """wanted: [(host, program)], all at once; waits until every one is ready."""
    running = [
        (host, name, client.begin(lab, host, op="start", program=name)) for host, name in wanted
    ]
    for host, name, connection in running:
        try:
            client.finish(connection)
        except LabError as error:
            raise LabError(f"{error}\n{last_words(lab, host, name)}".rstrip()) from error


def last_words(lab, host, program):
    """The last journal lines of a program, for an error message."""
    time.sleep(0.2)  # journald reads at its own pace
    ours, theirs = os.pipe()
    argv = ["journalctl", "--quiet", "-n", "20", "-o", "cat", "-t", program]
    null = os.open("/dev/null", os.O_RDWR)
    connection = client.begin_exec(lab, host, argv, stdio=[null, theirs, null])
    os.close(theirs)
    os.close(null)
    with open(ours, errors="replace") as pipe:
        text = pipe.read()
    client.finish_exec(connection)
    return "".join(f"  {program}: {line}\n" for line in text.splitlines())


def _start_all(lab, with_daemons):
    available = {
        host: client.ask(lab, host, op="status")["programs"] for host in world.HOSTS
    }

    def here(names):
        return [(host, name) for host in available for name in names if name in available[host]]

    agents = [f"ssh-agent-{person}" for person in world.PEOPLE]
    for number, stage in enumerate(_STAGES):
        names = [name for name in stage if with_daemons or name not in _DAEMONS]
        names += [*agents, "sshd"] if number == 0 else []
        _start(lab, here(names))
        if with_daemons:
            _say(f"ready: {', '.join(n for n in names if not n.startswith('ssh-agent-'))}")
    adding = [
        client.begin_exec(lab, "person", ["ssh-add", "-q", f"/home/{person}/.ssh/id_ed25519"], person)
        for person in world.PEOPLE
    ]
    if any([client.finish_exec(connection) for connection in adding]):
        raise LabError("ssh-add failed")


def _remove(lab):
    """Whatever there is of a lab, wherever it stopped. True if there was anything."""
    found = False
    folders = [cgroup.path(lab, host) for host in world.HOSTS]
    for folder in folders:
        if os.path.isdir(folder):
            found = True
            cgroup.kill(folder)
    stuck = [folder for folder in folders if not cgroup.remove(folder)]
    if os.path.isdir(world.state_dir(lab)):
        found = True
        shutil.rmtree(world.state_dir(lab))
    try:
        os.rmdir(world.STATE_ROOT)
    except OSError:
        pass  # other labs are there, or it never was
    if stuck:
        raise LabError(f"these cgroups would not go: {', '.join(stuck)}")
    return found


def down(lab):
    if os.geteuid() != 0:
        raise LabError("needs root")
    if not _remove(lab):
        _say(f"lab {lab} is not up; nothing to do")


def status(lab):
    """As `lab status --json` prints it."""
    try:
        with open(f"{world.state_dir(lab)}/lab.json") as file:
            about = json.load(file)
    except FileNotFoundError:
        if not os.path.isdir(world.state_dir(lab)):
            raise LabError(f"lab {lab} is not up") from None
        about = {"build": None, "realm": None, "daemons": None}
    listed = {}
    for host in world.HOSTS:
        try:
            connection = client.begin(lab, host, op="status")
            pid = client.init_pid(connection)
            listed[host] = {"alive": True, "init": pid, **client.finish(connection)}
        except LabError:
            listed[host] = {"alive": False, "init": None, "programs": {}}
    return {"name": lab, **about, "hosts": listed}
