"""jitwg-signer init and person, typed by hand: owners, modes, what a second run does, and what they refuse."""

import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from bare_host import BareHost, possible  # noqa: E402
from realm import binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not possible(), reason="SKIPPED: needs root and a built jitwg-signer")
LEDGER = "/var/lib/jitwg/signer/ledger"
PEOPLE = "/etc/jitwg/allowed_signers"


@pytest.fixture
def host(tmp_path):
    made = BareHost(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ready(host):
    assert host.ours("jitwg-signer", "init").returncode == 0
    return host


@pytest.fixture
def key(tmp_path):
    """Makes a key pair, and returns the path of its public half."""

    def make(name, *words):
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", f"{name}@laptop", "-f", tmp_path / name,
                        *(words or ("-t", "ed25519"))], check=True)  # fmt: skip
        return tmp_path / f"{name}.pub"

    return make


def runs(host, *words, **more):
    done = host.ours("jitwg-signer", *words, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuses(host, *words, text=None):
    before = host.listing()
    done = host.ours("jitwg-signer", *words, text=text)
    assert done.returncode in (1, 2, 3), done.stdout
    assert host.listing() == before, "a refusal changes nothing"
    return done.stderr


def serves(host):
    """Starts the signer as its user until it listens; what it said."""
    host.sh("mkdir -p /run/jitwg && chown jitwg-ca /run/jitwg")
    process = subprocess.Popen(host.command("setpriv", "--reuid=jitwg-ca", "--regid=jitwg-ca", "--clear-groups",
                                            binary("jitwg-signer")), stderr=subprocess.PIPE, text=True)  # fmt: skip
    listening = "test -S /run/jitwg/signer.sock"
    try:
        wait_for(lambda: process.poll() is not None or host.run("sh", "-c", listening).returncode == 0, "signer.sock")
        return process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        host.sh("rm -f /run/jitwg/signer.sock")


def test_init_makes_what_the_signer_needs_and_it_starts(host):
    said = runs(host, "init")
    for path, mode in {
        "/etc/jitwg": "root:root 755", "/etc/jitwg/ca": "jitwg-ca:jitwg-ca 600", "/etc/jitwg/ca.pub": "root:root 644",
        "/etc/jitwg/policy.toml": "root:root 644", PEOPLE: "root:root 644", "/etc/jitwg/signer.conf": "root:root 644",
        "/var/lib/jitwg": "root:root 755", "/var/lib/jitwg/signer": "jitwg-ca:jitwg-ca 700", LEDGER: "jitwg-ca:jitwg-ca 600",
    }.items():  # fmt: skip
        assert host.mode(path) == mode, path
    assert host.sh("ls -A /etc/jitwg").split() == ["allowed_signers", "ca", "ca.pub", "policy.toml", "signer.conf"]
    assert host.sh("ls -A /run").split() == [], "nothing of the making of keys is left"
    realm = re.search(r'^realm = "(realm-[0-9a-f]{8})"', host.read("/etc/jitwg/policy.toml"), re.MULTILINE).group(1)
    fingerprint = host.sh("ssh-keygen -lf /etc/jitwg/ca").split()[1]
    assert realm in said and fingerprint in said and "jitwg-signer person add" in said
    assert host.run(binary("jitwg"), "policy", "check", "/etc/jitwg/policy.toml").returncode == 0
    assert serves(host)


def test_a_second_init_says_the_same_and_changes_nothing(host):
    said, before = runs(host, "init"), host.listing()
    assert runs(host, "init") == said
    assert host.listing() == before


def test_init_keeps_what_the_administrator_changed(ready, key):
    runs(ready, "person", "add", "alice", key("alice"))
    ready.sh("echo '# mine' >> /etc/jitwg/policy.toml; echo 'runtime-dir = /run/other' >> /etc/jitwg/signer.conf")
    before = ready.listing()
    runs(ready, "init")
    assert ready.listing() == before


@pytest.mark.parametrize("made", [[], ["ledger"], ["ledger", "ca"], ["ledger", "ca", "ca.pub", "policy.toml"]], ids=len)
def test_init_goes_on_where_an_earlier_run_stopped(ready, made):
    paths = {"ledger": LEDGER, **{name: f"/etc/jitwg/{name}" for name in ("ca", "ca.pub", "policy.toml", "allowed_signers")}}
    for name, path in paths.items():
        if name not in made:
            ready.sh(f"rm {path}")
    ready.sh("touch /etc/jitwg/policy.toml.init.new /etc/jitwg/ca.init")  # as killed half-way
    kept = {name: ready.read(paths[name]) for name in made}
    runs(ready, "init")
    assert {name: ready.read(paths[name]) for name in made} == kept
    assert serves(ready)


def test_init_with_places_of_its_own_writes_them_down(host):
    options = ["--config", "/srv/s.conf", "--state-dir", "/srv/state", "--ca-key", "/srv/ca", "--policy", "/srv/p.toml",
               "--allowed-signers", "/srv/people"]  # fmt: skip
    host.sh("mount -t tmpfs tmpfs /srv")
    runs(host, "init", *options)
    assert "ca-key = /srv/ca\n" in host.read("/srv/s.conf") and host.mode("/srv/ca") == "jitwg-ca:jitwg-ca 600"
    assert host.run("test", "-e", "/etc/jitwg").returncode != 0
    runs(host, "init", "--config", "/srv/s.conf")
    assert "policy = /srv/p.toml, not /srv/q.toml" in refuses(host, "init", "--config", "/srv/s.conf", "--policy", "/srv/q.toml")


def test_without_its_users_init_says_what_makes_them(tmp_path):
    host = BareHost(tmp_path, users=False)
    try:
        said = refuses(host, "init")
        assert "no user jitwg-ca" in said and "systemd-sysusers jitwg.conf" in said
        assert host.listing() == ""
    finally:
        host.close()


def test_not_as_root(host, key):
    runs(host, "init")
    alice = key("alice")
    for words in (["init"], ["person", "add", "alice", alice], ["person", "retire", "alice"]):
        done = host.run("setpriv", "--reuid=jitwg", "--clear-groups", binary("jitwg-signer"), *words, "--json")
        error = json.loads(done.stdout)["error"]
        assert (error["code"], error["hint"].split()[:2]) == ("not_permitted", ["sudo", "jitwg-signer"])


def test_a_ca_key_without_its_ledger_is_never_given_an_empty_one(ready):
    ready.sh(f"mv {LEDGER} /var/lib/jitwg/away")
    assert "restore the ledger" in refuses(ready, "init")
    assert not serves(ready)
    ready.sh("install -o jitwg-ca -g jitwg-ca -m 600 /dev/null " + LEDGER)  # as the message says
    assert serves(ready)


def test_records_without_their_ca_key_are_never_given_another(ready):
    ready.sh(f"echo record >> {LEDGER}; mv /etc/jitwg/ca /var/lib/jitwg/away")
    assert "restore the key" in refuses(ready, "init")


@pytest.mark.parametrize("mishap, words", {
    "readable": ("chmod 644 /etc/jitwg/ca", "chmod 600"),
    "somebody's": ("chown jitwg-gw /etc/jitwg/ca", "chown 851:851"),
    "a link": ("mv /etc/jitwg/ca /etc/jitwg/x; ln -s x /etc/jitwg/ca", "not a regular file"),
    "no key": ("echo rubbish > /etc/jitwg/ca", "not an OpenSSH private key"),
    "another's public half": ("ssh-keygen -q -t ed25519 -N '' -f /etc/jitwg/o; mv /etc/jitwg/o.pub /etc/jitwg/ca.pub",
                              "not the public key of"),
    "a bad policy": ("echo '[[rule]]' >> /etc/jitwg/policy.toml", "policy.toml:"),
    "bad people": ("echo '* rubbish' >> /etc/jitwg/allowed_signers", "allowed_signers line"),
}.values(), ids=str)  # fmt: skip
def test_init_refuses_what_is_not_right_already(ready, mishap, words):
    ready.sh(mishap)
    assert words in refuses(ready, "init")


def test_a_full_disk_leaves_nothing_half_written(host):
    """Ever a little more room, until it is enough."""
    complete = False
    host.sh("mkdir /etc/jitwg")
    for pages in range(1, 16):
        host.sh(f"mount -t tmpfs -o mode=0755,size={pages * 4096} tmpfs /etc/jitwg; rm -rf /var/lib/jitwg")
        done = host.ours("jitwg-signer", "init")
        listed = host.sh("cd /etc/jitwg && ls -A").split()
        assert set(listed) <= {"ca", "ca.pub", "policy.toml", "allowed_signers", "signer.conf"}
        assert host.sh("find /etc/jitwg -type f -empty") == ""
        if "ca" in listed:
            assert host.run("ssh-keygen", "-yf", "/etc/jitwg/ca").returncode == 0
        host.sh("umount /etc/jitwg")
        if done.returncode == 0:
            complete = True
            break
        assert "No space left" in done.stderr
    assert complete and pages > 2


def test_a_read_only_disk_is_said(ready, key):
    ready.sh("mount -o bind,ro /etc/jitwg /etc/jitwg")
    assert "Read-only" in refuses(ready, "person", "add", "alice", key("alice"))
    ready.sh("umount /etc/jitwg; rm /etc/jitwg/ca.pub; mount -o bind,ro /etc/jitwg /etc/jitwg")
    assert "Read-only" in refuses(ready, "init")


def test_json(ready, key):
    value = json.loads(runs(ready, "init", "--json"))
    assert value["ca_public_key"] + " jitwg-ca\n" == ready.read("/etc/jitwg/ca.pub")
    assert {"path": "/etc/jitwg/ca", "made": False} in value["files"]
    added = json.loads(runs(ready, "person", "add", "alice", key("alice"), "--json"))
    assert added["changed"] and added["lines"] == ready.read(PEOPLE).splitlines()[-1:]


# --- people ---


def test_add_takes_a_file_or_stdin_and_once_is_enough(ready, key):
    alice, bob = key("alice"), key("bob")
    said = runs(ready, "person", "add", "alice", alice)
    assert said.startswith(f'alice namespaces="jitwg" {alice.read_text().strip()}\n') and "systemctl reload" in said
    runs(ready, "person", "add", "bob", text=bob.read_text())
    runs(ready, "person", "add", "bob", "-", text=bob.read_text())
    before = ready.listing()
    assert runs(ready, "person", "add", "alice", alice) == said
    assert ready.listing() == before
    lines = ready.read(PEOPLE).splitlines()
    assert [line.split()[0] for line in lines] == ["#", "alice", "bob"]
    assert ready.mode(PEOPLE) == "root:root 644"
    assert serves(ready)


def test_what_is_printed_is_pasteable_as_it_stands(ready, key, tmp_path):
    printed = runs(ready, "person", "add", "alice", key("alice")) + runs(ready, "person", "add", "bob", key("bob"))
    printed += runs(ready, "person", "retire", "bob").replace("bob", "# bob", 1)
    ready.sh(f"rm {PEOPLE}")
    ready.run("sh", "-c", f"cat > {PEOPLE}", text=printed)
    assert serves(ready)


def test_the_advice_stops_once_a_group_names_the_person(ready, key):
    assert "No group" in runs(ready, "person", "add", "alice", key("alice"))
    ready.sh("printf '[groups]\\nplatform = [\"alice\"]\\n' >> /etc/jitwg/policy.toml")
    assert "No group" not in runs(ready, "person", "add", "alice", key("phone"))


def test_ssh_keygen_agrees_about_who_may_sign_when(ready, key, tmp_path):
    alice = key("alice")
    runs(ready, "person", "add", "alice", alice)
    (tmp_path / "doc").write_text("{}")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "jitwg", "-f", tmp_path / "alice", tmp_path / "doc"], check=True)

    def verifies(when):
        (tmp_path / "people").write_text(ready.read(PEOPLE))
        return subprocess.run(["ssh-keygen", "-Y", "verify", "-n", "jitwg", "-I", "alice", "-f", tmp_path / "people", "-s",
                               tmp_path / "doc.sig", "-O", f"verify-time={when}"], stdin=open(tmp_path / "doc"),
                              capture_output=True).returncode == 0  # fmt: skip

    assert verifies("20990101Z")
    line = runs(ready, "person", "retire", "alice").splitlines()[0]
    assert re.search(r' namespaces="jitwg",valid-before="\d{14}Z" ssh-ed25519 ', line)
    assert verifies("20200101Z") and not verifies("20990101Z")
    before = ready.listing()
    assert runs(ready, "person", "retire", "alice").splitlines()[0] == line
    assert ready.listing() == before, "ended is ended"
    assert "key_reused" in refuses(ready, "person", "add", "alice", alice)
    runs(ready, "person", "add", "alice", key("new"))
    assert serves(ready)


