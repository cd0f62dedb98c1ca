"""The site in the machine of tests/vm/run, and what its tests do there: run, wait, log in.

The machine is broker, gateway and jump host at once; alice, erin and carol sit in a network namespace `person`, the
database in another, and sshd listens in a third, so that the jump host is behind the gateway as it should be.
"""

import json
import os
import pwd
import select
import subprocess
import time
from pathlib import Path

DAEMONS = {"jitwg-signer": "jitwg-ca", "jitwgd": "jitwg", "jitwg-gateway": "jitwg-gw", "jitwg-hostd": "root"}
PEOPLE = ("alice", "erin", "carol")
DB, JUMP = "10.60.10.20", "10.60.0.5"
PATIENCE = 90  # an emulated processor is slow
REALM = "vm-1"
POLICY = """version = 1
realm = "{realm}"
[defaults]
duration = "60m"
max_duration = "90m"
pending_for = "24h"
activate_within = "60m"
pools = ["10.90.0.0/16"]
[groups]
platform = ["alice", "erin"]
security = ["carol"]
[gateways.gw1]
endpoint = "192.0.2.10:51820"
wireguard_key = "{wireguard}"
node_key = "{gw1}"
[jump_hosts.jump1]
addresses = ["10.60.0.5"]
host_keys = ["{host}"]
node_key = "{jump1}"
[targets.db]
gateways = ["gw1"]
scope = ["tcp 10.60.10.20:5432"]
jump_hosts = ["jump1"]
login = "{{person}}"
ssh = ["pty"]
[targets.box]
gateways = ["gw1"]
scope = ["tcp 10.60.10.20:5433"]
jump_hosts = ["jump1"]
login = "root"
ssh = ["pty"]
[[rule]]
name = "platform reaches the database, and root here"
who = ["group:platform"]
targets = ["db", "box"]
approvals = 1
approvers = ["group:security"]
[rights]
revoke = ["group:security"]
audit_read = ["group:security"]
"""


def run(*words, check=True, **more):
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=300, **more)  # fmt: skip
    assert not check or done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def wait_for(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.1)
    return value


def write(path, text, mode=0o644, owner="root"):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.chmod(path, mode)
    os.chown(path, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)


def unit(name, key):
    return run("systemctl", "show", "--value", "-p", key, name).stdout.strip()


def pid_of(daemon):
    return int(unit(f"{daemon}.service", "MainPID"))


def status_of(pid):
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def as_person(name, *words):
    """In the network of people, with nothing of root's."""
    return ["ip", "netns", "exec", "person", "setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", "env", "-i",
            f"HOME=/home/{name}", f"USER={name}", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", *words]  # fmt: skip


def jitwg(name, *words, check=True):
    return run(*as_person(name, "jitwg", *words), check=check)


def show(session, person="alice"):
    return json.loads(jitwg(person, "show", session, "--json").stdout)


def journal(*matches):
    run("journalctl", "--sync")
    return [json.loads(line) for line in run("journalctl", "-q", "-o", "json", "--all", *matches).stdout.splitlines()]


# ---- the site ----


def make_network():
    for name in ("person", "jump", "db"):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "link", "add", "mgmt0", "type", "bridge")
    wires = {"person": ("192.0.2.20/24", "net0"), "jump": (f"{JUMP}/16", "mgmt1"), "db": (f"{DB}/16", "mgmt2")}
    for name, (address, here) in wires.items():
        run("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", name, "address", "add", address, "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        if here != "net0":
            run("ip", "link", "set", here, "master", "mgmt0")
        run("ip", "link", "set", here, "up")
    run("ip", "link", "set", "mgmt0", "up")
    run("ip", "address", "add", "192.0.2.10/24", "dev", "net0")
    run("ip", "address", "add", "10.60.0.1/16", "dev", "mgmt0")
    for name in ("jump", "db"):
        run("ip", "-n", name, "route", "add", "10.90.0.0/16", "via", "10.60.0.1")
    write("/etc/sysctl.d/jitwg.conf", "net.ipv4.ip_forward = 1\n")
    run("sysctl", "-q", "--system")


def make_key(path, owner="root"):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path)
    for each in (path, f"{path}.pub"):
        os.chown(each, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def make_configuration():
    for name in PEOPLE:
        run("useradd", "--create-home", "--shell", "/bin/bash", name)
    keys = {"gw1": make_key("/etc/jitwg/gw1_key", "jitwg-gw"), "jump1": make_key("/etc/jitwg/jump1_key"),
            "host": " ".join(Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])}  # fmt: skip
    ca = make_key("/etc/jitwg/ca", "jitwg-ca")
    secret = run("wg", "genkey").stdout
    write("/etc/jitwg/wg.key", secret, 0o600, "jitwg-gw")
    wireguard = subprocess.run(["wg", "pubkey"], input=secret, capture_output=True, text=True, check=True).stdout.strip()
    write("/etc/jitwg/policy.toml", POLICY.format(realm=REALM, wireguard=wireguard, **keys))
    signers = ""
    for name in PEOPLE:
        for folder in (".ssh", ".config", ".config/jitwg"):
            Path(f"/home/{name}/{folder}").mkdir(mode=0o700, exist_ok=True)
            os.chown(f"/home/{name}/{folder}", pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)
        signers += f'{name} namespaces="jitwg" {make_key(f"/home/{name}/.ssh/id_ed25519", name)}\n'
        config = f"broker = unix:/run/jitwg/broker.sock\nrealm = {REALM}\nca = {ca}\nperson = {name}\n"
        config += f"identity = /home/{name}/.ssh/id_ed25519\n"
        write(f"/home/{name}/.config/jitwg/config", config, 0o600, name)
        write(f"/home/{name}/.ssh/config", "Include ~/.config/jitwg/ssh_config\n", 0o600, name)
    write("/etc/jitwg/allowed_signers", signers)
    node = f"realm = {REALM}\nca = /etc/jitwg/ca.pub\n"
    write("/etc/jitwg/gateway.conf", f"node = gw1\nnode-key = /etc/jitwg/gw1_key\npool = 10.90.0.0/16\n{node}")
    write("/etc/jitwg/hostd.conf", f"node = jump1\nnode-key = /etc/jitwg/jump1_key\n{node}")
    write("/etc/jitwg/managed", "uids 0,1000-59999\n")
    run("install", "-d", "-m", "0700", "-o", "jitwg-ca", "/var/lib/jitwg/signer")
    write("/var/lib/jitwg/signer/ledger", "", 0o600, "jitwg-ca")


