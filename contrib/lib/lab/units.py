"""A host whose PID 1 is systemd: what it boots to, and the lab's programs as its units.

jitwg's daemons run by contrib/systemd, installed where an admin's `cmake --install` puts them. Of the
machine's own units a host starts the few named here and nothing else. Hosts without a daemon of jitwg
stay with the lab's own PID 1: the emulated machine of tests/vm feels every process.
"""

import glob
import os
import signal
import subprocess
from dataclasses import dataclass

from . import hosts, packets, world
from .agent import Agent
from .children import exec_child
from .errors import LabError
from .files import empty_folder, make_folder, write
from .programs import describe

_SYSTEMD = "/lib/systemd/systemd"
_OF_THE_MACHINE = "/usr/lib/systemd/system"
_OF_JITWG = "/usr/local/lib/systemd/system"
_OF_THE_LAB = "/etc/systemd/system"
_HELD = "/run/lab/held"  # a file here by a program's name: it is not to run
_PACKAGE = "/usr/local/lib/lab/package"
_WANTED = (
    "systemd-journald.service", "systemd-sysusers.service", "systemd-tmpfiles-setup.service",
    "lab-agent.service",
)  # fmt: skip
_WANTED_FOR_LOGINS = ("dbus.service", "systemd-logind.service", "systemd-user-sessions.service")
_UNIT_NAMES = {"sshd": "ssh"}  # where Debian has another name for it

_AGENT_SCRIPT = f"""import sys
sys.path.insert(0, "{_PACKAGE}")
from lab.units import serve
serve(sys.argv[1])
"""
_AGENT_UNIT = """[Unit]
Description=What answers `lab exec`, `lab start` and the like
After=dbus.service systemd-logind.service systemd-user-sessions.service
[Service]
Type=exec
ExecStart=/usr/bin/python3 -IS /usr/local/lib/lab/agent.py {host}
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
LimitMEMLOCK=infinity
"""
# Stopped or killed it stays so until `lab start`. Who connects to its sockets meanwhile is kept
# waiting: refusing to start would end in systemd's trigger limit, and close them.
_DROP_IN = """[Service]
Restart=no
ExecStartPre=/bin/sh -c 'while test -e {held}/{name}; do sleep 0.05; done'
TimeoutStartSec=infinity
"""
_UNIT = """[Unit]
Description={name} of the lab
[Service]
Type={type}
User={user}
ExecStart={command}
"""


@dataclass(frozen=True)
class Sources:
    """What `up` reads from the checkout for these hosts: file name -> text each."""

    jitwg: dict  # contrib/systemd
    package: dict  # this package, compiled: every host would have to, otherwise


def runs_on(host):
    return host.role in ("broker", "gateway", "jumphost")


def why_not():
    """Why this machine cannot boot systemd in a host, or None."""
    needed = (_SYSTEMD, "/lib/systemd/systemd-logind", "/usr/bin/dbus-daemon")
    absent = [path for path in needed if not os.access(path, os.X_OK)]
    return f"not installed: {', '.join(absent)} (dbus, libpam-systemd)" if absent else None


def _unit_name(spec):
    return f"{_UNIT_NAMES.get(spec.name, spec.name)}.service"


# ---- before the boot: files ----


def install(host, specs, sources):
    """Called by the host's first process, once everything else of the host is there."""
    empty_folder(_OF_THE_LAB)
    wanted = {*_WANTED, *(_WANTED_FOR_LOGINS if host.role == "jumphost" else ())}
    _mask_the_machines_own(wanted)
    os.makedirs(f"{_OF_THE_LAB}/multi-user.target.wants")
    for unit in wanted:
        os.symlink(f"{_OF_THE_MACHINE}/{unit}", f"{_OF_THE_LAB}/multi-user.target.wants/{unit}")
    os.symlink(f"{_OF_THE_MACHINE}/multi-user.target", f"{_OF_THE_LAB}/default.target")
    make_folder(_HELD, 0o755)
    for name, text in sources.package.items():
        write(f"{_PACKAGE}/lab/{name}", text)
    write("/usr/local/lib/lab/agent.py", _AGENT_SCRIPT)
    write(f"{_OF_THE_LAB}/lab-agent.service", _AGENT_UNIT.format(host=host.name))
    for name in world.BINARIES:
        os.symlink(f"{world.BIN_DIR}/{name}", f"/usr/local/sbin/{name}")
    for folder in ("sysusers", "tmpfiles"):
        if f"{folder}.conf" in sources.jitwg:
            write(f"/usr/local/lib/{folder}.d/jitwg.conf", sources.jitwg[f"{folder}.conf"])
    for spec in specs:
        _install_unit(spec, sources.jitwg)


def _mask_the_machines_own(wanted):
    """Whatever else it would start by itself; generators first, which make units at boot."""
    started = {os.path.basename(path) for path in glob.glob(f"{_OF_THE_MACHINE}/*.wants/*")}
    for name in started - wanted | {"modprobe@.service"}:
        if not name.endswith((".socket", ".slice")):
            os.symlink("/dev/null", f"{_OF_THE_LAB}/{name}")
    empty_folder("/etc/systemd/system-generators")
    for path in glob.glob("/usr/lib/systemd/system-generators/*"):
        os.symlink("/dev/null", f"/etc/systemd/system-generators/{os.path.basename(path)}")


