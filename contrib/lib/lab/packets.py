"""What passes over a host's control socket: a JSON object per packet, file descriptors beside."""

import json
import os
import socket

from .errors import LabError

LONGEST = 128 * 1024  # bytes; the kernel bounds a packet, and would say so less clearly


def listen(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(64)
    return listener


def send(connection, message, files=()):
    packet = json.dumps(message).encode()
    if len(packet) > LONGEST:
        raise LabError(f"the command is too long ({len(packet)} bytes, at most {LONGEST})")
    socket.send_fds(connection, [packet], files)


def receive(connection, most_files=0):
    """(message, files); the message is None when the other side has gone."""
    packet, files, _, _ = socket.recv_fds(connection, LONGEST, most_files)
    for fd in files:  # recv_fds ignores MSG_CMSG_CLOEXEC in Python 3.11
        os.set_inheritable(fd, False)
    return (json.loads(packet) if packet else None), files
