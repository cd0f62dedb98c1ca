"""The long-running programs of a host: starting, waiting until ready, stopping.

Plays systemd's part: listening sockets live as long as the host and are handed in by LISTEN_FDS,
readiness comes by NOTIFY_SOCKET, output goes to the journal. Driven by the agent's event loop;
nothing here blocks.
"""

import os
import shlex
import signal
import socket
import stat
import time

from . import world
from .children import exec_child, group_id, user_identity

_STOP_WITHIN = 10.0


def make_listener(listen):
    if listen.kind == "tcp":
        every = ("::", int(listen.path))
        return socket.create_server(every, family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
    kind = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}[listen.kind]
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(listen.path)
    os.chown(listen.path, 0, group_id(listen.group))
    os.chmod(listen.path, listen.mode)
    listener.listen(128)
    return listener


class Program:
    """One program of a host; at most one process of it at a time."""

    def __init__(self, spec, listeners, agent):
        self.spec = spec
        self.pid = None
        self.status = None  # wait status of the last run
        self.waiting = []  # (what for: "ready" or "gone", deadline, reply function)
        self._listeners = listeners
        self._agent = agent
        self._ready = False
        self._notify_path = f"/run/lab/notify-{spec.name}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(self._notify_path)
        os.chmod(self._notify_path, 0o666)
        self._notify.setblocking(False)
        agent.watch(self._notify, lambda _: self._on_notify())

    def start(self, reply):
        if self.pid is not None:
            reply(f"{self.spec.name} is already running (pid {self.pid})")
            return
        executable = self.spec.argv[0]
        if not os.access(executable, os.X_OK):
            missing = executable.startswith(world.BIN_DIR)
            reply(f"missing: {self.spec.name} (build it first)" if missing else f"no {executable}")
            return
        if self.spec.ready != "notify":
            try:
                os.unlink(self.spec.ready)
            except FileNotFoundError:
                pass
        self._ready = False
        self._on_notify()  # forget what a former run said last
        self._ready = False
        self.status = None
        journal = (self.spec.name, user_identity(self.spec.user)) if self.spec.journal else None
        self.pid = exec_child(
            self._argv(), self._environment(), listeners=self._listeners, journal=journal
        )
        self._agent.children[self.pid] = self._on_exit
        self.waiting.append(("ready", time.monotonic() + self.spec.ready_within, reply))

    def _argv(self):
        """setpriv drops what the program may not have, and becomes it by exec: the pid stays."""
        spec = self.spec
        if spec.before:
            return ["/bin/sh", "-c", f'{shlex.join(spec.before)} && exec "$@"', "sh", *self._becoming()]
        return self._becoming()

    def _becoming(self):
        spec = self.spec
        if spec.user == "root":
            return list(spec.argv)
        gid = str(user_identity(spec.user).gid)
        argv = ["/usr/bin/setpriv", "--reuid", spec.user, "--regid", gid, "--init-groups"]
        if spec.capabilities is not None:
            held = ",".join(["-all", *(f"+{c}" for c in spec.capabilities)])
            argv += ["--inh-caps", held, "--ambient-caps", held, "--bounding-set", held]
            argv += ["--no-new-privs"]
        return [*argv, "--", *spec.argv]

    def _environment(self):
        environment = {
            "PATH": world.PATH,
            "LANG": "C.UTF-8",
            "NOTIFY_SOCKET": self._notify_path,
            **self.spec.env,
        }
        if self._listeners:
            environment["LISTEN_FDNAMES"] = ":".join(listen.name for listen in self.spec.listen)
        return environment

    def stop(self, number, reply):
        if self.pid is None:
            reply(f"{self.spec.name} is not running")
            return
        os.kill(self.pid, number)
        self.waiting.append(("gone", time.monotonic() + _STOP_WITHIN, reply))

    def _on_notify(self):
        while True:
            try:
                message = self._notify.recv(65536)
            except BlockingIOError:
                return
            if b"READY=1" in message.split(b"\n"):
                self._ready = True

    def _on_exit(self, status):
        self._on_notify()  # READY may have come just before the end
        self.pid = None
        self.status = status

    def tick(self):
        """Answers who waits; called after every event and, while somebody waits, every few ms."""
        for entry in list(self.waiting):
            what, deadline, reply = entry
            answer = self._outcome(what, time.monotonic() > deadline)
            if answer is not None:
                self.waiting.remove(entry)
                reply(answer)

    def _outcome(self, what, late):
        """"" = as wished, a sentence = failed, None = not yet."""
        name = self.spec.name
        if what == "gone":
            if self.pid is None:
                return ""
            return f"{name} did not end within {_STOP_WITHIN:.0f} s" if late else None
        if self.pid is None:
            return f"{name} ended while starting: {describe(self.status)}"
        if self._ready or self._ready_file_there():
            return ""
        return f"{name} was not ready within {self.spec.ready_within:.0f} s" if late else None

    def _ready_file_there(self):
        if self.spec.ready == "notify":
            return False
        try:
            return stat.S_ISSOCK(os.stat(self.spec.ready).st_mode)
        except FileNotFoundError:
            return False

    def report(self):
        ended = None if self.status is None else describe(self.status)
        return {"alive": self.pid is not None, "pid": self.pid, "ended": ended}


def describe(status):
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"
