"""What a lab takes from the checkout: the built programs and the snippets an admin installs."""

import glob
import importlib.util
import marshal
import os
import shutil

from . import world
from .errors import LabError

_CONTRIB = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CHECKOUT = os.path.dirname(_CONTRIB)


def find(given):
    """The build directory: the given one, else the checkout's release or dev build."""
    if given:
        if not os.path.isdir(given):
            raise LabError(f"no build directory {given}")
        return os.path.abspath(given)
    candidates = [f"{_CHECKOUT}/build/{preset}" for preset in ("release", "dev")]
    return next((c for c in candidates if os.path.isdir(f"{c}/bin")), candidates[0])


def missing(build):
    wanted = {name: f"{build}/bin/{name}" for name in world.BINARIES}
    wanted[world.PAM_MODULE] = f"{build}/lib/{world.PAM_MODULE}"
    return [name for name, path in wanted.items() if not os.path.isfile(path)]


def copy_binaries(build, target):
    """Copied, not bound: a rebuild must not change a running lab, and sshd and the people need
    them below folders that everybody may pass and only root may write."""
    os.makedirs(target)
    if os.path.isdir(f"{build}/bin"):
        for name in os.listdir(f"{build}/bin"):
            source = f"{build}/bin/{name}"
            if name.startswith("jitwg") and os.path.isfile(source):
                shutil.copyfile(source, f"{target}/{name}")
                os.chmod(f"{target}/{name}", 0o755)
    os.chmod(target, 0o755)


def read(path, binary=False):
    with open(path, "rb" if binary else "r") as file:
        return file.read()


def policy_template():
    return read(f"{_CONTRIB}/lib/lab/policy.toml.in")


def echo_service():
    return read(f"{_CONTRIB}/lib/lab/echo_service.py")


def unit_sources():
    """See units.Sources."""
    jitwg = {os.path.basename(p): read(p) for p in glob.glob(f"{_CONTRIB}/systemd/*") if "." in p}
    here = os.path.dirname(os.path.abspath(__file__))
    modules = {os.path.basename(path): read(path) for path in glob.glob(f"{here}/*.py")}
    return jitwg, {f"{name}c": _compiled(name, text) for name, text in modules.items()}


def _compiled(name, text):
    """A module without its source, as Python imports it (PEP 3147)."""
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(text, name, "exec"))


def sshd_files(build):
    return {
        "pam": read(f"{_CONTRIB}/pam/sshd"),
        "principals": read(f"{build}/bin/jitwg-principals", binary=True),
        "module": read(f"{build}/lib/{world.PAM_MODULE}", binary=True),
    }
