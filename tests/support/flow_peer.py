"""What runs on a lab's hosts to tell whether packets pass. Handed over as text (`python3 -c`), so it stands alone.

talk FLOWS    keeps flows going: [[name, "tcp"|"udp"|"ping", from, to, port, every]…], each a numbered message every so
              many seconds to something that echoes it. "ready" once each had an answer; then, for each line on stdin,
              {name: {"sent": [when…], "got": [[number, when]…], "error": text or null}}.
sniff PREFIX… sees every packet of this network from or to these prefixes. "ready"; then, for each line on stdin, all so
              far: [[interface, "in"|"out", from, to, protocol, port, how many, last seen]…], the port being the one on
              the far side of the prefixes; the type, of ICMP. The line "forget" empties it first.
probe         "ready"; then, for each line [wait, [[protocol, from, to, port]…]] on stdin, sends one packet for each and
              waits up to `wait` seconds for answers: the list of those that were answered.

Times are those of CLOCK_MONOTONIC, the same for all hosts of a lab.
"""

import errno
import ipaddress
import json
import selectors
import socket
import struct
import sys
import time

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
ECHO = {4: 8, 6: 128}
RECORD = struct.Struct("!Q")
LATE = 30.0


def answer(value):
    print(json.dumps(value), flush=True)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def echo_request(address, number):
    """The kernel fills in identifier and checksum, for IPv6 and on datagram sockets for IPv4."""
    return struct.pack("!BBHHH", ECHO[6 if ":" in address else 4], 0, 0, 0, number & 0xFFFF) + RECORD.pack(number)


def open_socket(kind, source, to, port):
    protocol = (socket.IPPROTO_ICMPV6 if ":" in to else socket.IPPROTO_ICMP) if kind == "ping" else 0
    made = socket.socket(family(to), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM, protocol)
    made.bind((source, 0))
    made.setblocking(False)
    try:
        made.connect((to, port or 0))
    except BlockingIOError:
        pass
    return made


# ---- talk ----


class Flow:
    def __init__(self, name, kind, source, to, port, every):
        self.name, self.kind, self.to, self.every = name, kind, to, every
        self.sent, self.got, self.error = [], [], None
        self.socket = open_socket(kind, source, to, port)
        self.next = time.monotonic()
        self._buffer, self._greeted = b"", kind != "tcp"

    def send(self):
        number = len(self.sent)
        data = echo_request(self.to, number) if self.kind == "ping" else RECORD.pack(number)
        try:
            self.socket.send(data)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOTCONN, errno.ENOBUFS):
                self.error = error.strerror
            if self.kind == "tcp":
                return  # not connected yet, or no room: the number stands for nothing
        self.sent.append(time.monotonic())

    def receive(self):
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.error = error.strerror
            return
        now = time.monotonic()
        if self.kind == "ping":
            data = data[8:]
        if self.kind != "tcp":
            self.got.append((RECORD.unpack(data)[0], now))
            return
        self._buffer += data
        if not self._greeted and b"\n" in self._buffer:
            self._greeted, self._buffer = True, self._buffer.partition(b"\n")[2]
        while self._greeted and len(self._buffer) >= RECORD.size:
            self.got.append((RECORD.unpack(self._buffer[: RECORD.size])[0], now))
            self._buffer = self._buffer[RECORD.size :]


def talk(specs):
    flows = [Flow(*spec) for spec in json.loads(specs)]
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    for flow in flows:
        selector.register(flow.socket, selectors.EVENT_READ, flow)
    ready = False
    while True:
        now = time.monotonic()
        for flow in flows:
            if now >= flow.next:
                flow.send()
                flow.next = max(flow.next + flow.every, now)
        if not ready and all(flow.got for flow in flows):
            ready = True
            print("ready", flush=True)
        for key, _ in selector.select(max(0, min(flow.next for flow in flows) - time.monotonic())):
            if key.data is not None:
                key.data.receive()
                if key.data.error and key.data.kind == "tcp":
                    selector.unregister(key.fileobj)
            elif not sys.stdin.readline():
                return
            else:
                answer({f.name: {"sent": f.sent, "got": f.got, "error": f.error} for f in flows})


# ---- sniff ----


