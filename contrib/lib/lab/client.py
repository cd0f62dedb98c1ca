"""The other end of a host's control socket: what `lab exec`, `start`, `stop`, `kill` do."""

import array
import fcntl
import os
import selectors
import signal
import socket
import sys
import termios
import tty

from . import packets, world
from .errors import LabError

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def connect(lab, host):
    if host != world.SWITCHES:
        world.check_host(host)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(world.control_path(lab, host))
    except PermissionError:
        raise LabError("the lab is root's: run this as root") from None
    except OSError:
        if os.path.isdir(world.state_dir(lab)):
            raise LabError(f"host {host} of lab {lab} is dead: run `down`, then `up`") from None
        raise LabError(f"lab {lab} is not up") from None
    return connection


def init_pid(lab, host):
    """Of the host's first process, as seen from here."""
    return int(os.readlink(world.control_path(lab, host)).split("/")[2])


def _receive(connection):
    """The next answer and the file descriptors that came with it."""
    answer, files = packets.receive(connection, 1)
    if answer is None:
        raise LabError("the host died")
    if answer.get("error"):
        raise LabError(answer["error"])
    return answer, files


def begin(lab, host, **request):
    """Sends a request; its answer is collected by `finish`. So several hosts work at once."""
    connection = connect(lab, host)
    packets.send(connection, request)
    return connection


def finish(connection):
    with connection:
        return _receive(connection)[0]


def ask(lab, host, **request):
    return finish(begin(lab, host, **request))


def begin_exec(lab, host, argv, user="root", stdio=None):
    """A command without a terminal. `finish_exec` waits and gives the exit code."""
    connection = connect(lab, host)
    request = {"op": "exec", "argv": argv, "user": user, "env": {}, "terminal": False}
    if stdio is None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        packets.send(connection, request, [null, null, null])
        os.close(null)
    else:
        packets.send(connection, request, stdio)
    return connection


def finish_exec(connection):
    while True:
        answer, _ = _receive(connection)
        if "exit" in answer:
            code = answer["exit"]
            return code if code >= 0 else 128 - code


def _forward_signals(connection):
    def forward(number, _frame):
        try:
            packets.send(connection, {"op": "signal", "number": number})
        except OSError:
            pass

    for name in _FORWARDED:
        signal.signal(getattr(signal, name), forward)


def run(lab, host, argv, user):
    """`lab exec` itself: returns the command's exit code, 128 + N if signal N ended it."""
    if os.isatty(0) and os.isatty(1):
        return _run_on_terminal(lab, host, argv, user)
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:  # closed by the caller
            os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, n) for n in _FORWARDED])
    with begin_exec(lab, host, argv, user, [0, 1, 2]) as connection:
        _forward_signals(connection)
        _receive(connection)  # it runs
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return finish_exec(connection)


def _window_size():
    size = array.array("H", [0, 0, 0, 0])
    fcntl.ioctl(0, termios.TIOCGWINSZ, size)
    return size


def _run_on_terminal(lab, host, argv, user):
    with connect(lab, host) as connection:
        request = {"op": "exec", "argv": argv, "user": user, "terminal": True}
        request["env"] = {"TERM": os.environ.get("TERM", "dumb")}
        request["size"] = list(_window_size())
        packets.send(connection, request)
        _, files = _receive(connection)
        _forward_signals(connection)
        far = files[0]
        signal.signal(
            signal.SIGWINCH, lambda *_: fcntl.ioctl(far, termios.TIOCSWINSZ, _window_size())
        )
        before = termios.tcgetattr(0)
        tty.setraw(0, termios.TCSADRAIN)  # not FLUSH: what was typed ahead counts
        try:
            _relay(far, connection)
            return finish_exec(connection)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _relay(far, connection):
    """Both ways until the command has ended and its last output has come through."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(far, selectors.EVENT_READ)
    selector.register(connection, selectors.EVENT_READ)
    ended = False
    while True:
        ready = [key.fileobj for key, _ in selector.select(0 if ended else None)]
        if far in ready:
            try:
                data = os.read(far, 65536)
            except OSError:  # EIO: nobody holds the other side any more
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif ended:
            return
        if 0 in ready:
            data = os.read(0, 65536)
            if data:
                os.write(far, data)
            else:
                selector.unregister(0)
        if connection in ready and not ended:
            ended = True
            selector.unregister(connection)
