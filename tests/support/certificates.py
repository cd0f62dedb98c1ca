"""TLS keys and certificates for tests, made by the openssl command."""

import base64
import hashlib
import subprocess
from pathlib import Path

CONFIG = """[ca]
default_ca = d
[d]
new_certs_dir = {dir}
database = {dir}/index.txt
rand_serial = yes
default_md = sha256
copy_extensions = copy
unique_subject = no
policy = p
[p]
commonName = supplied
"""


def openssl(*words, **options):
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True, **options).stdout


def _key_options(key_type):
    ecdsa = key_type.startswith("P-")
    return ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{key_type}"] if ecdsa else ["-newkey", key_type]


def make_certificate(directory, name, hosts="", key_type="P-256"):
    """A self-signed pair: NAME.key, NAME.crt. `hosts` as in subjectAltName: DNS:localhost,IP:127.0.0.1"""
    key, certificate = Path(directory) / f"{name}.key", Path(directory) / f"{name}.crt"
    names = ["-addext", f"subjectAltName={hosts}"] if hosts else []
    openssl("req", "-x509", *_key_options(key_type), "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate, *names)
    key.chmod(0o600)
    return key, certificate


class Authority:
    """A CA that certifies keys for whatever dates it is told."""

    def __init__(self, directory, name="authority"):
        self.dir = Path(directory) / name
        self.dir.mkdir()
        self.key, self.certificate = make_certificate(self.dir, name)
        (self.dir / "index.txt").touch()
        (self.dir / "config").write_text(CONFIG.format(dir=self.dir))

    def issue(self, name, hosts, start="20200101000000Z", end="20991231235959Z"):
        key, request, certificate = (self.dir / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
        openssl("req", *_key_options("P-256"), "-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName={hosts}",
                "-keyout", key, "-out", request)
        key.chmod(0o600)
        openssl("ca", "-batch", "-notext", "-config", self.dir / "config", "-keyfile", self.key, "-cert", self.certificate,
                "-in", request, "-startdate", start, "-enddate", end, "-out", certificate)
        return key, certificate


def pin_of(certificate):
    """The pin by other means than ours."""
    public = openssl("x509", "-in", certificate, "-pubkey", "-noout")
    der = openssl("pkey", "-pubin", "-outform", "der", input=public)
    return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()
