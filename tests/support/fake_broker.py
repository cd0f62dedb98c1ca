"""A broker that tells one node what a test wants (broker/PROTOCOL.md, "Nodes"), and keeps what it is told."""

import base64
import json
import os
import queue
import socket
import threading
import time


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def document(body, signature):
    return {"body": base64.b64encode(body).decode(), "signature": signature}


class FakeBroker:
    def __init__(self, path):
        self.reports = []
        self.quiet = threading.Event()  # set: not even a heartbeat
        self._entries = {}
        self._revision = 1
        self._watchers = []
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        os.chmod(path, 0o666)
        self._socket.listen(16)
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, entry):
        with self._lock:
            self._revision += 1
            self._entries[entry["session"]] = entry
            for watcher in self._watchers:
                watcher.put({"revision": self._revision, "now": now(), "set": [entry]})

    def open(self, session, grant):
        self.set({"session": session, "want": "open", "grant": grant})

    def close(self, session, reason):
        self.set({"session": session, "want": "closed", "reason": reason})

    def watched(self):
        return bool(self._watchers)

    def report(self, session, state):
        """The newest report that says so, or None."""
        for report in reversed(self.reports):
            if report["session"] == session and report["state"] == state:
                return report
        return None

    def stop(self):
        self._closed.set()
        self._socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as reader:
                while self._one(connection, reader):
                    pass
        except OSError:
            pass

    def _one(self, connection, reader):
        line = reader.readline().split()
        if not line:
            return False
        length = 0
        while (header := reader.readline().strip()) != b"":
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = json.loads(base64.b64decode(json.loads(reader.read(length))["body"]))
        if line[1] == b"/v1/report":
            self.reports.append(body)
            answer = b'{"accepted":true}'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % len(answer) + answer)
            return True
        self._watch(connection)
        return False

    def _watch(self, connection):
        mine = queue.Queue()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        with self._lock:
            self._watchers.append(mine)
            mine.put({"revision": self._revision, "now": now(), "snapshot": list(self._entries.values())})
        try:
            while not self._closed.is_set():
                try:
                    update = mine.get(timeout=1)
                except queue.Empty:
                    update = {"revision": self._revision, "now": now()}
                if self.quiet.is_set():
                    continue
                line = json.dumps(update).encode() + b"\n"
                connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        finally:
            with self._lock:
                self._watchers.remove(mine)
