"""jitwgd init, and what is done with the block it prints: `jitwg trust` on the person's side."""

import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from bare_host import BareHost, possible  # noqa: E402
from realm import binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not possible(), reason="SKIPPED: needs root and built programs")
NAME = ["--name", "broker.example"]


@pytest.fixture
def host(tmp_path):
    made = BareHost(tmp_path)
    yield made
    made.close()


class Signer:
    """A real one, on its host, as its user."""

    def __init__(self, host):
        assert host.ours("jitwg-signer", "init").returncode == 0
        host.sh("mkdir -p /run/jitwg && chown jitwg-ca /run/jitwg")
        self.process = subprocess.Popen(host.command("setpriv", "--reuid=jitwg-ca", "--regid=jitwg-ca", "--clear-groups",
                                                     binary("jitwg-signer")), stderr=subprocess.DEVNULL)  # fmt: skip
        wait_for(lambda: host.run("test", "-S", "/run/jitwg/signer.sock").returncode == 0, "signer.sock")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


@pytest.fixture
def signer(host):
    made = Signer(host)
    yield made
    made.stop()


def runs(host, *words):
    done = host.ours("jitwgd", "init", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuses(host, *words):
    before = host.listing()
    done = host.ours("jitwgd", "init", *words)
    assert done.returncode in (1, 2, 3), done.stdout
    assert host.listing() == before, "a refusal changes nothing"
    return done.stderr


def openssl_pin(host, path="/etc/jitwg/broker_tls.crt"):
    return "sha256//" + host.sh(f"openssl x509 -in {path} -pubkey -noout | openssl pkey -pubin -outform der | "
                                "openssl dgst -sha256 -binary | base64").strip()  # fmt: skip


def block_of(text):
    return text[text.index("-----BEGIN") : text.index("-----END JITWG TRUST-----")] + "-----END JITWG TRUST-----\n"


def test_init_makes_key_certificate_and_block(host, signer):
    said = runs(host, *NAME)
    for path, mode in {
        "/etc/jitwg/broker_tls.key": "jitwg:jitwg 600", "/etc/jitwg/broker_tls.crt": "root:root 644",
        "/etc/jitwg/broker.conf": "root:root 644", "/var/lib/jitwg/broker": "jitwg:jitwg 700", "/var/lib/jitwg": "root:root 755",
    }.items():  # fmt: skip
        assert host.mode(path) == mode, path
    realm = re.search(r'^realm = "(.*?)"', host.read("/etc/jitwg/policy.toml"), re.MULTILINE).group(1)
    ca = " ".join(host.read("/etc/jitwg/ca.pub").split()[:2])
    assert block_of(said) == (f"-----BEGIN JITWG TRUST-----\nbroker = https://broker.example\nbroker-pin = {openssl_pin(host)}\n"
                              f"ca = {ca}\nrealm = {realm}\n-----END JITWG TRUST-----\n")  # fmt: skip
    assert "DNS:broker.example" in host.sh("openssl x509 -in /etc/jitwg/broker_tls.crt -noout -ext subjectAltName")
    value = json.loads(runs(host, "--json"))
    assert value["trust"] == block_of(said) and value["realm"] == realm


def test_while_the_ca_key_is_changed_the_block_has_both(host):
    host.ours("jitwg-signer", "init")
    host.sh("ssh-keygen -q -t ed25519 -N '' -f /etc/jitwg/next && echo 'ca-also = /etc/jitwg/next.pub' >> /etc/jitwg/signer.conf")
    signer = Signer(host)
    try:
        said = runs(host, *NAME)
    finally:
        signer.stop()
    keys = [" ".join(host.read(f"/etc/jitwg/{name}.pub").split()[:2]) for name in ("ca", "next")]
    assert [line for line in block_of(said).splitlines() if line.startswith("ca =")] == [f"ca = {key}" for key in keys]


def test_a_second_run_needs_no_words_says_the_same_and_changes_nothing(host, signer):
    said, before = runs(host, *NAME), host.listing()
    assert runs(host) == said == runs(host, *NAME)
    assert "name = broker.example, not other.example" in refuses(host, "--name", "other.example")
    assert host.listing() == before


def test_without_the_signer_all_else_is_made_and_the_next_run_goes_on(host):
    done = host.ours("jitwgd", "init", *NAME)
    assert done.returncode == 5 and "systemctl enable --now jitwg-signer" in done.stderr, done.stderr
    assert host.mode("/etc/jitwg/broker_tls.key") == "jitwg:jitwg 600"
    pin, signer = openssl_pin(host), Signer(host)
    try:
        assert pin in runs(host)
    finally:
        signer.stop()


@pytest.mark.parametrize("missing", ["broker_tls.crt", "broker.conf"])
def test_it_goes_on_where_it_stopped(host, signer, missing):
    said = runs(host, *NAME)
    host.sh(f"rm /etc/jitwg/{missing}; touch /etc/jitwg/{missing}.init.new")
    assert runs(host, *NAME) == said


def test_a_certificate_that_an_administrator_put_there_stays(host, signer):
    host.sh("cd /etc/jitwg && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=site -keyout broker_tls.key -out broker_tls.crt "
            "-days 9 2>/dev/null && chown jitwg:jitwg broker_tls.key && chmod 600 broker_tls.key")
    certificate = host.read("/etc/jitwg/broker_tls.crt")
    assert openssl_pin(host) in runs(host, *NAME)
    assert host.read("/etc/jitwg/broker_tls.crt") == certificate
    host.sh("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout /run/k -out /etc/jitwg/broker_tls.crt -days 9 2>/dev/null")
    assert "is not the certificate of" in refuses(host)
    host.sh("echo rubbish > /etc/jitwg/broker_tls.key")
    assert "no private key" in refuses(host)


@pytest.mark.parametrize("name", ["", "a b", "https://x", "host:port", "host:0", "2001:db8::5"], ids=str)
def test_names_that_nobody_can_connect_to(host, signer, name):
    host.sh("rm -rf /etc/jitwg/x")
    assert refuses(host, f"--name={name}")


@pytest.mark.parametrize("name, ext", [("[2001:db8::5]:8443", "IP Address:2001:DB8"), ("192.0.2.5", "IP Address:192.0.2.5")])
def test_addresses_are_names_too(host, signer, name, ext):
    assert f"broker = https://{name}\n" in runs(host, "--name", name)
    assert ext in host.sh("openssl x509 -in /etc/jitwg/broker_tls.crt -noout -ext subjectAltName")


def test_without_users_or_root(tmp_path, host):
    bare = BareHost(tmp_path / "bare", users=False)
    try:
        assert "systemd-sysusers jitwg.conf" in refuses(bare, *NAME)
    finally:
        bare.close()
    done = host.run("setpriv", "--reuid=jitwg", "--clear-groups", binary("jitwgd"), "init", *NAME, "--json")
    assert json.loads(done.stdout)["error"]["code"] == "not_permitted"


def test_a_full_disk_leaves_nothing_half_written(host, signer):
    for pages in range(1, 16):
        host.sh(f"mount -t tmpfs -o mode=0755,size={pages * 4096} tmpfs /etc/jitwg")
        done = host.ours("jitwgd", "init", *NAME)
        assert host.sh("find /etc/jitwg -type f -empty; ls -A /etc/jitwg | grep init || true") == ""
        host.sh("umount /etc/jitwg")
        if done.returncode == 0:
            break
        assert "No space left" in done.stderr
    assert done.returncode == 0 and pages > 1


# --- the person's side ---

CA_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIMvcuTjn8aIPoX1kbZN3nM7MjvwV4Rxbp7P+5p4DnYxd"
BLOCK = f"""-----BEGIN JITWG TRUST-----
broker = https://broker.example:7443
broker-pin = sha256//MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
ca = ssh-ed25519 {CA_KEY}
realm = lab-7d1f
-----END JITWG TRUST-----
"""
OTHER = BLOCK.replace("lab-7d1f", "lab-other")


@pytest.fixture
def person(tmp_path):
    home = tmp_path / "home"
    home.mkdir()

    class Person:
        config = home / ".config/jitwg/config"

        def trust(self, *words, text=BLOCK):
            return subprocess.run([binary("jitwg"), "trust", *words], input=text, capture_output=True, text=True,
                                  env={"HOME": str(home), "PATH": os.environ["PATH"]}, timeout=30)  # fmt: skip

        def types(self, text, *words):
            """On a terminal: (exit code, all that was shown)."""
            child, terminal = pty.fork()
            if child == 0:
                os.execve(binary("jitwg"), ["jitwg", "trust", *words], {"HOME": str(home), "TERM": "dumb"})
            os.write(terminal, text.encode())
            shown, end = b"", time.monotonic() + 30
            while time.monotonic() < end and select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
                try:
                    piece = os.read(terminal, 4096)
                except OSError:
                    break
                if not piece:
                    break
                shown += piece
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()

    return Person()


def lines(path):
    return path.read_text().splitlines()


def test_trust_stores_what_the_block_says_and_shows_fingerprints(person):
    done = person.trust(text="Dear alice,\n\n" + BLOCK + "\nyours, root\n")
    assert done.returncode == 0, done.stderr
    assert lines(person.config) == BLOCK.splitlines()[1:-1]
    assert person.config.stat().st_mode & 0o777 == 0o600 and person.config.parent.stat().st_mode & 0o777 == 0o700
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=BLOCK.splitlines()[3].removeprefix("ca = "), capture_output=True,
                           text=True, check=True).stdout.split()[1]  # fmt: skip
    assert shown in done.stderr and "sha256//MDEy" in done.stderr and "lab-7d1f" in done.stderr


