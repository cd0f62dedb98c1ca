"""`down` and `status`: need no more than a lab's name, whatever state it is in."""

import json
import os
import shutil
import time

from . import cgroup, client, kernel, world
from .errors import LabError, say


def _remove_folder(folder, attempts=100):
    """An `up` that was killed may have left a helper that still writes for a moment."""
    if not os.path.isdir(folder):
        return False
    while os.path.ismount(f"{folder}/root"):  # see rootfs.build
        kernel.detach(f"{folder}/root")
    for attempt in range(attempts):
        try:
            shutil.rmtree(folder)
            return True
        except OSError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.02)


def remove(lab):
    """Whatever there is of a lab, wherever it stopped. True if there was anything."""
    found = False
    folders = [cgroup.path(lab, each) for each in (*world.HOSTS, world.SWITCHES)]
    for folder in folders:
        if os.path.isdir(folder):
            found = True
            cgroup.kill(folder)
    stuck = [folder for folder in folders if not cgroup.remove(folder)]
    found |= _remove_folder(world.state_dir(lab))
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
    if not remove(lab):
        say(f"lab {lab} is not up; nothing to do")


def status(lab):
    """As `lab status --json` prints it."""
    try:
        with open(f"{world.state_dir(lab)}/lab.json") as file:
            about = json.load(file)
    except FileNotFoundError:
        if not os.path.isdir(world.state_dir(lab)):
            raise LabError(f"lab {lab} is not up") from None
        about = {"build": None, "realm": None, "daemons": None, "init": None}
    listed = {}
    for host in world.HOSTS:
        try:
            answer = client.ask(lab, host, op="status")
            listed[host] = {"alive": True, "init": client.init_pid(lab, host), **answer}
        except LabError:
            listed[host] = {"alive": False, "init": None, "programs": {}}
    return {"name": lab, **about, "hosts": listed}
