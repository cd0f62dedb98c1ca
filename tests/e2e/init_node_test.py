"""jitwg-gateway init and jitwg-hostd init: owners, modes, second runs, and lines that the policy takes as they stand."""

import base64
import hashlib
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from bare_host import BareHost, possible  # noqa: E402
from realm import binary  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not possible(), reason="SKIPPED: needs root and built programs")
PIN = "sha256//" + base64.b64encode(hashlib.sha256(b"a broker's key").digest()).decode()
CONF = {"jitwg-gateway": "/etc/jitwg/gateway.conf", "jitwg-hostd": "/etc/jitwg/hostd.conf"}
WORDS = {
    "jitwg-gateway": ["--node", "gw1", "--endpoint", "192.0.2.10:51820", "--pool", "10.90.0.0/16", "--pool", "fd00:90::/64"],
    "jitwg-hostd": ["--node", "jump1", "--address", "10.60.0.5", "--address", "fd00:60::5", "--rescue", "daemon"],
}


@pytest.fixture
def host(tmp_path):
    made = BareHost(tmp_path)
    made.sh("mkdir -p /usr/local/lib/jitwg; cd /usr/local/lib/jitwg; touch pam_jitwg.so jitwg-principals; "
            "ssh-keygen -A >/dev/null")
    yield made
    made.close()


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    directory = tmp_path_factory.mktemp("signer")
    signer = BareHost(directory)
    try:
        assert signer.ours("jitwg-signer", "init").returncode == 0
        return {"key": signer.read("/etc/jitwg/ca.pub").split()[1], "policy": signer.read("/etc/jitwg/policy.toml")}
    finally:
        signer.close()


@pytest.fixture
def trust(host, ca):
    text = f"""-----BEGIN JITWG TRUST-----
broker = https://broker.example:7443
broker-pin = {PIN}
ca = ssh-ed25519 {ca["key"]}
realm = lab-7d1f
-----END JITWG TRUST-----
"""
    host.run("sh", "-c", "cat > /run/trust", text=text)
    return text


def runs(host, program, *words, text=None):
    done = host.ours(program, "init", *words, text=text)
    assert done.returncode == 0, done.stderr
    return done.stdout


def all_of(host):
    return host.listing() + host.sh("sha256sum /etc/pam.d/* /etc/ssh/sshd_config.d/* 2>/dev/null || true")


def refuses(host, program, *words, text=None):
    before = all_of(host)
    done = host.ours(program, "init", *words, text=text)
    assert done.returncode in (1, 2, 3), done.stdout
    assert all_of(host) == before, "a refusal changes nothing"
    return done.stderr


def sets_up(host, program):
    return runs(host, program, "--trust", "/run/trust", *WORDS[program])


def conf_of(host, program):
    lines = host.read(CONF[program]).splitlines()
    return [tuple(line.split(" = ", 1)) for line in lines if not line.startswith("#")]


def test_a_gateway(host, trust, ca):
    sets_up(host, "jitwg-gateway")
    for path, mode in {
        "/etc/jitwg": "root:root 755", "/etc/jitwg/node_key": "jitwg-gw:jitwg-gw 600", "/etc/jitwg/wg.key": "jitwg-gw:jitwg-gw 600",
        "/etc/jitwg/ca.pub": "root:root 644", "/etc/jitwg/gateway.conf": "root:root 644",
        "/var/lib/jitwg": "root:root 755", "/var/lib/jitwg/gateway": "jitwg-gw:jitwg-gw 700",
    }.items():  # fmt: skip
        assert host.mode(path) == mode, path
    assert set(conf_of(host, "jitwg-gateway")) == {
        ("broker", "https://broker.example:7443"), ("broker-pin", PIN), ("node", "gw1"), ("realm", "lab-7d1f"),
        ("pool", "10.90.0.0/16"), ("pool", "fd00:90::/64"), ("endpoint", "192.0.2.10:51820")}  # fmt: skip
    assert host.read("/etc/jitwg/ca.pub").split()[1] == ca["key"]


def test_a_jump_host(host, trust):
    said = sets_up(host, "jitwg-hostd")
    for path, mode in {
        "/etc/jitwg/node_key": "root:root 600", "/etc/jitwg/ca.pub": "root:root 644", "/etc/jitwg/hostd.conf": "root:root 644",
        "/etc/jitwg/managed": "root:root 644", "/var/lib/jitwg/hostd": "root:root 700",
        "/etc/ssh/sshd_config.d/00-jitwg.conf": "root:root 644", "/etc/ssh/jitwg-rescue_keys/daemon": "root:root 644", "/etc/pam.d/sshd": "root:root 644",
    }.items():  # fmt: skip
        assert host.mode(path) == mode, path
    assert host.read("/etc/jitwg/managed").splitlines()[-1] == "except daemon"
    assert host.ours("jitwg-hostd", "setup", "--dry-run").returncode == 0, "sshd, PAM and the rest are as setup makes them"
    assert "Keep this shell" in said


