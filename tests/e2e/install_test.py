"""Installed by hand on fresh Debian machines: the lines of README's section, typed as they stand, lead to a working access."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import fresh_debian  # noqa: E402
from fresh_debian import Machine, Network, run  # noqa: E402
from realm import ROOT, wait_for  # noqa: E402

BUILD = ROOT / "build/release"
MISSING = fresh_debian.why_not() or (None if (BUILD / "bin/jitwg-hostd").exists() else "needs the release build")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"SKIPPED: {MISSING}")

SECTION = re.search(r"^## Installing by hand\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL).group(1)
LINES = [(host, re.sub(r"\s{2,}# .*$", "", line))
         for host, line in re.findall(r"^(\w+)[#$] +(.*)$", SECTION, re.MULTILINE)]  # fmt: skip
PARTS = {"broker": ["broker", "person"], "gw1": ["gateway"], "jump1": ["jumphost"], "laptop": ["person"]}
NETWORK = {
    "broker": {"internet": "192.0.2.5/24", "mgmt": "10.60.0.2/16"},
    "gw1": {"internet": "192.0.2.10/24", "mgmt": "10.60.0.1/16"},
    "jump1": {"mgmt": "10.60.0.5/16"},
    "laptop": {"internet": "192.0.2.20/24"},
    "db": {"mgmt": "10.60.10.20/16"},
}
BROKER_AT = {"broker": "127.0.0.1", "gw1": "10.60.0.2", "jump1": "10.60.0.2", "laptop": "192.0.2.5"}
PEOPLE = ["alice", "carol"]
CARRIED = ("trust.txt", "gw1.toml", "jump1.toml", "alice.pub", "carol.pub")  # between hosts, by the administrator
OURS = ("jitwgd", "jitwg-signer", "jitwg-gateway", "jitwg-hostd")
# Where this machine's kernel has no WireGuard: what any Debian's has.
STAND_IN = """ip link add probe type wireguard 2>/dev/null && ip link del probe || {
systemd-run --quiet --unit=wireguard-go -p User=jitwg-gw -p AmbientCapabilities='CAP_NET_ADMIN CAP_DAC_OVERRIDE' \\
  -p RuntimeDirectory=wireguard wireguard-go -f jitwg0
for i in $(seq 200); do test -S /run/wireguard/jitwg0.sock && break; sleep 0.1; done; }"""


def packages_of(host):
    (line,) = [line for where, line in LINES if where == host and line.startswith("apt-get install")]
    return line.split()[3:]


class Site:
    def __init__(self, directory):
        self.directory, self.machines, self.database = directory, {}, None
        laptop = ["openssh-client", "wireguard-tools"]  # and the libraries of the broker
        base = fresh_debian.tree([*laptop, *(name for host in ("broker", "gw1", "jump1") for name in packages_of(host))])
        self.network = Network("install")
        for switch in ("internet", "mgmt"):
            self.network.switch(switch)
        for host, plugs in NETWORK.items():
            namespace = self.network.namespace(host)
            for switch, address in plugs.items():
                self.network.plug(namespace, switch, address)
            if host in ("jump1", "db"):  # as README says of the hosts behind the gateway
                run("ip", "-n", namespace, "route", "add", "10.90.0.0/16", "via", "10.60.0.1")
            if host != "db":
                self.machines[host] = Machine(directory, base, namespace, host)
        self.database = subprocess.Popen(
            ["ip", "netns", "exec", "install-db", "socat", "TCP-LISTEN:5432,fork,reuseaddr", "SYSTEM:echo ready"],
            stderr=subprocess.DEVNULL)  # fmt: skip
        for host, machine in self.machines.items():
            (machine.root / "etc/hosts").write_text(f"127.0.0.1 localhost {host}\n{BROKER_AT[host]} broker.example\n")
            machine.wait_up()

    def copy_parts(self):
        for host, machine in self.machines.items():
            for part in PARTS[host]:
                packed = subprocess.run(["tar", "-C", self.directory / "stage" / part, "-c", "."], check=True, capture_output=True)
                run("tar", "-C", machine.root, "-x", "--no-same-owner", input=packed.stdout)

    def types(self, host, line):
        machine = self.machines.get(host) or self.machines["laptop"]
        done = machine.shell(line, user=host if host in PEOPLE else None)
        assert done.returncode == 0, f"{host}: {line}\n{done.stdout}{done.stderr}\n{machine.journal()}"
        for name in CARRIED:
            found = machine.root / "root" / name
            if found.exists():
                for other in self.machines.values():
                    if other is not machine:
                        shutil.copy(found, other.root / "root" / name)
                for person in PEOPLE:
                    home = self.machines["laptop"].root / "home" / person
                    if home.exists():
                        shutil.copy(found, home / name)
        return done.stdout

    def close(self):
        for machine in self.machines.values():
            machine.close()
        if self.database:
            self.database.terminate()
            self.database.wait()
        self.network.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    made = None
    try:
        made = Site(directory)
        (directory / "build").symlink_to(ROOT / "build")
        install = next(line for host, line in LINES if host == "build" and "cmake --install" in line)
        run("sh", "-c", install, cwd=directory, stdout=subprocess.DEVNULL)
        made.copy_parts()
        laptop = made.machines["laptop"]
        for person in PEOPLE:
            laptop.shell(f"useradd -m -s /bin/bash {person} && echo '{person} ALL=(root) NOPASSWD: /usr/bin/wg-quick' > /etc/sudoers.d/{person}")
            laptop.shell("mkdir -m 700 ~/.ssh; ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519; "
                         "mkdir -p -m 700 ~/.config/jitwg; echo 'identity = ~/.ssh/id_ed25519' > ~/.config/jitwg/config", user=person)
            laptop.shell(f"cp /home/{person}/.ssh/id_ed25519.pub /root/{person}.pub")
        made.types("laptop", "true")  # the people's keys reach the administrator
        yield made
    finally:
        if made:
            made.close()


def test_the_lines_of_readme_lead_to_a_working_access(site):
    for host, line in LINES:
        if host == "build":
            continue
        site.types(host, line)
        if host == "gw1" and "systemd-sysusers" in line:  # stands in for a kernel with WireGuard, as on any Debian
            site.types("gw1", STAND_IN)
    site.types("carol", "jitwg trust --file trust.txt")

    # The broker takes changes of the signer's within 30 s; until then a node's key is unknown to it.
    def problems(host, program):
        done = site.machines[host].run(program, "doctor", "--json")
        found = [f for f in json.loads(done.stdout) if f["level"] == "problem" and f["check"] not in ("wireguard",)]
        # systemd-nspawn lays another boot ID over /proc than units with a /proc of their own (ProtectProc=) see.
        return [f for f in found if f["check"] != "selftest" or "last boot" not in f["text"]]

    for host, program in {"broker": "jitwg-signer", "gw1": "jitwg-gateway", "jump1": "jitwg-hostd"}.items():
        wait_for(lambda: not problems(host, program), f"{program} doctor to find nothing on {host}", 60)

    def ask():
        return site.machines["laptop"].shell("jitwg request db-prod --reason 'INC-4711 replica lag' --for 30m --json", user="alice")

    session = json.loads(wait_for(lambda: (done := ask()).returncode == 0 and done.stdout, "a request is taken", 60))["session"]
    waiting = json.loads(site.types("carol", "jitwg pending --json"))
    assert [each["session"] for each in waiting] == [session]
    site.types("carol", f"jitwg approve {session} --yes")

    def up_it():  # nodes that the policy did not know yet come back by themselves
        return site.machines["laptop"].shell(f"jitwg up {session} --detach --json", user="alice")

    up = json.loads(wait_for(lambda: (done := up_it()).returncode == 0 and done.stdout, "both nodes are connected", 90))
    assert up["state"] == "active" and up["gateway"] == "gw1" and up["jump_hosts"] == ["jump1"]
    assert site.types("alice", "jitwg ssh db-prod -- id -un") == "alice\n"
    assert site.types("alice", "nc -w 5 10.60.10.20 5432 </dev/null") == "ready\n"
    site.types("alice", f"jitwg return {session}")
    wait_for(lambda: json.loads(site.types("alice", f"jitwg show {session} --json"))["state"] == "closed", "closed", 60)
    evidence = json.loads(site.types("alice", f"jitwg show {session} --json"))["evidence"]
    assert {name: each["result"] for name, each in evidence.items()} == {"gw1": "verified", "jump1": "verified"}
    assert site.machines["laptop"].shell("nc -w 2 -z 10.60.10.20 5432", user="alice").returncode != 0


def test_typed_again_everything_says_the_same_and_changes_nothing(site):
    """After the first test: the machines as it left them."""
    for host, line in LINES:
        if " init " not in line and not line.endswith(" init"):
            continue
        files = "find /etc/jitwg /etc/ssh /etc/pam.d -type f -exec sha256sum {} + | sort"
        before = site.types(host, files)
        said = site.types(host, re.sub(r" > \S+$", "", line))
        kept = re.search(r" > (\S+)$", line)
        assert site.types(host, files) == before
        if kept:
            assert said == site.types(host, f"cat {kept.group(1)}")


def test_a_reboot_brings_everything_back(site):
    units = {"broker": ["jitwg-signer", "jitwgd"], "jump1": ["jitwg-hostd", "ssh"]}
    for host in units:
        site.machines[host].reboot()
    for host, names in units.items():
        for name in names:
            wait_for(lambda: site.machines[host].run("systemctl", "is-active", name).returncode == 0, f"{name} on {host}", 120)  # noqa: B023
    site.types("broker", "jitwgd init | cmp - trust.txt")


def test_the_rescue_account_comes_in_when_nothing_of_ours_is_left(site):
    site.types("jump1", "ssh-keygen -q -t ed25519 -N '' -f /root/rescue && cat /root/rescue.pub >> /etc/ssh/jitwg-rescue_keys/rescue")
    gone = "systemctl stop jitwg-hostd.socket jitwg-hostd.service; mv /usr/local/lib/jitwg /root/lib; mv /usr/local/sbin/jitwg-hostd /root/; mv /etc/jitwg /root/etc"
    site.types("jump1", gone)
    login = "ssh -i /root/rescue -o BatchMode=yes -o StrictHostKeyChecking=no rescue@localhost 'id -un; echo $XDG_SESSION_ID'"
    try:
        assert len(site.types("jump1", login).split()) == 2, "a login of logind's like any other"
    finally:
        site.types("jump1", "mv /root/lib /usr/local/lib/jitwg; mv /root/jitwg-hostd /usr/local/sbin; mv /root/etc /etc/jitwg; systemctl start jitwg-hostd.socket jitwg-hostd.service")
    (told,) = map(json.loads, site.types("jump1", "journalctl -o json JITWG_EVENT=rescue.login").splitlines())
    assert told["PRIORITY"] == "1" and told["_UID"] == "0" and told["JITWG_PERSON"] == "rescue", told  # logger is gone before journald asks for its _EXE


def test_nobody_makes_their_own_processes_outlive_the_login(site):
    linger = "loginctl enable-linger; test -e /var/lib/systemd/linger/alice"
    assert site.machines["jump1"].shell(linger, user="alice").returncode != 0
    found = json.loads(site.machines["jump1"].run("jitwg-hostd", "doctor", "--json").stdout)
    assert [f["level"] for f in found if f["check"] == "linger"] == ["ok"]
    site.types("jump1", "rm /etc/polkit-1/rules.d/00-jitwg.rules; systemctl restart polkit")
    assert site.machines["jump1"].shell(linger, user="alice").returncode == 0, "or this tried nothing"
    site.types("jump1", "loginctl disable-linger alice; jitwg-hostd setup --apply; systemctl restart polkit")
    assert site.machines["jump1"].shell(linger, user="alice").returncode != 0


def test_taken_out_again_debian_s_files_are_debian_s(site):
    debian = "dpkg --verify openssh-server sudo util-linux login; test ! -e /etc/ssh/sshd_config.d/00-jitwg.conf || echo there; cmp /etc/ssh/sshd_config /usr/share/openssh/sshd_config"
    assert "/etc/pam.d/sshd" in site.machines["jump1"].shell(debian).stdout
    site.types("jump1", "jitwg-hostd setup --remove && sshd -t")
    assert site.types("jump1", debian) == ""
    site.types("jump1", "jitwg-hostd setup --apply && sshd -t && systemctl reload ssh")


def test_each_host_is_told_all_the_packages_it_needs(site):
    """The tree has the packages of all hosts; so ask which those are that each host's programs link."""
    essential = {"libc6", "libgcc-s1", "libstdc++6", "libsystemd0", "libpam0g"}
    for host in ("broker", "gw1", "jump1"):
        for name in OURS:
            if not (site.machines[host].root / f"usr/local/sbin/{name}").exists():
                continue
            dynamic = subprocess.run(["readelf", "-dW", BUILD / "bin" / name], capture_output=True, text=True, check=True).stdout
            for library in re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic):
                owner = site.types(host, f"dpkg -S '*/{library}'").split(":")[0]
                assert owner in essential | set(packages_of(host)), f"{name} on {host} links {library} of {owner}"
