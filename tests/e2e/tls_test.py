"""The broker over TLS, real jitwgd and jitwg: who is believed, who is refused, and what they are told."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.client import HTTPSConnection
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from certificates import Authority, make_certificate, openssl, pin_of  # noqa: E402
from realm import Realm, binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not binary("jitwgd"), reason="jitwgd is not built")
HERE = "DNS:localhost,IP:127.0.0.1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- the person's side, against a server that may show anything ---


class Shown:
    """A TLS server on loopback that shows a certificate and remembers what it was sent."""

    def __init__(self, key, certificate, versions=ssl.TLSVersion.TLSv1_3):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.context.maximum_version = versions
        self.received = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.where = f"https://localhost:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                with self.context.wrap_socket(connection, server_side=True) as secured:
                    self.received += secured.recv(65536)
            except OSError:
                connection.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(timeout=10)


@pytest.fixture
def show():
    shown = []

    def start(*words, **options):
        shown.append(Shown(*words, **options))
        return shown[-1]

    yield start
    for server in shown:
        server.close()


@pytest.fixture
def person(tmp_path):
    """Runs `jitwg list --json` of somebody with these configuration keys: (exit code, the error)."""
    for name in ("ca", "alice"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / name], check=True)
    (tmp_path / ".config/jitwg").mkdir(parents=True)

    def ask(where, **trust):
        keys = {"broker": where, "realm": "lab-1", "person": "alice", "identity": tmp_path / "alice",
                "ca": " ".join((tmp_path / "ca.pub").read_text().split()[:2]), **trust}
        config = "".join(f"{key.replace('_', '-')} = {value}\n" for key, value in keys.items())
        (tmp_path / ".config/jitwg/config").write_text(config)
        done = subprocess.run([binary("jitwg"), "list", "--json"], capture_output=True, text=True, timeout=60,
                              env={"HOME": str(tmp_path)})
        return done.returncode, json.loads(done.stdout)["error"]

    return ask


def test_without_pin_or_anchors_nothing_is_sent(person, show, tmp_path):
    server = show(*make_certificate(tmp_path, "broker", HERE))
    code, error = person(server.where)
    assert (code, error["code"]) == (2, "bad_config") and server.received == b""
    assert "broker-pin" in error["hint"] and "broker-ca" in error["hint"]
    code, error = person(server.where, broker_pin="sha256//AAAA")
    assert (code, error["code"]) == (2, "bad_config") and "AAAA" in error["message"]


def test_the_pinned_key_is_enough_whatever_the_certificate_says(person, show, tmp_path):
    key, certificate = Authority(tmp_path).issue("elsewhere", "DNS:elsewhere.example", end="20210101000000Z")
    server = show(key, certificate)
    person(server.where, broker_pin=pin_of(certificate))
    assert server.received.startswith(b"GET /v1/realm HTTP/1.1\r\n")


def test_a_wrong_pin_names_the_key_that_was_shown(person, show, tmp_path):
    server = show(*make_certificate(tmp_path, "broker", HERE))
    _, other = make_certificate(tmp_path, "other", HERE)
    code, error = person(server.where, broker_pin=pin_of(other))
    assert (code, error["code"]) == (3, "untrusted_broker") and server.received == b""
    assert pin_of(tmp_path / "broker.crt") in error["message"]


@pytest.mark.parametrize(
    ("hosts", "dates", "word"),
    [
        ("DNS:localhost", {"end": "20210101000000Z"}, "expired"),
        ("DNS:localhost", {"start": "20400101000000Z"}, "not yet valid"),
        ("DNS:elsewhere.example", {}, "hostname mismatch"),
    ],
)  # fmt: skip
def test_anchors_demand_dates_and_name(person, show, tmp_path, hosts, dates, word):
    authority = Authority(tmp_path)
    good = show(*authority.issue("good", "DNS:localhost"))
    person(good.where, broker_ca=authority.certificate)
    assert good.received.startswith(b"GET /v1/realm HTTP/1.1\r\n")
    bad = show(*authority.issue("bad", hosts, **dates))
    code, error = person(bad.where, broker_ca=authority.certificate)
    assert (code, error["code"]) == (3, "untrusted_broker") and bad.received == b""
    assert word in error["message"]


def test_a_certificate_of_another_authority_is_unknown(person, show, tmp_path):
    server = show(*Authority(tmp_path, "one").issue("broker", "DNS:localhost"))
    code, error = person(server.where, broker_ca=Authority(tmp_path, "two").certificate)
    assert (code, error["code"]) == (3, "untrusted_broker") and server.received == b""


def test_an_older_tls_is_no_connection(person, show, tmp_path):
    key, certificate = make_certificate(tmp_path, "broker", HERE)
    server = show(key, certificate, versions=ssl.TLSVersion.TLSv1_2)
    code, error = person(server.where, broker_pin=pin_of(certificate))
    assert (code, error["code"]) == (5, "broker_unavailable") and server.received == b""
    assert "TLS 1.3" in error["message"]


# --- the broker's side ---


class TlsRealm(Realm):
    def __init__(self, directory):
        super().__init__(directory)
        self.port = free_port()
        self.key, self.certificate = make_certificate(self.dir, "broker", HERE)
        with open(self.dir / "broker.conf", "a") as conf:
            conf.write(f"listen = 127.0.0.1:{self.port}\ntls-key = {self.key}\ntls-certificate = {self.certificate}\n")

    def context(self, certificate=None, key=None):
        context = ssl.create_default_context(cafile=self.certificate)
        if certificate:
            context.load_cert_chain(certificate, key)
        return context

    def secured(self, context=None):
        """A TLS connection, handshake done."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return (context or self.context()).wrap_socket(raw, server_hostname="localhost")

    def ask_tls(self, context=None):
        connection = HTTPSConnection("localhost", self.port, timeout=20, context=context or self.context())
        try:
            connection.request("GET", "/v1/realm")
            return connection.getresponse().status
        finally:
            connection.close()

    def say_plainly(self, text):
        """What the TLS port answers to these bytes, until it closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as raw:
            raw.sendall(text)
            answer = b""
            while more := raw.recv(65536):
                answer += more
            return answer

    def client_hello(self):
        outgoing = ssl.MemoryBIO()
        client = self.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()


@pytest.fixture
def stopped(tmp_path):
    made = TlsRealm(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    made = TlsRealm(tmp_path_factory.mktemp("realm"))
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


def test_an_access_is_asked_for_over_tls(realm, person):
    # alice's key of the realm, not the fixture's: only the way to the broker is looked at here.
    code, error = person(f"https://localhost:{realm.port}", broker_pin=pin_of(realm.certificate))
    assert error["code"] == "foreign_grant", "the broker's word on its CA key has arrived, and is not believed"
    document, session, token = realm.request()
    assert realm.post("/v1/statements", document)[0] == 200
    connection = HTTPSConnection("localhost", realm.port, timeout=20, context=realm.context())
    for _ in range(3):  # kept
        connection.request("GET", f"/v1/sessions/{session}", headers={"Authorization": f"Bearer {token}"})
        assert json.loads(connection.getresponse().read())["state"] == "pending"
    connection.close()


def test_older_tls_and_other_protocols_are_refused(realm):
    old = realm.context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|protocol version"):
        realm.secured(old)
    http2 = realm.context()
    http2.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|no application protocol"):
        realm.secured(http2)
    http1 = realm.context()
    http1.set_alpn_protocols(["h2", "http/1.1"])
    with realm.secured(http1) as secured:
        assert (secured.version(), secured.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")


@pytest.mark.parametrize("text", [b"GET /v1/realm HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\x00\x00"])
def test_plaintext_on_the_tls_port_is_told_so(realm, text):
    head, _, body = realm.say_plainly(text).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "https://" in json.loads(body)["error"]["hint"]


def test_a_tls_record_of_rubbish_ends_only_its_connection(realm):
    assert b"HTTP" not in realm.say_plainly(b"\x16\x03\x01\x00\x05hello")
    assert realm.ask_tls() == 200


def test_client_certificates_are_ed25519_or_none(realm, tmp_path):
    key, certificate = make_certificate(tmp_path, "node", key_type="ed25519")
    assert realm.ask_tls(realm.context(certificate, key)) == 200
    for name, key_type in (("rsa", "rsa:2048"), ("ecdsa", "P-256")):
        key, certificate = make_certificate(tmp_path, name, key_type=key_type)
        with pytest.raises(ssl.SSLError, match="unsupported certificate|UNSUPPORTED_CERTIFICATE"):
            realm.ask_tls(realm.context(certificate, key))


def test_half_open_connections_hold_up_nobody_and_are_cut(realm):
    half_hello = realm.client_hello()[:100]
    held = []
    for i in range(1000):
        connection = socket.create_connection(("127.0.0.1", realm.port), timeout=20)
        connection.sendall(half_hello if i % 2 else b"")
        held.append(connection)
    start = time.monotonic()
    assert realm.ask_tls() == 200 and realm.get("/v1/realm")[0] == 200
    assert time.monotonic() - start < 8, "while a thousand owe their handshake"

    def is_cut(connection):
        connection.setblocking(False)
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    wait_for(lambda: all(is_cut(connection) for connection in held), "all cut", seconds=40)
    for connection in held:
        connection.close()


def test_a_flood_of_handshakes_leaves_the_others_served(realm):
    """Four that only repeat a recorded ClientHello, so that all the work is the broker's."""
    hello = realm.client_hello()
    kept = HTTPSConnection("localhost", realm.port, timeout=30, context=realm.context())
    kept.connect()
    over = threading.Event()
    counts = []

    def flood():
        count = 0
        while not over.is_set():
            with socket.create_connection(("127.0.0.1", realm.port), timeout=30) as raw:
                raw.sendall(hello)
                raw.recv(1)
            count += 1
        counts.append(count)

    attackers = [threading.Thread(target=flood, daemon=True) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        for _ in range(20):
            kept.request("GET", "/v1/realm")
            assert kept.getresponse().read()
            assert realm.get("/v1/realm")[0] == 200
        assert realm.ask_tls() == 200
    finally:
        over.set()
        for attacker in attackers:
            attacker.join(timeout=40)
        kept.close()
    assert sum(counts) > 20, "it was no flood"


def spoil(key, how):
    if how == "missing":
        key.unlink()
    elif how == "readable by others":
        key.chmod(0o644)
    elif how == "a passphrase":
        key.write_bytes(openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:secret"))
    elif how == "another's":
        key.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    elif how == "no PEM":
        key.write_text("hello\n")


@pytest.mark.parametrize("how", ["missing", "readable by others", "a passphrase", "another's", "no PEM"])
def test_listening_with_a_key_that_will_not_do_stops_the_start(stopped, how):
    spoil(stopped.key, how)
    done = subprocess.run([binary("jitwgd"), "--config", stopped.dir / "broker.conf"], capture_output=True, text=True, timeout=30)
    code, word = {"missing": (2, "jitwgd init"), "readable by others": (1, "unsafe_file")}.get(how, (2, "tls-key"))
    assert done.returncode == code and word in done.stderr, done.stderr


@pytest.mark.parametrize("address", ["localhost:7443", "7443", "[::1]", "::1:7443", "127.0.0.1:0"])
def test_listen_takes_an_address_and_a_port(stopped, address):
    done = subprocess.run([binary("jitwgd"), "--config", stopped.dir / "broker.conf", "--listen", address],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and address in done.stderr and "[::]:7443" in done.stderr