def parse(packet, version):
    """(source, destination, protocol, source port or ICMP type, destination port or ICMP type)"""
    if version == 4:
        protocol, rest = packet[9], packet[(packet[0] & 15) * 4 :]
        source, to = packet[12:16], packet[16:20]
    else:
        protocol, rest = packet[6], packet[40:]
        source, to = packet[8:24], packet[24:40]
        while protocol in (0, 43, 44, 60) and len(rest) >= 8:  # extension headers
            protocol, rest = rest[0], rest[8 if protocol == 44 else 8 + 8 * rest[1] :]
    ports = (0, 0)
    if protocol in (ICMP, ICMP6) and rest:
        ports = (rest[0], rest[0])
    elif protocol in (TCP, UDP, 132, 136) and len(rest) >= 4:
        ports = struct.unpack("!HH", rest[:4])
    return ipaddress.ip_address(source), ipaddress.ip_address(to), protocol, *ports


def sniff(*prefixes):
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]
    ours = lambda address: any(address in network for network in networks)
    everything = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
    everything.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    everything.setblocking(False)
    seen = {}

    def drain():
        while True:
            try:
                packet, (interface, _, kind, *_) = everything.recvfrom(65536)
            except BlockingIOError:
                return
            version = packet[0] >> 4 if packet else 0
            if len(packet) < {4: 20, 6: 40}.get(version, 1 << 20):
                continue
            source, to, protocol, source_port, port = parse(packet, version)
            if not ours(source) and not ours(to):
                continue
            way = "out" if kind == socket.PACKET_OUTGOING else "in"
            key = (interface, way, str(source), str(to), protocol, port if ours(source) else source_port)
            count, _ = seen.get(key, (0, 0))
            seen[key] = count + 1, time.monotonic()

    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    selector.register(everything, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            drain()
            if key.fileobj is sys.stdin:
                if not (line := sys.stdin.readline()):
                    return
                if line == "forget\n":
                    seen.clear()
                answer([[*key, *value] for key, value in seen.items()])


# ---- probe ----


class Probe:
    def __init__(self, protocol, source, to, port):
        self.asked = [protocol, source, to, port]
        self.answered = False
        self._connecting = protocol == "tcp"
        if protocol in ("tcp", "udp", "ttl1", "ping"):
            self.socket = open_socket(protocol, source, to, port)
        else:
            number = {"sctp": 132, "udplite": 136, "gre": 47, "esp": 50, "ipip": 4, "ip6ip6": 41, "icmp": ICMP, "icmp6": ICMP6}[protocol]
            self.socket = socket.socket(family(to), socket.SOCK_RAW, number)
            self.socket.bind((source, 0))
            self.socket.connect((to, 0))
            self.socket.setblocking(False)
        if protocol == "ping":
            self.socket.send(echo_request(to, 1))
        elif protocol in ("udp", "ttl1"):
            if protocol == "ttl1":  # UDP that the first router may not pass on
                hops = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if ":" in to else (socket.IPPROTO_IP, socket.IP_TTL)
                self.socket.setsockopt(*hops, 1)
            self.socket.send(b"hello")
        elif protocol in ("icmp", "icmp6"):  # of the type `port`
            message = struct.pack("!BBHHH", port, 0, 0, 1, 1) + bytes(20)
            self.socket.send(message[:2] + struct.pack("!H", checksum(message)) + message[4:] if protocol == "icmp" else message)
        elif protocol != "tcp":  # ports, where the protocol has any; enough zeros to be a header otherwise
            self.socket.send(struct.pack("!HHHH", 40000, port, 0, 0) + bytes(24))

    def look(self):
        try:
            if self._connecting:
                self.answered = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and bool(self.socket.getpeername())
            else:
                self.answered = bool(self.socket.recv(65536))
        except OSError:
            pass


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def probe():
    print("ready", flush=True)
    while line := sys.stdin.readline():
        wait, wanted = json.loads(line)
        probes = [Probe(*each) for each in wanted]
        end = time.monotonic() + wait
        while not all(each.answered for each in probes) and time.monotonic() < end:
            time.sleep(0.02)
            for each in probes:
                if not each.answered:
                    each.look()
        answer([each.asked for each in probes if each.answered])
        for each in probes:
            each.socket.close()


if __name__ == "__main__":
    {"talk": talk, "sniff": sniff, "probe": probe}[sys.argv[1]](*sys.argv[2:])