def _install_unit(spec, jitwg):
    unit = _unit_name(spec)
    if unit in jitwg:
        for name, text in jitwg.items():
            sockets = name.endswith(".socket") and (
                f"Service={unit}" in text or name == f"{spec.name}.socket"
            )
            if name in (unit, f"{spec.name}-selftest.service") or sockets:
                write(f"{_OF_JITWG}/{name}", text)
    elif not os.path.exists(f"{_OF_THE_MACHINE}/{unit}"):
        write(f"{_OF_THE_LAB}/{unit}", _render(spec))
    write(f"{_OF_THE_LAB}/{unit}.d/lab.conf", _DROP_IN.format(held=_HELD, name=spec.name))


def _render(spec):
    """A unit for a program that is not jitwg's and has none from Debian."""
    text = _UNIT.format(
        name=spec.name,
        type="notify" if spec.ready == "notify" else "exec",
        user=spec.user,
        command=" ".join(spec.argv),
    )
    if spec.ready != "notify":
        text += f"ExecStartPost=/bin/sh -c 'until test -S {spec.ready}; do sleep 0.02; done'\n"
    if spec.capabilities is not None:
        held = " ".join(f"CAP_{name.upper()}" for name in spec.capabilities)
        text += f"AmbientCapabilities={held}\nCapabilityBoundingSet={held}\nNoNewPrivileges=yes\n"
    for name, value in spec.env.items():
        text += f"Environment={name}={value}\n"
    return text


def boot():
    """Becomes systemd. What the machine is, it cannot tell from in here: hence `container`."""
    environment = {"container": "lab", "PATH": world.PATH}
    os.execve(_SYSTEMD, ["/sbin/init", "--log-target=journal", "--show-status=no"], environment)


# ---- after the boot: the agent, as one of the units ----


def serve(host_name):
    host = world.check_host(host_name)
    if os.path.lexists(world.CONTROL_SOCKET):
        os.unlink(world.CONTROL_SOCKET)
    agent = Agent(host, packets.listen(world.CONTROL_SOCKET))
    for spec in (world.JOURNALD, *hosts.programs(host).values()):
        agent.programs[spec.name] = Unit(spec, agent)
    agent.run()


class Unit:
    """One program of the host, as a unit. Answers in the words of programs.Program."""

    waiting = ()  # systemctl waits for it

    def __init__(self, spec, agent):
        self.spec = spec
        self._agent = agent
        self._unit = _unit_name(spec)
        self._hold = f"{_HELD}/{spec.name}"

    def tick(self):
        pass

    def start(self, reply):
        name = self.spec.name
        shown = self._show("MainPID", "ActiveState", "TriggeredBy")
        if shown["MainPID"] != "0":
            reply(f"{name} is already running (pid {shown['MainPID']})")
            return
        if name in world.BINARIES and not os.access(f"{world.BIN_DIR}/{name}", os.X_OK):
            reply(f"missing: {name} (build it first)")
            return
        if os.path.exists(self._hold):
            os.unlink(self._hold)

        def started(status):
            how = self.report()["ended"] or "not ready in time"
            reply("" if status == 0 else f"{name} ended while starting: {how}")

        # What would start it as well comes first, and belongs to it.
        sockets = [u for u in shown["TriggeredBy"].split() if u.endswith(".socket")]
        script = f'exec timeout {self.spec.ready_within} systemctl start "$@"'
        if shown["ActiveState"] == "failed":
            script = f'systemctl reset-failed "$@"; {script}'
        self._run(script, [*sockets, self._unit], started)

    def stop(self, number, reply):
        name = self.spec.name
        if not self.report()["alive"]:
            reply(f"{name} is not running")
            return
        open(self._hold, "w").close()
        script = "exec systemctl stop $1"
        if number == signal.SIGKILL:
            script = (
                "systemctl kill --kill-whom=main --signal=KILL $1;"
                "for i in $(seq 500); do systemctl is-active -q $1 || exit 0; sleep 0.02; done; exit 1"
            )
        self._run(
            script,
            [self._unit],
            lambda status: reply("" if status == 0 else f"{name} did not end: see its journal"),
        )

    def _run(self, script, arguments, when_ended):
        argv = ["/bin/sh", "-c", script, "sh", *arguments]
        pid = exec_child(argv, {"PATH": world.PATH})
        self._agent.children[pid] = when_ended

    def _show(self, *properties):
        argv = ["systemctl", "show", f"--property={','.join(properties)}", self._unit]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"systemctl show {self._unit}: {done.stderr.strip()}")
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def report(self):
        shown = self._show("MainPID", "ExecMainCode", "ExecMainStatus")
        pid, code, status = (int(shown[name]) for name in shown)
        ended = None
        if not pid and code:  # CLD_EXITED, CLD_KILLED, CLD_DUMPED
            ended = describe(status << 8 if code == os.CLD_EXITED else status)
        return {"alive": pid != 0, "pid": pid or None, "ended": ended}
