"""A talkative client and its service, for asking whether packets still pass. Run as a program.

serve PORT…             TCP and UDP on all addresses: sends back what comes; to "who" the address it came from.
talk tcp|udp ADDR PORT  one numbered line every 50 ms; prints each answer, flushed; never gives up.
"""

import selectors
import socket
import sys
import time


def answer(data, peer):
    return peer[0].removeprefix("::ffff:").encode() if data == b"who" else data


def serve(ports):
    selector = selectors.DefaultSelector()
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            s = socket.socket(socket.AF_INET6, kind)
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                s.listen()
            selector.register(s, selectors.EVENT_READ, kind == socket.SOCK_STREAM)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            s = key.fileobj
            if key.data:
                selector.register(s.accept()[0], selectors.EVENT_READ, False)
            elif s.type == socket.SOCK_DGRAM:
                data, peer = s.recvfrom(2048)
                s.sendto(answer(data, peer), peer)
            else:
                try:
                    data = s.recv(2048)
                except OSError:
                    data = b""
                if data:
                    s.send(answer(data, s.getpeername()))
                else:
                    selector.unregister(s)
                    s.close()


def talk(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(10)
    s.connect((address, port))
    print("connected", flush=True)
    s.settimeout(0.05)
    for number in range(1_000_000):
        s.send(b"%d\n" % number)
        try:
            print(s.recv(2048).decode().strip() and time.time(), flush=True)
        except TimeoutError:
            pass
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(word) for word in sys.argv[2:]])
    talk(sys.argv[2], sys.argv[3], int(sys.argv[4]))
