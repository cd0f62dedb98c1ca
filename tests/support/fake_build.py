"""A build directory of stand-ins: enough of each program to test the lab without the real ones."""

import os

PROGRAMS = ("jitwg", "jitwgd", "jitwg-signer", "jitwg-gateway", "jitwg-hostd", "jitwg-principals")

# Says on stderr what it was given, reports ready, then answers every connection with its pid.
_DAEMON = r'''#!/usr/bin/python3 -IS
import json, os, select, signal, socket, stat, sys
name = os.path.basename(sys.argv[0])
if sys.argv[1:2] in (["selftest"], ["setup"]):
    sys.exit(0)
if name == "@broken@":
    print("cannot go on like this", file=sys.stderr)
    sys.exit(9)
conf = {"jitwgd": "broker"}.get(name, name.removeprefix("jitwg-"))
config = dict(line.strip().split(" = ", 1) for line in open(f"/etc/jitwg/{conf}.conf"))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
handed = int(os.environ["LISTEN_FDS"]) if int(os.environ.get("LISTEN_PID", 0)) == os.getpid() else 0
state = os.stat(config["state-dir"])
print(json.dumps({
    "name": name, "uid": os.getuid(), "capabilities": status["CapEff"].strip(),
    "bounding": status["CapBnd"].strip(), "state": [state.st_uid, stat.S_IMODE(state.st_mode)],
    "listen": os.environ.get("LISTEN_FDNAMES", "") if handed else "",
    "journal_stream": bool(os.environ.get("JOURNAL_STREAM")),
}), file=sys.stderr, flush=True)
if name == "jitwgd":
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        for node in ("gw1", "gw2", "jump1", "jump2"):
            entry = f"MESSAGE=joined\nJITWG_EVENT=node.joined\nJITWG_NODE={node}\n"
            journal.sendto(entry.encode(), "/run/systemd/journal/socket")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1\nSTATUS=fake", os.environ["NOTIFY_SOCKET"])
listeners = [socket.socket(fileno=3 + number) for number in range(handed)]
while True:
    for listener in select.select(listeners, [], [])[0]:
        with listener.accept()[0] as connection:
            connection.sendall(f"{os.getpid()}\n".encode())
'''


def make_fake_build(folder, broken=""):
    """`broken`: the daemon that exits with 9 instead of starting."""
    daemon = _DAEMON.replace("@broken@", broken)
    for sub in ("bin", "lib"):
        os.makedirs(f"{folder}/{sub}", exist_ok=True)
    for name in PROGRAMS:
        with open(f"{folder}/bin/{name}", "w") as file:
            file.write("#!/bin/sh\nexit 1\n" if name in ("jitwg", "jitwg-principals") else daemon)
        os.chmod(f"{folder}/bin/{name}", 0o755)
    with open(f"{folder}/lib/pam_jitwg.so", "w"):
        pass
    return str(folder)
