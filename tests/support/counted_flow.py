"""UDP packets with numbers, one way, so that none that is lost or that should not be goes unseen. Run as a program.

count PORT          prints "SOURCE NUMBER TIME" of each that comes.
send ADDR PORT DEV  one each 10 ms, numbered from 0; prints each number with the time before it is sent, flushed.
"""

import socket
import sys
import time

if sys.argv[1] == "count":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind(("0.0.0.0", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        data, (source, _) = s.recvfrom(64)
        print(source, data.decode(), time.time(), flush=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[4].encode())
s.connect((sys.argv[2], int(sys.argv[3])))
for number in range(1_000_000):
    print(number, time.time(), flush=True)
    while True:
        try:
            s.send(b"%d" % number)
            break
        except OSError:  # what came back to an earlier one
            time.sleep(0.001)
    time.sleep(0.01)
