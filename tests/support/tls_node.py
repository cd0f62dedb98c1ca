"""A realm whose broker listens to TLS too, and nodes that prove their keys there."""

import base64
import http.client
import socket
import ssl
import subprocess

from certificates import make_certificate
from realm import Node, Realm, wait_for

PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410 §7, before the 32 bytes of the key


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TlsRealm(Realm):
    def __init__(self, directory, address="127.0.0.1", port=None):
        super().__init__(directory)
        self.port = port or free_port()
        self.where = f"https://localhost:{self.port}"
        key, self.certificate = make_certificate(self.dir, "broker", "DNS:localhost,IP:127.0.0.1")
        with open(self.dir / "broker.conf", "a") as conf:
            conf.write(f"listen = {address}:{self.port}\ntls-key = {key}\ntls-certificate = {self.certificate}\n")


def private_key(path):
    """The 32 bytes in an ssh-keygen file without a passphrase (PROTOCOL.key)."""
    lines = path.read_text().splitlines()
    blob = base64.b64decode("".join(lines[1:-1]))
    # The last string but the comment is the key pair: 64 bytes behind their length.
    return blob.rsplit(b"\0\0\0\x40", 1)[1][:32]


def client_certificate(realm, name):
    """A self-signed certificate around the key NAME, and that key: paths of PEM files, made once."""
    key, certificate = realm.dir / f"{name}-tls.key", realm.dir / f"{name}-tls.crt"
    if not certificate.exists():
        text = base64.encodebytes(PKCS8_ED25519 + private_key(realm.dir / name)).decode()
        key.write_text(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
        subprocess.run(["openssl", "req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-out", certificate],
                       capture_output=True, check=True)
    return certificate, key


def connect(realm, key=None, timeout=40):
    """A connection to the realm's broker that proves the key of this name, or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(realm.certificate)
    if key:
        context.load_cert_chain(*client_certificate(realm, key))
    return http.client.HTTPSConnection("localhost", realm.port, context=context, timeout=timeout)


class TlsNode(Node):
    def connection(self):
        return connect(self.realm, self.name_)


def tls_node(realm, name, **options):
    node = TlsNode(realm, name, **options)
    realm.nodes.append(node)
    wait_for(lambda: node.connected.is_set(), f"{name} connected")
    return node
