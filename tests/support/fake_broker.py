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
        self.watches = []  # what each subscription said
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
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

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

    def forget(self, session):
        """As a broker that has lost it: the next snapshot does not name it."""
        with self._lock:
            del self._entries[session]

    def say(self, line):
        """One line as it is, bytes, to all that watch."""
        self.say_raw(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))

    def say_raw(self, data):
        """To the connection, past the chunks. None: hang up."""
        with self._lock:
            for watcher in self._watchers:
                watcher.put(data)

    def update(self, revision=None, **what):
        """A line that says so: update(set=[...]), update(snapshot=[...])."""
        if revision is None:
            self._revision += 1
        return json.dumps({"revision": revision or self._revision, "now": now(), **what}).encode()

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
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept(): its thread must not wait at a number that another gets
        except OSError:
            pass
        self._acceptor.join()
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
        self.watches.append(body)
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
                if update is None:
                    return
                if isinstance(update, bytes):
                    connection.sendall(update)
                    continue
                if self.quiet.is_set():
                    continue
                line = json.dumps(update).encode() + b"\n"
                connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        finally:
            with self._lock:
                self._watchers.remove(mine)