def test_retire_one_key_of_several(ready, key):
    old, new = key("old"), key("new")
    for path in (old, new):
        runs(ready, "person", "add", "alice", path)
    fingerprint = subprocess.run(["ssh-keygen", "-lf", new], capture_output=True, text=True, check=True).stdout.split()[1]
    assert old.read_text().split()[1] in runs(ready, "person", "retire", "alice", old)
    assert ready.read(PEOPLE).count("valid-before") == 1
    runs(ready, "person", "retire", "alice", fingerprint)
    assert ready.read(PEOPLE).count("valid-before") == 2
    assert "has no such key" in refuses(ready, "person", "retire", "alice", "SHA256:nobody")
    assert "has no such key" in refuses(ready, "person", "retire", "bob")


@pytest.mark.parametrize("words", [["-t", "rsa", "-b", "3072"], ["-t", "ecdsa", "-b", "256"]], ids=["rsa", "ecdsa"])
def test_keys_of_other_types_are_added(ready, key, words):
    path = key("odd", *words)
    assert 'alice namespaces="jitwg" ' + " ".join(path.read_text().split()[:2]) in runs(ready, "person", "add", "alice", path)


@pytest.mark.parametrize("words", [["-t", "rsa", "-b", "2048"], ["-t", "ecdsa", "-b", "384"]], ids=["rsa", "ecdsa"])
def test_only_keys_that_are_supported(ready, key, words):
    assert "ssh-keygen -t ed25519" in refuses(ready, "person", "add", "alice", key("odd", *words))


