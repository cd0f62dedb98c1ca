"""jitwg-signer killed, out of disk, on a read-only disk: what it has answered it knows afterwards, and answers the very same."""

import base64
import hashlib
import json
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import Realm, binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not binary("jitwg-signer"), reason="SKIPPED: jitwg-signer is not built")
CLIENTS = 4


class Asker:
    """One connection to the signer's socket (ssh-ca/PROTOCOL.md)."""

    def __init__(self, realm):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(str(realm.run / "signer.sock"))

    def ask(self, question):
        """The answer's bytes, or None when the signer went away."""
        try:
            frame = json.dumps(question).encode()
            self.socket.sendall(struct.pack(">I", len(frame)) + frame)
            (size,) = struct.unpack(">I", self.take(4))
            return self.take(size)
        except OSError:
            return None

    def take(self, size):
        got = b""
        while len(got) < size:
            more = self.socket.recv(size - len(got))
            if not more:
                raise OSError("gone")
            got += more
        return got


def question(realm):
    document, session, _ = realm.request()
    digest = hashlib.sha256((realm.dir / "policy.toml").read_bytes()).hexdigest()
    return {"op": "issue", "request": document, "decisions": [realm.decision("carol", session, document)],
            "gateway": "gw1", "policy_sha256": digest}


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    yield made
    made.close()


def restart(realm):
    (realm.run / "signer.sock").unlink(missing_ok=True)
    realm.start("jitwg-signer")
    wait_for(lambda: can_connect(realm), "the signer to listen")


def can_connect(realm):
    try:
        return Asker(realm)
    except OSError:
        return None


def test_killed_under_load_it_forgets_no_answer(realm):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    answered = {}  # question number: bytes
    questions = [question(realm) for _ in range(120)]
    for rounds in range(8):
        restart(realm)
        todo = iter([n for n in range(len(questions)) if n not in answered])
        lock = threading.Lock()

        def work():
            asker = can_connect(realm)  # None: the kill was quicker
            while asker and (number := next_of(lock, todo)) is not None:
                answer = asker.ask(questions[number])
                if answer is None:
                    return
                assert b'"grant"' in answer, answer
                with lock:
                    answered[number] = answer

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.0, 0.06))
        realm.end("jitwg-signer", signal.SIGKILL)
        for thread in threads:
            thread.join()
        # Whatever a power cut would have left of a write that was never answered.
        with open(realm.dir / "signer/ledger", "ab") as ledger:
            ledger.write((("0" * 64 + ' {"kind":"iss')[: dice.randrange(0, 70)]).encode())
        restart(realm)
        asker = Asker(realm)
        for number, answer in answered.items():
            assert asker.ask(questions[number]) == answer, f"another answer than before the crash, round {rounds}"
        realm.end("jitwg-signer", signal.SIGKILL)
    assert len(answered) > 10
    restart(realm)
    everything = [Asker(realm).ask(q) for q in questions]
    addresses = [a for e in everything for a in json.loads(base64.b64decode(json.loads(e)["grant"]["body"]))["address"]]
    assert len(set(addresses)) == len(questions), "an address was given twice"


def next_of(lock, todo):
    with lock:
        return next(todo, None)


@pytest.fixture
def small_disk(realm):
    """The ledger's folder on a disk of 64 KiB."""
    folder = realm.dir / "signer"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", folder], check=True)
    (folder / "ledger").touch(0o600)
    try:
        yield folder
    finally:
        realm.close()
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_it_loudly_and_no_answer_is_lost(realm, small_disk):
    restart(realm)
    asker, answered = Asker(realm), []
    for _ in range(40):
        asked = question(realm)
        answer = asker.ask(asked)
        if answer is None:
            break
        answered.append((asked, answer))
    assert 3 < len(answered) < 40, "it said yes to what it could not keep, or never filled the disk"
    process = realm.processes.pop("jitwg-signer")
    assert process.wait(10) == 1
    assert "No space left" in realm.log("jitwg-signer")
    # Started again with the disk still full: it knows everything, and ends at the first thing that it cannot keep.
    restart(realm)
    assert "torn" in realm.log("jitwg-signer")
    asker = Asker(realm)
    for asked, answer in answered:
        assert asker.ask(asked) == answer
    filler = small_disk / "filler"
    with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    assert asker.ask(question(realm)) is None
    assert realm.processes.pop("jitwg-signer").wait(10) == 1
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    restart(realm)
    asker = Asker(realm)
    assert [asker.ask(asked) for asked, _ in answered] == [answer for _, answer in answered]
    assert b'"grant"' in asker.ask(question(realm))


def test_a_read_only_disk_is_said_at_start(realm, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = subprocess.run([binary("jitwg-signer"), "--config", realm.dir / "signer.conf"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "Read-only file system" in done.stderr
    assert not (realm.run / "signer.sock").exists()
    # While it runs: the open file may still be written or not, but nothing is answered that is not kept.
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    restart(realm)
    asked = question(realm)
    answer = Asker(realm).ask(asked)
    realm.end("jitwg-signer", signal.SIGKILL)
    restart(realm)
    assert Asker(realm).ask(asked) == answer