def test_contrib_s_pam_file_is_what_comes_of_debian_s(host, trust):
    without_rescue = WORDS["jitwg-hostd"][:-2]
    runs(host, "jitwg-hostd", "--trust", "/run/trust", *without_rescue)
    assert host.read("/etc/pam.d/sshd") == (ROOT / "contrib/pam/sshd").read_text()


def test_what_both_print_the_policy_takes_as_it_stands(host, trust, ca):
    printed = sets_up(host, "jitwg-gateway")
    host.sh("rm -r /etc/jitwg")  # a jump host is another machine
    printed += sets_up(host, "jitwg-hostd")
    rules = """
[groups]
platform = ["alice"]
[targets.db]
gateways = ["gw1"]
jump_hosts = ["jump1"]
login = "{person}"
scope = ["tcp 10.60.10.20:5432"]
[[rule]]
name = "platform reaches it"
who = ["group:platform"]
targets = ["db"]
approvals = 0
"""
    host.run("sh", "-c", "cat > /run/policy.toml", text=ca["policy"] + printed + rules)
    checked = host.run(binary("jitwg"), "policy", "check", "/run/policy.toml", "--json")
    assert checked.returncode == 0, checked.stdout
    explained = host.run(binary("jitwg"), "policy", "explain", "--file", "/run/policy.toml", "--person", "alice", "--target", "db")
    assert "10.60.0.5:22" in explained.stdout, explained.stdout + explained.stderr


@pytest.mark.parametrize("program", CONF)
def test_a_second_run_needs_no_words_says_the_same_and_changes_nothing(host, trust, program):
    said, before = sets_up(host, program), all_of(host)
    for words in ([], ["--trust", "/run/trust"], ["--trust", "/run/trust", *WORDS[program][:2]]):
        assert runs(host, program, *words) == said
    assert runs(host, program, "--trust", "-", text="From: root\n" + trust + "bye\n") == said
    assert all_of(host) == before


@pytest.mark.parametrize("program", CONF)
def test_it_goes_on_where_it_stopped(host, trust, program):
    said, whole = sets_up(host, program), {}
    for path in host.sh("find /etc/jitwg -type f ! -name *.before").split():
        whole[path] = host.read(path)
        host.sh(f"mv {path} /run/away; touch {path}.init {path}.init.new")
        again = sets_up(host, program)
        if not path.endswith("key"):
            assert host.read(path) == whole[path] and again == said
        host.sh(f"mv /run/away {path}; chown --reference=/etc/jitwg/$(basename {path}) {path}")
    assert host.sh("ls -A /etc/jitwg | grep init || true") == ""


@pytest.mark.parametrize("program", CONF)
def test_names_that_toml_would_take_apart_are_quoted(host, trust, program):
    words = ["db.west" if word in ("gw1", "jump1") else word for word in WORDS[program]]
    assert '."db.west"]\n' in runs(host, program, "--trust", "/run/trust", *words)


@pytest.mark.parametrize("program", CONF)
def test_what_is_missing_or_contradicts_is_refused_before_anything_is_made(host, trust, ca, program):
    words = WORDS[program]
    trusted = ["--trust", "/run/trust"]
    for given, said in {
        (): "is not set", tuple(trusted): "is not set", tuple(words): "jitwgd init", (*trusted, *words[2:]): '"node" is not set',
        (*trusted, "--node", "a b", *words[2:]): "plain name",
        ("--trust", "/nonexistent", *words): "No such file",
    }.items():  # fmt: skip
        assert said in refuses(host, program, *given), given
    for bad in ("", trust + trust, trust.replace(PIN, "sha256//x"), trust.replace("realm", "kingdom")):
        assert "rust block" in refuses(host, program, "--trust", "-", *words, text=bad)
    sets_up(host, program)
    other = trust.replace("lab-7d1f", "lab-other")
    assert "realm = lab-7d1f, not lab-other" in refuses(host, program, "--trust", "-", text=other)
    assert "node = " in refuses(host, program, "--node", "somebody")
    elsewhere = trust.replace(ca["key"], host.sh("cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub").strip())
    assert "is not the CA of the trust block" in refuses(host, program, "--trust", "-", text=elsewhere)
    # While the CA's key is changed the block has both; a node has both once its file does.
    both = trust.replace("realm =", elsewhere.splitlines()[3] + "\nrealm =")
    assert "both keys, a line each" in refuses(host, program, "--trust", "-", text=both)
    host.sh(f"echo '{elsewhere.splitlines()[3].removeprefix('ca = ')}' >> /etc/jitwg/ca.pub")
    runs(host, program, "--trust", "-", text=both)


@pytest.mark.parametrize("program, word, bad", [
    ("jitwg-gateway", "192.0.2.10:51820", "gw.example:51820"), ("jitwg-gateway", "192.0.2.10:51820", "192.0.2.10"),
    ("jitwg-gateway", "10.90.0.0/16", "10.90.0.1/16"), ("jitwg-hostd", "10.60.0.5", "10.60.0.0/16"),
    ("jitwg-hostd", "daemon", "nobody-such"),
])  # fmt: skip
def test_values_are_looked_at(host, trust, program, word, bad):
    words = [bad if each == word else each for each in WORDS[program]]
    assert bad in refuses(host, program, "--trust", "/run/trust", *words)