def test_keys_that_will_not_do(ready, key, tmp_path):
    alice, bob = key("alice"), key("bob")
    two = tmp_path / "two.pub"
    two.write_text(alice.read_text() + bob.read_text())
    runs(ready, "person", "add", "bob", bob)
    for words, code in {
        ("alice", alice.with_suffix("")): "private key", ("alice", two): "more than one line", ("alice", bob): "is bob's",
        ("alice", "/etc/jitwg/ca.pub"): "the CA key", ("al ice", alice): "plain name", ("*", alice): "plain name",
        ("alice", "/nonexistent"): "No such file", ("alice", "/etc/passwd"): "more than one line",
    }.items():  # fmt: skip
        assert code in refuses(ready, "person", "add", *words), words
    assert "bad_key" in refuses(ready, "person", "add", "alice", text="")
    ready.sh(f"printf '[gateways.gw1]\\nendpoint = \"192.0.2.1:51820\"\\nwireguard_key = \"%s\"\\nnode_key = \"%s\"\\n' "
             f"\"$(wg genkey | wg pubkey)\" '{' '.join(alice.read_text().split()[:2])}' >> /etc/jitwg/policy.toml")
    assert "node key of gw1" in refuses(ready, "person", "add", "alice", alice)


def test_a_list_that_is_bad_already_is_not_touched_and_a_bad_policy_keeps_no_lost_key_alive(ready, key):
    runs(ready, "person", "add", "alice", key("alice"))
    good = ready.read(PEOPLE)
    ready.sh("echo '[[rule]]' >> /etc/jitwg/policy.toml")
    assert "bad_policy" in refuses(ready, "person", "add", "bob", key("bob"))
    runs(ready, "person", "retire", "alice")
    assert ready.read(PEOPLE) != good
    for bad in ('carol,dave namespaces="jitwg" KEY', "carol KEY", 'carol namespaces="file" KEY', "rubbish"):
        ready.sh(f"echo '{bad}' | sed 's|KEY|{' '.join(key('k' + str(len(bad))).read_text().split()[:2])}|' >> {PEOPLE}")
        assert "allowed_signers line 3" in refuses(ready, "person", "add", "erin", key("e" + str(len(bad))))
        assert "allowed_signers line 3" in refuses(ready, "person", "retire", "alice")
        ready.sh(f"sed -i '$d' {PEOPLE}")
    ready.sh(f"chmod 666 {PEOPLE}")
    assert "chmod go-w" in refuses(ready, "person", "retire", "alice")


