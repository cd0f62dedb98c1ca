"""`jitwgd doctor` and TLS: key, certificate and its end, and a broker that shows another key than the one on the disk."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from certificates import Authority  # noqa: E402
from realm import Realm, binary  # noqa: E402

pytestmark = pytest.mark.skipif(not binary("jitwgd") or os.geteuid() != 0, reason="needs jitwgd built, and root")
RIGHTLY = {"user", "unit"}  # what the test's machine may lack


@pytest.fixture
def realm():
    directory = tempfile.mkdtemp(prefix="jitwg-doctor-", dir="/root")  # /tmp is not root's alone
    made = Realm(directory)
    yield made
    made.close()
    shutil.rmtree(directory)


def serve(realm, end="20991231235959Z"):
    """Port; key and certificate are broker.key and broker.crt."""
    key, certificate = Authority(realm.dir).issue("broker", "DNS:localhost,IP:127.0.0.1", end=end)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(realm.dir / "broker.conf", "a") as conf:
        conf.write(f"listen = 127.0.0.1:{port}\ntls-key = {key}\ntls-certificate = {certificate}\n")
    realm.start("jitwg-signer", "jitwgd")
    return port, key, certificate


def doctor(realm):
    """What is not ok."""
    done = subprocess.run([binary("jitwgd"), "doctor", "--json", "--config", realm.dir / "broker.conf"],
                          capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)
    assert done.returncode == any(f["level"] == "problem" for f in found), done
    return {f["check"]: f for f in found if f["level"] != "ok" and f["check"] not in RIGHTLY}


def test_a_broker_over_tls_is_reached_with_the_key_on_the_disk(realm):
    _, key, certificate = serve(realm)
    assert doctor(realm) == {}
    key.chmod(0o640)
    found = doctor(realm)
    assert set(found) == {"tls_key"} and found["tls_key"]["remedy"] == f"chmod 0600 {key}"
    key.chmod(0o600)
    # Another pair on the disk, which the running broker does not show: who pins that is refused.
    other_key, other = Authority(realm.dir, "second").issue("other", "DNS:localhost")
    shutil.copy(other, certificate)
    assert set(doctor(realm)) == {"tls_certificate", "tls_listening"}
    shutil.copy(other_key, key)
    found = doctor(realm)
    assert set(found) == {"tls_listening"} and found["tls_listening"]["level"] == "problem", found


@pytest.mark.parametrize("left, level", [(timedelta(days=-1), "problem"), (timedelta(days=10), "warning")])
def test_a_certificate_that_ends_is_told_in_time(realm, left, level):
    end = datetime.now(timezone.utc) + left
    _, _, certificate = serve(realm, end=f"{end:%Y%m%d%H%M%SZ}")
    found = doctor(realm)
    assert set(found) == {"tls_certificate"} and found["tls_certificate"]["level"] == level, found
    assert f"{end:%Y-%m-%dT%H:%M:%SZ}" in found["tls_certificate"]["text"] and str(certificate) in found["tls_certificate"]["remedy"]


def test_a_signer_and_a_broker_that_are_down(realm):
    serve(realm)
    realm.end("jitwg-signer")
    found = doctor(realm)
    assert {"signer", "clock"} <= set(found) and "systemctl" in found["signer"]["remedy"] + found["signer"]["text"], found
    realm.end("jitwgd")
    assert {"listening", "tls_listening"} <= set(doctor(realm))
