"""Writing files inside a host: content, owner and mode in one call."""

import os
import shutil


def write(path, content, mode=0o644, uid=0, gid=None):
    """Makes missing parents (root's, 0755), replaces the file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    data = content if isinstance(content, bytes) else content.encode()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        os.fchown(file.fileno(), uid, uid if gid is None else gid)
        os.fchmod(file.fileno(), mode)


def make_folder(path, mode=0o755, uid=0, gid=None):
    os.makedirs(path, exist_ok=True)
    os.chown(path, uid, uid if gid is None else gid)
    os.chmod(path, mode)


def empty_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