def install_snippets():
    docs = Path("/usr/local/share/doc/jitwg")
    write("/etc/ssh/sshd_config.d/jitwg.conf", (docs / "sshd/jitwg.conf").read_text())
    write("/etc/pam.d/sshd", (docs / "pam/sshd").read_text())
    write("/etc/systemd/system/ssh.service.d/jump.conf", "[Service]\nNetworkNamespacePath=/run/netns/jump\n")
    # The database: any port of it echoes.
    write("/etc/systemd/system/db.service", "[Service]\nNetworkNamespacePath=/run/netns/db\n"
          "ExecStart=/usr/bin/socat TCP-LISTEN:5432,fork,reuseaddr EXEC:/usr/bin/cat\n")  # fmt: skip


class Opened:
    """A live session of `person`, its tunnel up."""

    def __init__(self, target="db", duration="30m", person="alice"):
        self.person = person
        asked = jitwg(person, "request", target, "--reason", "INC-1", "--for", duration, "--json").stdout
        self.id = json.loads(asked)["session"]
        jitwg("carol", "approve", self.id, "--yes")
        jitwg(person, "activate", self.id)
        (self.conf,) = Path(f"/home/{person}/.local/state/jitwg/{self.id}").glob("jw-*.conf")
        run("ip", "netns", "exec", "person", "wg-quick", "up", self.conf)

    def revoke(self):
        jitwg("carol", "revoke", self.id, "--reason", "enough", "--yes")

    def closed(self):
        """What the nodes showed, once they did."""
        return wait_for(lambda: (s := show(self.id, self.person))["state"] == "closed" and s, f"{self.id} to be closed")

    def end(self):
        run("ip", "netns", "exec", "person", "wg-quick", "down", self.conf, check=False)
        jitwg(self.person, "return", self.id, check=False)
        self.closed()


class Held:
    """A program of a person's that stays, and echoes what it is told."""

    def __init__(self, *words, person="alice"):
        self.process = subprocess.Popen(as_person(person, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.seen = b""

    def echoes(self, word, seconds=PATIENCE):
        try:
            self.process.stdin.write(f"{word}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return self.hears(word, seconds)

    def hears(self, word, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while word.encode() not in self.seen and (left := deadline - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], left)[0]:
                break
            got = os.read(self.process.stdout.fileno(), 4096)
            if not got:
                break
            self.seen += got
        return word.encode() in self.seen

    def end(self):
        self.process.kill()
        self.process.wait()


def assert_alive(held, word):
    for each in held:
        assert each.echoes(word), f"{each.process.args[-3:]} is gone"
