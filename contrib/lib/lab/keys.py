"""Every key of a new lab, made by the tools an admin would use, then held in memory only."""

import base64
import hashlib
import os
import secrets
import subprocess
import tempfile
from dataclasses import dataclass

from . import world
from .errors import LabError


@dataclass(frozen=True)
class SshKey:
    private: str  # OpenSSH private key file
    public: str  # "ssh-ed25519 AAAA…", without comment


@dataclass(frozen=True)
class TlsKey:
    private: str  # PEM
    certificate: str  # PEM, self-signed
    pin: str


@dataclass(frozen=True)
class Keys:
    realm: str
    ca: SshKey
    nodes: dict  # gateway or jump host -> its SshKey
    hosts: dict  # jump host -> sshd's SshKey
    people: dict  # name -> SshKey
    wireguard: dict  # gateway -> (private, public)
    tls: TlsKey  # the broker's


def _run(argv, text=None):
    try:
        return subprocess.run(
            argv, input=text, capture_output=True, text=True, check=True
        ).stdout.strip()
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise LabError(f"{' '.join(argv)}: {error.stderr.strip()}") from error


def _make_ssh_keys(names, scratch):
    """All at once: each is a process of its own, and most of its time is waiting for a core."""
    # A signal may come while a child is being started, and that child still write while the folder is removed: whoever
    # made `scratch` removes the rest.
    with tempfile.TemporaryDirectory(prefix="keys-", dir=scratch, ignore_cleanup_errors=True) as folder:
        running = []
        try:
            for name in names:
                argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name]
                argv += ["-f", f"{folder}/{name}"]
                running.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))
        except FileNotFoundError as error:
            raise LabError("ssh-keygen is not installed") from error
        finally:
            codes = [process.wait() for process in running]
        if any(codes):
            raise LabError("ssh-keygen failed, see above")
        made = {}
        for name in names:
            with open(os.path.join(folder, name)) as private:
                with open(os.path.join(folder, f"{name}.pub")) as public:
                    made[name] = SshKey(private.read(), " ".join(public.read().split()[:2]))
        return made


def _make_wireguard_key():
    private = _run(["wg", "genkey"])
    return private, _run(["wg", "pubkey"], private + "\n")


def _make_tls_key(host):
    made = _run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "3650"]
        + ["-subj", f"/CN={host}", "-keyout", "-", "-out", "-"]
    )
    private, end, certificate = made.partition("-----END PRIVATE KEY-----\n")
    public = _run(["openssl", "pkey", "-pubout"], private + end)
    der = base64.b64decode("".join(public.splitlines()[1:-1]))  # the SubjectPublicKeyInfo
    pin = "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()
    return TlsKey(private + end, certificate + "\n", pin)


def make(scratch):
    """scratch: a folder that only root reads; nothing stays in it."""
    people = {person: f"{person}@person" for person in world.PEOPLE}
    nodes = {node: f"{node}-node" for node in world.NODES}
    hosts = {node: f"{node}-host" for node in world.JUMP_HOSTS}
    ssh = _make_ssh_keys(["ca", *nodes.values(), *hosts.values(), *people.values()], scratch)
    return Keys(
        realm=f"lab-{secrets.token_hex(2)}",
        ca=ssh["ca"],
        nodes={node: ssh[name] for node, name in nodes.items()},
        hosts={node: ssh[name] for node, name in hosts.items()},
        people={person: ssh[comment] for person, comment in people.items()},
        wireguard={gateway: _make_wireguard_key() for gateway in world.GATEWAYS},
        tls=_make_tls_key("broker"),
    )
