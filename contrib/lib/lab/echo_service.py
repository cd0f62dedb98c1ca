"""The service in `db` and `other`: `echo_service.py NAME PORT…`.

Greets with "hello from NAME:PORT", then echoes what it is sent and keeps the connection open.
Runs inside a host as a program of its own, hence without the rest of the package.
"""

import os
import selectors
import socket
import sys


def _notify_ready():
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", path)


def main(name, *ports):
    selector = selectors.DefaultSelector()
    for port in ports:
        listener = socket.create_server(("", int(port)), backlog=128, reuse_port=False)
        selector.register(listener, selectors.EVENT_READ, "listener")
    _notify_ready()
    while True:
        for key, _ in selector.select():
            try:
                if key.data == "listener":
                    connection, _ = key.fileobj.accept()
                    port = connection.getsockname()[1]
                    connection.settimeout(5)
                    selector.register(connection, selectors.EVENT_READ, "connection")
                    connection.sendall(f"hello from {name}:{port}\n".encode())
                elif data := key.fileobj.recv(65536):
                    key.fileobj.sendall(data)
                else:
                    raise ConnectionError
            except OSError:
                if key.data == "connection":
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
