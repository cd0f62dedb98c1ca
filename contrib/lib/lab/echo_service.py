"""The service in `db` and `other`: `echo_service.py NAME PORT…`, on all addresses, IPv4 and IPv6.

TCP greets with "hello from NAME:PORT", then echoes what it is sent and keeps the connection open.
UDP echoes. Runs inside a host as a program of its own, hence without the rest of the package.
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


def _datagrams(port):
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", port))
    made.setblocking(False)
    return made


def main(name, *ports):
    selector = selectors.DefaultSelector()
    for port in map(int, ports):
        every = ("::", port)
        listener = socket.create_server(every, family=socket.AF_INET6, backlog=128, dualstack_ipv6=True)
        selector.register(listener, selectors.EVENT_READ, "listener")
        selector.register(_datagrams(port), selectors.EVENT_READ, "datagrams")
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
                elif key.data == "datagrams":
                    key.fileobj.sendto(*key.fileobj.recvfrom(65536))
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