@pytest.mark.parametrize("program", CONF)
def test_keys_that_are_another_program_s_or_open_are_left_alone(host, trust, program):
    sets_up(host, program)
    host.sh("chmod 640 /etc/jitwg/node_key")
    assert "chmod 600 /etc/jitwg/node_key" in refuses(host, program)
    host.sh("chmod 600 /etc/jitwg/node_key; chown jitwg-ca /etc/jitwg/node_key")
    assert "uid" in refuses(host, program)
    assert "jitwg-signer" not in host.sh("rm /etc/jitwg/node_key; echo") and "not uid" in refuses(host, program, "--node-key", "/etc/passwd")


@pytest.mark.parametrize("program", CONF)
def test_without_users_or_root(tmp_path, trust, host, program):
    bare = BareHost(tmp_path / "bare", users=False)
    try:
        bare.run("sh", "-c", "ssh-keygen -A >/dev/null; cat > /run/trust", text=trust)
        assert "systemd-sysusers jitwg.conf" in refuses(bare, program, "--trust", "/run/trust", *WORDS[program])
    finally:
        bare.close()
    done = host.run("setpriv", "--reuid=jitwg", "--clear-groups", binary(program), "init", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "not_permitted"


@pytest.mark.parametrize("program", CONF)
def test_full_and_read_only_disks_leave_nothing_half_written(host, trust, program):
    host.sh("mkdir /etc/jitwg")
    for pages in range(1, 16):
        host.sh(f"mount -t tmpfs -o mode=0755,size={pages * 4096} tmpfs /etc/jitwg")
        done = host.ours(program, "init", "--trust", "/run/trust", *WORDS[program])
        assert host.sh("find /etc/jitwg -type f -empty; ls -A /etc/jitwg | grep init || true") == ""
        host.sh("umount /etc/jitwg")
        if done.returncode == 0:
            break
        assert "No space left" in done.stderr
    assert done.returncode == 0 and pages > 2
    host.sh("mount -t tmpfs -o ro tmpfs /etc/jitwg")
    assert "Read-only" in refuses(host, program, "--trust", "/run/trust", *WORDS[program])


def test_json(host, trust):
    value = json.loads(runs(host, "jitwg-gateway", "--trust", "/run/trust", *WORDS["jitwg-gateway"], "--json"))
    assert value["node"] == "gw1" and value["policy"].startswith("[gateways.gw1]\n") and value["node_key"] in value["policy"]
    assert value["wireguard_key"] == host.sh("wg pubkey < /etc/jitwg/wg.key").strip()
    assert {"path": "/etc/jitwg/wg.key", "made": True} in value["files"]


def test_files_that_were_changed_keep_their_changes_and_get_our_blocks(host, trust):
    host.sh("echo '# mine' >> /etc/pam.d/sshd; echo '# mine' > /etc/ssh/sshd_config.d/00-jitwg.conf")
    pam = host.read("/etc/pam.d/sshd")
    sets_up(host, "jitwg-hostd")
    assert host.read("/etc/ssh/sshd_config.d/00-jitwg.conf").startswith("# mine\n# jitwg begin\n")
    assert host.ours("jitwg-hostd", "setup", "--remove").returncode == 0
    assert host.read("/etc/pam.d/sshd") == pam and host.read("/etc/ssh/sshd_config.d/00-jitwg.conf") == "# mine\n"


def test_a_pam_file_of_unknown_layout_is_refused_with_the_lines_and_by_hand_is_fine(host, trust):
    host.sh("sed -i /pam_loginuid/d /etc/pam.d/sshd")
    said = refuses(host, "jitwg-hostd", "--trust", "/run/trust", *WORDS["jitwg-hostd"][:-2])
    lines = [part.split(": ")[-1] for part in said.split(";") if "pam_jitwg.so" in part]
    assert len(lines) == 2 and "right behind pam_loginuid.so" in said, said
    # By hand, as it says.
    by_hand = lines[0] + "\nsession required pam_loginuid.so\n" + lines[1] + "\n" + host.read("/etc/pam.d/sshd")
    host.run("sh", "-c", "cat > /etc/pam.d/sshd", text=by_hand)
    runs(host, "jitwg-hostd", "--trust", "/run/trust", *WORDS["jitwg-hostd"][:-2])
    assert host.read("/etc/pam.d/sshd") == by_hand


@pytest.mark.parametrize("name", ["pam_jitwg.so", "jitwg-principals"])
def test_sshd_is_not_told_of_what_is_not_installed(host, trust, name):
    host.sh(f"rm /usr/local/lib/jitwg/{name}")
    assert f"{name} is not installed" in refuses(host, "jitwg-hostd", "--trust", "/run/trust", *WORDS["jitwg-hostd"])


def test_a_jump_host_without_sshd(host, trust):
    host.sh("rm /etc/pam.d/sshd")
    assert "apt-get install openssh-server" in refuses(host, "jitwg-hostd", "--trust", "/run/trust", *WORDS["jitwg-hostd"])
