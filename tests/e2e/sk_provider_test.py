"""The software authenticator does for OpenSSH what a real one does: the tests of sk- keys stand on it."""

import base64
import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import sk_keys  # noqa: E402

pytestmark = sk_keys.needs_provider


def verifies(tmp_path, key, signature, *options):
    """Does ssh-keygen -Y verify take it, with these options in allowed_signers?"""
    (tmp_path / "signers").write_text(" ".join(["alice", *options, key.with_suffix(".pub").read_text()]))
    (tmp_path / "signature").write_text(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "signers", "-I", "alice", "-n", "jitwg", "-s", tmp_path / "signature"]
    return subprocess.run(command, input=b"words", capture_output=True).returncode == 0


@pytest.mark.parametrize("kind", ["ed25519-sk", "ecdsa-sk"])
def test_ssh_keygen_signs_and_verifies(tmp_path, kind):
    key = tmp_path / "key"
    sk_keys.make_key(key, kind)
    assert key.with_suffix(".pub").read_text().startswith("sk-ssh-ed25519@openssh.com " if kind == "ed25519-sk"
                                                          else "sk-ecdsa-sha2-nistp256@openssh.com ")  # fmt: skip
    signature = sk_keys.sign(key, b"words")
    assert verifies(tmp_path, key, signature)
    (tmp_path / "signature").write_text(signature)
    other = subprocess.run(["ssh-keygen", "-Y", "check-novalidate", "-n", "jitwg", "-s", tmp_path / "signature"],
                           input=b"other words", capture_output=True)  # fmt: skip
    assert other.returncode != 0


def blob(signature):
    return base64.b64decode("".join(signature.splitlines()[1:-1]))


@pytest.mark.parametrize("flags", [0, 1, 4, 5])
def test_what_happened_is_in_the_signature(tmp_path, flags):
    key = tmp_path / "key"
    sk_keys.make_key(key)
    signature = sk_keys.sign(key, b"words", flags=flags)
    assert blob(signature)[-5:] == bytes([flags, 0, 0, 0, 7])
    assert verifies(tmp_path, key, signature), "ssh-keygen -Y verify never looks at presence"


def test_keys_remember_what_they_demand(tmp_path):
    for option, flags in (("verify-required", 5), ("no-touch-required", 0)):
        key = tmp_path / option
        sk_keys.make_key(key, "ed25519-sk", option)
        assert blob(sk_keys.sign(key, b"words"))[-5] == flags


def test_ssh_agent_signs(tmp_path):
    key, sock = tmp_path / "key", tmp_path / "agent"
    sk_keys.make_key(key)
    environment = sk_keys.environment(SSH_AUTH_SOCK=str(sock))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", sock, "-P", sk_keys.provider()], env=environment, stdout=subprocess.PIPE)
    try:
        agent.stdout.readline()  # it listens
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True, capture_output=True)
        key.unlink()
        done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-U", "-n", "jitwg", "-f", key.with_suffix(".pub")],
                              input=b"words", env=environment, capture_output=True, check=True)  # fmt: skip
        assert verifies(tmp_path, key, done.stdout.decode())
    finally:
        os.kill(agent.pid, signal.SIGTERM)
        agent.wait()
