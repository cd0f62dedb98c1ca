"""A jitwg-hostd that says what a test wants it to: pam_jitwg/PROTOCOL.md, from the answering side."""

import socket
import threading
import time

SESSION = "0197c0de-0000-7000-8000-00000000abcd"


def answer(verdict="allow", code="ok", session=SESSION, not_after=None, text="", **more):
    if not_after is None:
        not_after = int(time.time()) + 5400
    lines = {"verdict": verdict, "code": code, "session": session, "not_after": not_after, "text": text}
    lines.update(more)
    return ("jitwg1\n" + "".join(f"{key}={value}\n" for key, value in lines.items())).encode()


class FakeHostd:
    """Answers every question with `reply` (bytes); None: takes it and stays silent; b"": hangs up."""

    def __init__(self, path, reply):
        self.questions = []
        self._reply = reply
        self._held = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.questions.append(connection.recv(1 << 20).decode())
            if self._reply is None:
                self._held.append(connection)
                continue
            if self._reply:
                connection.send(self._reply)
            connection.close()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for connection in self._held:
            connection.close()