def test_an_edit_keeps_owner_mode_and_link(ready, key):
    ready.sh(f"mkdir /etc/site; mv {PEOPLE} /etc/site/people; ln -s /etc/site/people {PEOPLE}; chown jitwg /etc/site/people; "
             "chmod 640 /etc/site/people")
    runs(ready, "person", "add", "alice", key("alice"))
    assert ready.sh(f"readlink {PEOPLE}").strip() == "/etc/site/people"
    assert ready.mode("/etc/site/people") == "jitwg:root 640" and "alice" in ready.read("/etc/site/people")


def test_two_at_once_lose_nothing(ready, key):
    """One waits for nobody: it says that another is at it, and is typed again."""
    keys = {f"p{number}": key(f"p{number}") for number in range(8)}
    program = binary("jitwg-signer")
    script = "until {0} person add {1} {2} 2>/run/{1}.err; do grep -q 'another command' /run/{1}.err || exit 1; done"
    running = [subprocess.Popen(ready.command("sh", "-c", script.format(program, name, path)), stdout=subprocess.DEVNULL)
               for name, path in keys.items()]  # fmt: skip
    assert [process.wait(timeout=60) for process in running] == [0] * len(keys)
    assert sorted(line.split()[0] for line in ready.read(PEOPLE).splitlines()[1:]) == sorted(keys)
