"""PID 1 of a host: reaps, runs the host's programs, and runs commands for `lab exec`.

One thread, one event loop. Requests come over a SOCK_SEQPACKET socket outside the host (root's,
0600): one JSON object each, for `exec` with the caller's stdin, stdout and stderr beside it.
When it ends, for whatever reason, the kernel ends everything else in the host.
"""

import array
import fcntl
import os
import selectors
import signal
import socket
import termios

from . import hosts, kernel, network, packets, rootfs, world
from .children import close_inherited, exec_child, kill_tree, user_identity
from .errors import LabError
from .programs import Program, make_listener


def environment_of(identity, host, extra):
    environment = {
        "PATH": world.PATH,
        "HOME": identity.home,
        "USER": identity.name,
        "LOGNAME": identity.name,
        "SHELL": identity.shell,
        "LANG": "C.UTF-8",
        "JITWG_BROKER": f"unix:{world.BROKER_SOCKET.path}",
        **extra,
    }
    if host == "person" and identity.name in world.PEOPLE:
        environment["SSH_AUTH_SOCK"] = world.agent_socket(identity.name)
        environment["XDG_RUNTIME_DIR"] = f"/run/user/{identity.uid}"
    return environment


class Init:
    def __init__(self, host, control, broker_listener):
        self.host = host
        self.selector = selectors.DefaultSelector()
        self.commands = {}  # pid -> connection of the `lab exec` that waits for it
        self.selector.register(control, selectors.EVENT_READ, self._accept)
        wake, self._wake_end = socket.socketpair()
        for end in (wake, self._wake_end):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(wake, selectors.EVENT_READ, self._reap)
        self.programs = {}
        for spec in (world.JOURNALD, *hosts.programs(host).values()):
            listeners = [
                broker_listener if listen.shared else make_listener(listen)
                for listen in spec.listen
            ]
            program = Program(spec, listeners)
            self.programs[spec.name] = program
            self.selector.register(
                program.notify, selectors.EVENT_READ, lambda _, p=program: p.on_notify()
            )

    def run(self):
        while True:
            waiting = any(program.waiting for program in self.programs.values())
            for key, _ in self.selector.select(0.005 if waiting else None):
                key.data(key.fileobj)
            for program in self.programs.values():
                program.tick()

    def _reap(self, wake):
        wake.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for program in self.programs.values():
                if program.pid == pid:
                    program.on_notify()  # READY may have come just before the end
                    program.on_exit(status)
            connection = self.commands.pop(pid, None)
            if connection:
                self._answer(connection, {"exit": os.waitstatus_to_exitcode(status)})

    def _accept(self, control):
        connection, _ = control.accept()
        self.selector.register(connection, selectors.EVENT_READ, self._request)

    def _close(self, connection):
        if connection.fileno() >= 0:
            self.selector.unregister(connection)
            connection.close()

    def _answer(self, connection, answer, files=(), last=True):
        try:
            packets.send(connection, answer, files)
        except OSError:
            pass  # whoever asked has gone
        if last:
            self._close(connection)

    def _request(self, connection):
        try:
            request, files = packets.receive(connection, 3)
        except (OSError, ValueError):
            request, files = None, []
        if request is None:
            self._gone(connection)
            return
        try:
            self._do(request, connection, files)
        except (LabError, OSError, ValueError, KeyError, TypeError) as error:
            self._answer(connection, {"error": str(error) or repr(error)})
        finally:
            for fd in files:
                os.close(fd)

    def _gone(self, connection):
        for pid, waiting in list(self.commands.items()):
            if waiting is connection:
                del self.commands[pid]
                kill_tree(pid)
        self._close(connection)

    def _do(self, request, connection, files):
        operation = request["op"]
        if operation == "exec":
            self._exec(request, connection, files)
        elif operation == "signal":
            for pid, waiting in self.commands.items():
                if waiting is connection:
                    number = request["number"]
                    # As from a terminal: an interrupt is for the whole group.
                    group = number in (signal.SIGINT, signal.SIGQUIT)
                    try:
                        (os.killpg if group else os.kill)(pid, number)
                    except ProcessLookupError:
                        pass  # its end is on its way to the caller
        elif operation == "status":
            listed = {name: p.report() for name, p in self.programs.items()}
            self._answer(connection, {"programs": listed})
        elif operation in ("start", "stop", "kill"):
            self._control(operation, request["program"], connection)
        else:
            raise LabError(f"unknown request {operation}")

    def _control(self, operation, name, connection):
        if name not in self.programs:
            known = ", ".join(self.programs)
            raise LabError(f"{self.host.name} has no program {name}: it has {known}")
        program = self.programs[name]

        def reply(sentence):
            self._answer(connection, {"error": f"{self.host.name}: {sentence}"} if sentence else {})

        if operation == "start":
            program.start(reply)
        else:
            program.stop(signal.SIGTERM if operation == "stop" else signal.SIGKILL, reply)

    def _exec(self, request, connection, files):
        user = request["user"]
        try:
            identity = user_identity(user)
        except KeyError:
            raise LabError(f"there is no user {user} on {self.host.name}") from None
        environment = environment_of(identity, self.host.name, request["env"])
        terminal = request["terminal"]
        if not terminal:
            pid = exec_child(
                request["argv"], environment, files, identity=identity, cwd=identity.home
            )
            self.commands[pid] = connection
            self._answer(connection, {"pid": pid}, last=False)
            return
        # A terminal of this host's own, so that it has a name here; the caller relays it.
        ours, theirs = os.openpty()
        try:
            os.fchown(theirs, identity.uid, 5)
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, array.array("H", request["size"]))
            stdio = (theirs, theirs, theirs)
            pid = exec_child(
                request["argv"], environment, stdio, (), identity, True, identity.home
            )
            self.commands[pid] = connection
            self._answer(connection, {"pid": pid}, [ours], last=False)
        finally:
            os.close(ours)
            os.close(theirs)


def main(plan, host, up, broker_listener):
    """Never returns. `up`: the channel of up._spawn. The last is only the broker's to hold."""
    kernel.set_process_name(f"lab-{host.name}")
    os.umask(0o022)
    os.setsid()
    control = packets.make_control(world.control_path(plan.lab, host.name))
    kept = {control.fileno(), up.fileno()}
    if broker_listener:
        kept.add(broker_listener.fileno())
    close_inherited(kept)
    if up.recv(64) != b"wired":
        os._exit(1)
    rootfs.build(plan.root, host.role, plan.binaries, plan.broker_socket)
    network.configure(host)
    hosts.install(plan, host)
    init = Init(host, control, broker_listener)

    def journal_runs(failure):
        up.send(f"error: {failure}".encode() if failure else b"ready")
        up.close()

    init.programs[world.JOURNALD.name].start(journal_runs)
    control.listen(64)
    init.run()
