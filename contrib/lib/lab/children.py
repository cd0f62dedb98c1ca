"""Making processes inside a host: by fork and exec from its init."""

import fcntl
import grp
import os
import pwd
import resource
import signal
import socket
import termios
from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    name: str
    uid: int
    gid: int
    groups: tuple
    home: str
    shell: str


def user_identity(name):
    """KeyError if there is no such user on this host."""
    entry = pwd.getpwnam(name)
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return Identity(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)


def group_id(name):
    return grp.getgrnam(name).gr_gid


def close_inherited(keep):
    """All but these file descriptors; 0, 1 and 2 become /dev/null."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass


def _reset_signals():
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):  # HUP: `nohup contrib/lab up`
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _let_lock_memory():
    """As a unit file would with LimitMEMLOCK=, so that keys need not reach swap."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    except (OSError, ValueError):
        pass  # a container without CAP_SYS_RESOURCE: the programs go on without


def _place_files(stdio, listeners, environment):
    """stdio on 0-2, listeners from 3 on; everything else of the init's closes at exec."""
    # First above everything that is about to be overwritten.
    floor = 3 + len(listeners)
    wanted = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor) for fd in (*stdio, *listeners)]
    for target, fd in enumerate(wanted):
        os.dup2(fd, target, inheritable=True)
    if listeners:
        environment["LISTEN_FDS"] = str(len(listeners))
        environment["LISTEN_PID"] = str(os.getpid())


def _journal_stream(identifier, identity, environment):
    """A stream to journald as systemd makes it for a service's output (sd_journal_stream_fd(3)).

    journald takes the sender's uid from the connection, hence the change of effective ids.
    JOURNAL_STREAM tells the program that its stderr understands "<level>" prefixes.
    """
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        stream.connect("/run/systemd/journal/stdout")
    finally:
        os.seteuid(0)
        os.setegid(0)
    # identifier, unit, priority, level prefix, then three times "do not forward"
    stream.sendall(f"{identifier}\n\n6\n1\n0\n0\n0\n".encode())
    inode = os.fstat(stream.fileno())
    environment["JOURNAL_STREAM"] = f"{inode.st_dev}:{inode.st_ino}"
    return stream.detach()


def exec_child(
    argv,
    environment,
    stdio=None,
    listeners=(),
    identity=None,
    terminal=False,
    cwd="/",
    journal=None,
):
    """Forks; the child becomes argv in a session of its own. Returns its pid.

    journal: (identifier, Identity) under which its output goes to the journal, instead of stdio.
    A command that cannot be run says so on its stderr and exits 127 or 126, as in a shell.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _reset_signals()
        if stdio is None:
            null = os.open("/dev/null", os.O_RDWR)
            output = _journal_stream(*journal, environment) if journal else null
            _let_lock_memory()
            stdio = (null, output, output)
        _place_files(stdio, [listener.fileno() for listener in listeners], environment)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if identity:
            os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
        try:
            os.chdir(cwd)
        except OSError:
            os.chdir("/")
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(2, f"lab: cannot run {argv[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    except BaseException as error:  # never let a child return into the init's loop
        os.write(2, f"lab: {error}\n".encode())
    finally:
        os._exit(125)


def _children_of(pid):
    """/proc's own list of children needs a kernel option, so by parent pid."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    return children.get(pid, [])


def kill_tree(pid):
    """SIGKILL for a process and its living descendants. What made itself a daemon (its parent is
    the init by now) stays: a tunnel brought up by a command outlives the command."""
    stopped, todo = [], [pid]
    while todo:
        victim = todo.pop()
        try:
            os.kill(victim, signal.SIGSTOP)  # so that it makes no children behind our back
        except ProcessLookupError:
            continue
        stopped.append(victim)
        todo += _children_of(victim)
    for victim in stopped:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass

