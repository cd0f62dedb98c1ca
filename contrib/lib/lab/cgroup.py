"""One cgroup v2 subtree per host, `jitwg-lab-<lab>-<host>`, and its end.

The subtree is also how `down` finds whatever a lab left, after a crash included: every process
of a host is in it, because the host's init joins it before anything else and nothing in the host
can name a cgroup above it.
"""

import errno
import os
import time

from .errors import LabError


def mount_point():
    """Where this machine has cgroup v2: /sys/fs/cgroup, or beside v1 in /sys/fs/cgroup/unified."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, target, kind = line.split()[:3]
            if kind == "cgroup2":
                return target
    raise LabError("this machine has no cgroup v2 mounted (looked for it in /proc/self/mounts)")


def path(lab, host):
    return f"{mount_point()}/jitwg-lab-{lab}-{host}"


def make(lab, host):
    try:
        os.mkdir(path(lab, host))
    except OSError as error:
        raise LabError(f"cannot make the cgroup {path(lab, host)}: {error.strerror}") from error


def join(directory):
    with open(f"{directory}/cgroup.procs", "w") as procs:
        procs.write("0")


def kill(directory):
    try:
        with open(f"{directory}/cgroup.kill", "w") as kill_file:
            kill_file.write("1")
    except FileNotFoundError:
        pass


def _populated(directory):
    try:
        with open(f"{directory}/cgroup.events") as events:
            return "populated 1" in events.read()
    except OSError:
        return False


def remove(directory, within=10.0):
    """Waits until the killed subtree is empty, then removes it. False if it would not go."""
    deadline = time.monotonic() + within
    while _populated(directory) and time.monotonic() < deadline:
        kill(directory)  # again: one may have joined just after the first time
        time.sleep(0.005)
    while True:
        try:
            for root, children, _ in os.walk(directory, topdown=False):
                for child in children:
                    os.rmdir(os.path.join(root, child))
            os.rmdir(directory)
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return False
            time.sleep(0.005)
