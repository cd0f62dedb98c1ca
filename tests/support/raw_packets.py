"""IP packets byte by byte, and a program that puts them on a wire and tells what comes by.

send IFACE MAC HEX…  each as it stands, to that Ethernet address (- on a tunnel).
watch IFACE          one line of hex for each packet that comes in there; "ready" first.
"""

import socket
import struct
import sys

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def summed(protocol, source, to, data, at):
    """data with its checksum, over the pseudo-header too, at its place."""
    pseudo = packed(source) + packed(to) + struct.pack("!I", len(data)) + struct.pack("!I", protocol)
    return data[:at] + struct.pack("!H", checksum(pseudo + data)) + data[at + 2 :]


def udp(source, to, sport, dport, data):
    return summed(UDP, source, to, struct.pack("!4H", sport, dport, 8 + len(data), 0) + data, 6)


def tcp(source, to, sport, dport, flags, data=b""):
    return summed(TCP, source, to, struct.pack("!2H2I2B3H", sport, dport, 1, 0, 5 << 4, flags, 1000, 0, 0) + data, 16)


def icmp(source, to, kind, code, rest, data):
    """rest: the four bytes after the checksum."""
    body = struct.pack("!BBHI", kind, code, 0, rest) + data
    if ":" in source:
        return summed(ICMP6, source, to, body, 2)
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def ip(source, to, protocol, data, options=b"", fragment=0, ident=1, ttl=64):
    """fragment: IPv4's field, in units of eight bytes; 0x2000: more follow."""
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(data), protocol, ttl) + packed(source) + packed(to) + data
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(data), ident, fragment, ttl, protocol, 0)
    head += packed(source) + packed(to) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def fragments(source, to, protocol, data, *starts, ident=1):
    """Cut at these multiples of eight."""
    pieces = []
    for start, end in zip((0, *starts), (*starts, len(data))):
        more = end < len(data)
        if ":" in source:
            header = struct.pack("!BBHI", protocol, 0, start | more, ident)
            pieces.append(ip(source, to, FRAGMENT, header + data[start:end]))
        else:
            pieces.append(ip(source, to, protocol, data[start:end], fragment=start // 8 | more << 13, ident=ident))
    return pieces


def send(interface, mac, packets):
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as s:
        for packet in packets:
            kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
            s.sendto(packet, (interface, kind, 0, 0, b"" if mac == "-" else bytes.fromhex(mac.replace(":", ""))))


def watch(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind((interface, 3))
    s.settimeout(30)  # and then nobody waits for ever
    print("ready", flush=True)
    while True:
        packet, sender = s.recvfrom(65536)
        if sender[2] != socket.PACKET_OUTGOING:
            print(packet.hex(), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(sys.argv[2])
    send(sys.argv[2], sys.argv[3], [bytes.fromhex(word) for word in sys.argv[4:]])