def test_trust_again_changes_nothing_and_keeps_the_person_s_lines(person, tmp_path):
    person.config.parent.mkdir(parents=True)
    person.config.write_text("# mine\nperson = alice\nbroker = unix:/run/old\nidentity = ~/.ssh/id_ed25519")
    person.config.chmod(0o640)
    (tmp_path / "block").write_text(BLOCK)
    assert person.trust("--file", str(tmp_path / "block"), text="").returncode == 0
    wanted = [*BLOCK.splitlines()[1:-1], "# mine", "person = alice", "identity = ~/.ssh/id_ed25519"]
    assert lines(person.config) == wanted and person.config.stat().st_mode & 0o777 == 0o640
    before = person.config.stat()
    assert json.loads(person.trust("--json").stdout)["changed"] is False
    assert person.config.stat().st_ino == before.st_ino


def test_another_ca_pin_or_realm_is_not_taken_unasked(person):
    assert person.trust().returncode == 0
    before = person.config.read_text()
    for other in (OTHER, BLOCK.replace("sha256//MDEy", "sha256//QTEy"), BLOCK.replace(CA_KEY, fresh_key())):
        done = person.trust(text=other)
        assert (done.returncode, person.config.read_text()) == (3, before) and "--yes" in done.stderr
    code, shown = person.types(OTHER + "n\n")
    assert code != 0 and person.config.read_text() == before and "replaces" in shown
    assert person.types(OTHER + "y\n")[0] == 0 and "realm = lab-other" in lines(person.config)
    assert person.trust("--yes").returncode == 0 and person.config.read_text() == before


