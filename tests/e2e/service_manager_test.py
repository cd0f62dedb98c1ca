"""What signer and broker tell a service manager: ready, reloading, stopping, and to the watchdog that they still turn."""

import os
import signal
import socket
import subprocess
import time

import pytest

from realm import Realm, binary

pytestmark = pytest.mark.skipif(binary("jitwgd") is None, reason="not built")
WATCHDOG = 0.4


class Manager:
    """Holds NOTIFY_SOCKET of one program; every line that came, in order."""

    def __init__(self, folder, name):
        self.path = str(folder / f"notify-{name}")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.lines = []

    def listen(self, seconds):
        """Lines that come within that time."""
        got, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                got += self.socket.recv(65536).decode().splitlines()
            except TimeoutError:
                break
        return got

    def wait_for(self, *wanted, seconds=30):
        """Until these lines came in this order; all that came since the last wait."""
        got, deadline = [], time.monotonic() + seconds
        left = list(wanted)
        while left:
            assert time.monotonic() < deadline, f"{left} did not come, but {got}"
            self.socket.settimeout(deadline - time.monotonic())
            for line in self.socket.recv(65536).decode().splitlines():
                got.append(line)
                if left and line == left[0]:
                    del left[0]
        return got


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


@pytest.fixture(params=["jitwg-signer", "jitwgd"])
def daemon(realm, request):
    """(manager, process) of a program that was started again, under a watchdog."""
    name = request.param
    realm.end(name)
    for left in realm.run.glob({"jitwgd": "broker.sock", "jitwg-signer": "signer.sock"}[name]):
        left.unlink()
    manager = Manager(realm.dir, name)
    environment = dict(os.environ, NOTIFY_SOCKET=manager.path, WATCHDOG_USEC=str(int(WATCHDOG * 1e6)))
    conf = {"jitwgd": "broker.conf", "jitwg-signer": "signer.conf"}[name]
    process = subprocess.Popen([binary(name), "--config", realm.dir / conf], env=environment, stderr=subprocess.PIPE)
    realm.processes[name] = process
    manager.wait_for("READY=1")
    yield manager, process
    process.stderr.close()


def test_the_watchdog_hears_of_it_while_it_turns_and_no_longer(daemon):
    manager, process = daemon
    manager.wait_for(*["WATCHDOG=1"] * 5)
    os.kill(process.pid, signal.SIGSTOP)
    manager.listen(WATCHDOG)  # what was on its way
    assert manager.listen(3 * WATCHDOG) == []
    os.kill(process.pid, signal.SIGCONT)
    manager.wait_for("WATCHDOG=1")


def test_reload_is_said_from_begin_to_end(daemon):
    manager, process = daemon
    for _ in range(2):
        os.kill(process.pid, signal.SIGHUP)
        said = manager.wait_for("RELOADING=1", "READY=1")
        assert process.poll() is None and not any("refused" in line for line in said)


def test_stop_is_clean(daemon):
    manager, process = daemon
    process.terminate()
    assert process.wait(30) == 0
    manager.wait_for("STOPPING=1")


def test_what_a_reload_refuses_stands_in_the_status(realm):
    manager = Manager(realm.dir, "signer")
    realm.end("jitwg-signer")
    realm.run.joinpath("signer.sock").unlink(missing_ok=True)
    environment = dict(os.environ, NOTIFY_SOCKET=manager.path)
    realm.processes["jitwg-signer"] = process = subprocess.Popen(
        [binary("jitwg-signer"), "--config", realm.dir / "signer.conf"], env=environment, stderr=subprocess.DEVNULL)  # fmt: skip
    manager.wait_for("READY=1")
    manager.listen(0.5)
    assert "WATCHDOG=1" not in manager.listen(0.5)  # nobody asked for it
    with open(realm.dir / "policy.toml", "a") as policy:
        policy.write("nonsense\n")
    os.kill(process.pid, signal.SIGHUP)
    assert any("reload refused: bad_policy" in line for line in manager.wait_for("RELOADING=1", "READY=1"))
    realm.write_policy()
    os.kill(process.pid, signal.SIGHUP)
    assert not any("refused" in line for line in manager.wait_for("RELOADING=1", "READY=1"))
