"""Listening sockets that a service manager hands in, told apart by their names."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("JITWG_BUILD", ROOT / "build" / "release"))


def listener(path, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    made.listen(8)
    return made


def start(folder, sockets, names):
    """jitwgd with these sockets as descriptors 3, 4, …, as systemd starts it; names None: without LISTEN_FDNAMES."""
    environment = {"PATH": os.environ["PATH"]}
    if sockets:
        environment["LISTEN_FDS"] = str(len(sockets))
    if names is not None:
        environment["LISTEN_FDNAMES"] = names
    numbers = [made.fileno() for made in sockets]

    def place():
        aside = [os.dup2(number, 100 + i) for i, number in enumerate(numbers)]
        for i, number in enumerate(aside):
            os.dup2(number, 3 + i, inheritable=True)

    folder.joinpath("broker.conf").write_text("")
    words = [f"{BUILD}/bin/jitwgd", "--config", folder / "broker.conf", "--state-dir", folder / "state",
             "--runtime-dir", folder / "run", "--signer", folder / "signer.sock"]  # fmt: skip
    (folder / "run").mkdir()
    # close_fds would close what `place` puts there; all others of this process are not inheritable.
    return subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *map(str, words)], env=environment,
                            preexec_fn=place, close_fds=False, stderr=subprocess.PIPE, text=True)  # fmt: skip


def refusal(folder, sockets, names):
    daemon = start(folder, sockets, names)
    _, said = daemon.communicate(timeout=30)
    assert daemon.returncode == 2, said
    return said


def status_line(path):
    """Of the answer to a request for nothing."""
    deadline = time.monotonic() + 30
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(deadline - time.monotonic())
        client.connect(str(path))
        client.sendall(b"GET /nothing HTTP/1.1\r\nHost: jitwg\r\n\r\n")
        return client.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("names", [None, "broker", "broker.sock"])
def test_a_single_socket_is_the_unix_socket(tmp_path, names):
    daemon = start(tmp_path, [listener(tmp_path / "handed")], names)
    try:
        assert status_line(tmp_path / "handed").startswith(b"HTTP/1.1 ")
        assert not (tmp_path / "run/broker.sock").exists()
    finally:
        daemon.terminate()
        daemon.wait(30)
    assert daemon.returncode == 0


def test_without_one_it_makes_its_own(tmp_path):
    daemon = start(tmp_path, [], None)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "run/broker.sock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert status_line(tmp_path / "run/broker.sock").startswith(b"HTTP/1.1 ")
    finally:
        daemon.terminate()
        daemon.wait(30)


@pytest.mark.parametrize("second", ["hostd", "broker"])
def test_a_second_socket_that_it_does_not_know_is_refused(tmp_path, second):
    said = refusal(tmp_path, [listener(tmp_path / "a"), listener(tmp_path / "b")], f"broker:{second}")
    assert f'sockets "broker" and "{second}" were handed in for one' in said and "FileDescriptorName=" in said


def test_a_socket_of_another_type_is_refused(tmp_path):
    said = refusal(tmp_path, [listener(tmp_path / "a", socket.SOCK_SEQPACKET)], "broker")
    assert "not a listening Unix socket of the right type" in said