def test_the_other_key_of_a_changing_ca_is_pinned_beside_the_first(person):
    assert person.trust().returncode == 0
    both = BLOCK.replace("realm =", f"ca = ssh-ed25519 {fresh_key()}\nrealm =")
    assert person.trust(text=both).returncode == 3, "unasked"
    done = person.trust("--yes", text=both)
    assert done.returncode == 0 and lines(person.config) == both.splitlines()[1:-1]
    assert done.stderr.count("SHA256:") == 2
    assert len(json.loads(person.trust("--json", text=both).stdout)["ca"]) == 2
    assert person.trust("--yes", text=both.replace("realm =", f"ca = ssh-ed25519 {fresh_key()}\nrealm =")).returncode == 2


def fresh_key():
    path = pathlib.Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path / "k"], check=True)
    return (path / "k.pub").read_text().split()[1]


def test_a_broker_on_the_command_line_replaces_the_address_only(person):
    for given, stored in {"gate.example": "https://gate.example", "gate.example:8443": "https://gate.example:8443",
                          "https://[2001:db8::5]": "https://[2001:db8::5]"}.items():  # fmt: skip
        assert person.trust(given).returncode == 0
        assert lines(person.config) == [f"broker = {stored}", *BLOCK.splitlines()[2:-1]]
    for bad in ("a b", "http://gate.example", "gate:port"):
        assert person.trust(bad).returncode == 2


def test_blocks_that_are_none(person, tmp_path):
    for text in ("", "rubbish\n", BLOCK + BLOCK, BLOCK.replace("-----END", "----END"), BLOCK.replace("realm =", "kingdom =")):
        done = person.trust("--json", text=text)
        assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "bad_value", done
    assert person.trust("--file", str(tmp_path / "none")).returncode == 1
    assert not person.config.exists()


def test_a_person_s_link_to_their_configuration_stays_a_link(person, tmp_path):
    person.config.parent.mkdir(parents=True)
    (tmp_path / "dotfile").write_text("person = alice\n")
    person.config.symlink_to(tmp_path / "dotfile")
    assert person.trust().returncode == 0
    assert person.config.is_symlink() and "person = alice" in lines(tmp_path / "dotfile")
