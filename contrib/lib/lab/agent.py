"""What answers `lab exec`, `start`, `stop` and `kill` inside a host.

One thread, one event loop. Requests come over a SOCK_SEQPACKET socket (root's, 0600): one JSON
object each, for `exec` with the caller's stdin, stdout and stderr beside it.
"""

import array
import fcntl
import os
import selectors
import signal
import socket
import termios

from . import packets, world
from .children import exec_child, kill_tree, user_identity
from .errors import LabError


def environment_of(identity, host, extra):
    environment = {
        "PATH": world.PATH,
        "HOME": identity.home,
        "USER": identity.name,
        "LOGNAME": identity.name,
        "SHELL": identity.shell,
        "LANG": "C.UTF-8",
        **extra,
    }
    if host == "person" and identity.name in world.PEOPLE:
        environment["JITWG_BROKER"] = world.BROKER_URL
        environment["SSH_AUTH_SOCK"] = world.agent_socket(identity.name)
        environment["XDG_RUNTIME_DIR"] = f"/run/user/{identity.uid}"
    return environment


class Agent:
    def __init__(self, host, control):
        self.host = host
        self.programs = {}  # by name; a Program or a Unit each
        self.children = {}  # pid -> what to do with its wait status
        self._commands = {}  # connection of a `lab exec` -> pid
        self._selector = selectors.DefaultSelector()
        self.watch(control, self._accept)
        wake, self._wake_end = socket.socketpair()
        for end in (wake, self._wake_end):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(wake, self._reap)

    def watch(self, file, when_readable):
        self._selector.register(file, selectors.EVENT_READ, when_readable)

    def run(self):
        while True:
            waiting = any(program.waiting for program in self.programs.values())
            for key, _ in self._selector.select(0.005 if waiting else None):
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
            when_ended = self.children.pop(pid, None)
            if when_ended:
                when_ended(status)

    def _accept(self, control):
        connection, _ = control.accept()
        self.watch(connection, self._request)

    def _close(self, connection):
        if connection.fileno() >= 0:
            self._selector.unregister(connection)
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
        pid = self._commands.pop(connection, None)
        if pid:
            del self.children[pid]
            kill_tree(pid)
        self._close(connection)

    def _do(self, request, connection, files):
        operation = request["op"]
        if operation == "exec":
            self._exec(request, connection, files)
        elif operation == "signal":
            self._signal(self._commands.get(connection), request["number"])
        elif operation == "status":
            listed = {name: p.report() for name, p in self.programs.items()}
            self._answer(connection, {"programs": listed})
        elif operation in ("start", "stop", "kill"):
            self._control(operation, request["program"], connection)
        else:
            raise LabError(f"unknown request {operation}")

    def _signal(self, pid, number):
        # As from a terminal: an interrupt is for the whole group.
        send = os.killpg if number in (signal.SIGINT, signal.SIGQUIT) else os.kill
        try:
            if pid:
                send(pid, number)
        except ProcessLookupError:
            pass  # its end is on its way to the caller

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
        if not request["terminal"]:
            pid = exec_child(
                request["argv"], environment, files, identity=identity, cwd=identity.home
            )
            self._runs(pid, connection)
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
            self._runs(pid, connection, [ours])
        finally:
            os.close(ours)
            os.close(theirs)

    def _runs(self, pid, connection, files=()):
        def ended(status):
            del self._commands[connection]
            self._answer(connection, {"exit": os.waitstatus_to_exitcode(status)})

        self.children[pid] = ended
        self._commands[connection] = pid
        self._answer(connection, {"pid": pid}, files, last=False)
