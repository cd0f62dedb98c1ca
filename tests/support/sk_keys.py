"""Keys of an authenticator (sk-…) that real ssh-keygen and ssh-agent use, made in software by sk_provider.so."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def provider():
    """Path of the provider, from the build under test or from the debug build, which alone has tests; else None."""
    for build in (os.environ.get("JITWG_BUILD"), ROOT / "build/dev"):
        path = pathlib.Path(build or "/none") / "tests/sk_provider.so"
        if path.exists():
            return str(path.resolve())  # ssh-agent -P compares real paths
    return None


needs_provider = pytest.mark.skipif(provider() is None, reason="SKIPPED: sk_provider.so is not built (dev preset)")


def environment(flags=None, **more):
    """For ssh-keygen, ssh-add, ssh-agent (start it with -P provider()). `flags`: 0 untouched, 1 touched, 4 verified.
    Where OpenSSH asks for a PIN, /bin/true answers an empty one."""
    sk = {"SSH_SK_PROVIDER": provider() or "", "SSH_ASKPASS": "/bin/true", "SSH_ASKPASS_REQUIRE": "force"}
    if flags is not None:
        sk["JITWG_SK_FLAGS"] = str(flags)
    return {**os.environ, **sk, **more}


def make_key(path, kind="ed25519-sk", *options):
    """PATH and PATH.pub, by `ssh-keygen -t KIND`; options such as "verify-required" or "no-touch-required"."""
    words = [word for option in options for word in ("-O", option)]
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path, *words],
                   env=environment(), check=True, stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip


def sign(path, body, namespace="jitwg", flags=None):
    """The armoured SSHSIG over `body`, by ssh-keygen -Y sign."""
    done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", path], input=body,
                          env=environment(flags), check=True, capture_output=True)  # fmt: skip
    return done.stdout.decode()
