"""Our units under a real systemd, in the machine of tests/vm/run: kernel WireGuard, logind, journald, audit, sshd.

The machine is broker, gateway and jump host at once; alice and carol sit in a network namespace `person`, the database
in another, and sshd listens in a third, so that the jump host is behind the gateway as it should be.
"""

import json
import os
import pwd
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("JITWG_VM" not in os.environ, reason="for the machine of tests/vm/run")

DAEMONS = {"jitwg-signer": "jitwg-ca", "jitwgd": "jitwg", "jitwg-gateway": "jitwg-gw", "jitwg-hostd": "root"}
CAP_DAC_OVERRIDE, CAP_KILL, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_NICE = 1 << 1, 1 << 5, 1 << 12, 1 << 19, 1 << 23
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
platform = ["alice"]
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
[[rule]]
name = "platform reaches the database"
who = ["group:platform"]
targets = ["db"]
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


def show(session):
    return json.loads(jitwg("alice", "show", session, "--json").stdout)


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
    for name in ("alice", "carol"):
        run("useradd", "--create-home", "--shell", "/bin/bash", name)
    keys = {"gw1": make_key("/etc/jitwg/gw1_key", "jitwg-gw"), "jump1": make_key("/etc/jitwg/jump1_key"),
            "host": " ".join(Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])}  # fmt: skip
    ca = make_key("/etc/jitwg/ca", "jitwg-ca")
    secret = run("wg", "genkey").stdout
    write("/etc/jitwg/wg.key", secret, 0o600, "jitwg-gw")
    wireguard = subprocess.run(["wg", "pubkey"], input=secret, capture_output=True, text=True, check=True).stdout.strip()
    write("/etc/jitwg/policy.toml", POLICY.format(realm=REALM, wireguard=wireguard, **keys))
    signers = ""
    for name in ("alice", "carol"):
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


@pytest.fixture(scope="module")
def journal_kept():
    """In journal.txt of --out, whatever happens."""
    yield
    Path(os.environ["JITWG_VM_OUT"], "journal.txt").write_text(run("journalctl", "--no-hostname", "-o", "short-precise").stdout)


@pytest.fixture(scope="module")
def site(journal_kept):
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create")
    make_network()
    make_configuration()
    install_snippets()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "ssh.service", "db.service")
    run("systemctl", "enable", "--now", *(f"{name}.service" for name in DAEMONS))
    wait_for(lambda: {"gw1", "jump1"} <= {e["JITWG_NODE"] for e in journal("JITWG_EVENT=node.joined")}, "both nodes")


@pytest.fixture
def session(site, request):
    """A live one, its tunnel up; param: for how long."""
    duration = getattr(request, "param", "30m")
    asked = jitwg("alice", "request", "db", "--reason", "INC-1", "--for", duration, "--json").stdout
    made = json.loads(asked)["session"]
    jitwg("carol", "approve", made, "--yes")
    jitwg("alice", "activate", made)
    files = Path(f"/home/alice/.local/state/jitwg/{made}")
    (conf,) = files.glob("jw-*.conf")
    run("ip", "netns", "exec", "person", "wg-quick", "up", conf)
    yield made
    run("ip", "netns", "exec", "person", "wg-quick", "down", conf, check=False)
    jitwg("alice", "return", made, check=False)
    wait_for(lambda: show(made)["state"] == "closed", f"{made} to be closed")


class Held:
    """A program of alice's that stays, and echoes what it is told."""

    def __init__(self, *words):
        self.process = subprocess.Popen(as_person("alice", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.seen = b""

    def echoes(self, word, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        try:
            self.process.stdin.write(f"{word}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
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


@pytest.fixture
def held(session):
    """(a flow to the database, a login on the jump host), both established."""
    both = [Held("nc", DB, "5432"), Held("jitwg", "ssh", session, "--", "exec cat")]
    try:
        for each in both:
            assert each.echoes("established")
        yield both
    finally:
        for each in both:
            each.end()


def assert_alive(held, word):
    for each in held:
        assert each.echoes(word), f"{each.process.args[-3:]} is gone"


# ---- what runs ----


@pytest.mark.parametrize("daemon", DAEMONS)
def test_each_daemon_runs_as_its_user_and_hardened(site, daemon):
    assert unit(f"{daemon}.service", "ActiveState") == "active"
    status = status_of(pid_of(daemon))
    assert {pwd.getpwuid(int(uid)).pw_name for uid in status["Uid"].split()} == {DAEMONS[daemon]}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    allowed = {"jitwg-gateway": CAP_NET_ADMIN, "jitwg-hostd": CAP_DAC_OVERRIDE | CAP_KILL | CAP_SYS_PTRACE | CAP_SYS_NICE}.get(daemon, 0)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == allowed


@pytest.mark.parametrize("daemon", ["jitwgd", "jitwg-signer"])
def test_broker_and_signer_have_no_network(site, daemon):
    links = run("nsenter", f"--net=/proc/{pid_of(daemon)}/ns/net", "ip", "-br", "link").stdout
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]


def test_the_sockets_are_systemds(site):
    listening = run("ss", "-xlpH").stdout
    for name in ("broker", "signer", "hostd"):
        assert re.search(rf"/run/jitwg/{name}\.sock .*\"systemd\"", listening), listening
    assert oct(os.stat("/run/jitwg/signer.sock").st_mode & 0o777) == "0o660"


def test_the_signer_takes_its_key_as_a_credential(site):
    conf, drop_in = Path("/etc/jitwg/signer.conf"), Path("/etc/systemd/system/jitwg-signer.service.d/credential.conf")
    os.chown("/etc/jitwg/ca", 0, 0)  # its user cannot read the file: systemd hands it in
    write(conf, "ca-key = credential:ca\n")
    write(drop_in, "[Service]\nLoadCredential=ca:/etc/jitwg/ca\n")
    try:
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "jitwg-signer.service")
        fingerprint = run("ssh-keygen", "-lf", "/etc/jitwg/ca.pub").stdout.split()[1]
        assert fingerprint in unit("jitwg-signer.service", "StatusText")
    finally:
        conf.unlink(), drop_in.unlink()
        os.chown("/etc/jitwg/ca", pwd.getpwnam("jitwg-ca").pw_uid, -1)
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "jitwg-signer.service")


def test_the_interface_is_the_kernels(site):
    link = json.loads(run("ip", "-d", "-j", "link", "show", "jitwg0").stdout)[0]
    assert link["linkinfo"]["info_kind"] == "wireguard" and "UP" in link["flags"]
    assert not Path("/var/run/wireguard/jitwg0.sock").exists()


def test_nothing_was_denied_to_a_daemon(site):
    """A sandbox that is too tight shows as an error in the journal, or as a seccomp record."""
    assert journal("-p", "err", *sum((["-u", f"{name}.service"] for name in DAEMONS), [])) == []
    assert "type=SECCOMP" not in Path("/var/log/audit/audit.log").read_text()


def test_the_kernels_auditing_stays_on_with_journald(site):
    run("systemctl", "restart", "systemd-journald")
    assert re.search(r"^enabled [12]$", run("auditctl", "-s").stdout, re.MULTILINE)


def scope_of_login():
    """The unit that logind made for alice's login."""
    sessions = [line.split() for line in run("loginctl", "list-sessions", "--no-legend").stdout.splitlines()]
    newest = max(int(fields[0]) for fields in sessions if fields[2] == "alice")
    return f"session-{newest}.scope"


def test_tunnel_and_login_carry_the_session(session, held):
    events = {(e["JITWG_EVENT"], e["_SYSTEMD_UNIT"]) for e in journal(f"JITWG_SESSION_ID={session}")}
    assert {("session.activated", "jitwgd.service"), ("tunnel.opened", "jitwg-gateway.service"),
            ("login.opened", "jitwg-hostd.service")} <= events  # fmt: skip
    (peer,) = run("wg", "show", "jitwg0", "peers").stdout.split()
    assert peer == show(session)["wg_public_key"]
    # logind's scope holds the login, and ends it by itself.
    scope = scope_of_login()
    assert "cat" in [Path(f"/proc/{pid}/comm").read_text().strip()
                     for pid in Path(f"/sys/fs/cgroup{unit(scope, 'ControlGroup')}/cgroup.procs").read_text().split()]  # fmt: skip
    assert 0 < int(run("busctl", "get-property", "org.freedesktop.systemd1",
                       run("busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                           "org.freedesktop.systemd1.Manager", "GetUnit", "s", scope).stdout.split('"')[1],
                       "org.freedesktop.systemd1.Scope", "RuntimeMaxUSec").stdout.split()[1]) <= 30 * 60 * 10**6  # fmt: skip


# ---- what does not end a session ----


def test_reload_leaves_sessions_as_they_are(session, held):
    before = {daemon: pid_of(daemon) for daemon in DAEMONS}
    for daemon in DAEMONS:
        run("systemctl", "reload", f"{daemon}.service")
        wait_for(lambda: unit(f"{daemon}.service", "ActiveState") == "active", f"{daemon} to have reloaded")
    assert_alive(held, "reloaded")
    assert {daemon: pid_of(daemon) for daemon in DAEMONS} == before
    policy = Path("/etc/jitwg/policy.toml")
    good = policy.read_text()
    write(policy, good + "nonsense\n")
    run("systemctl", "reload", "jitwg-signer.service")
    wait_for(lambda: "reload refused" in unit("jitwg-signer.service", "StatusText"), "the refusal in the status")
    write(policy, good)
    run("systemctl", "reload", "jitwg-signer.service")
    wait_for(lambda: "reload refused" not in unit("jitwg-signer.service", "StatusText"), "the good policy again")


def test_a_node_is_told_by_reload_that_the_broker_moved(site):
    conf = Path("/etc/jitwg/gateway.conf")
    before = conf.read_text()

    def reload(where):
        write(conf, f"{before}broker = {where}\n")
        run("systemctl", "reload", "jitwg-gateway.service")

    def subscribed():
        return len([e for e in journal("-u", "jitwg-gateway.service") if e["MESSAGE"] == "subscribed to the broker"])

    times = subscribed()
    os.symlink("/run/jitwg/broker.sock", "/run/jitwg/elsewhere.sock")
    reload("unix:/run/jitwg/elsewhere.sock")
    wait_for(lambda: subscribed() == times + 1, "the gateway to be where the broker is now")
    reload("elsewhere")
    wait_for(lambda: "reload refused: bad_" in unit("jitwg-gateway.service", "StatusText"), "the refusal in the status")
    write(conf, before)
    run("systemctl", "reload", "jitwg-gateway.service")
    wait_for(lambda: subscribed() == times + 2, "the gateway to be back")


def test_a_gateway_starts_on_its_selftest_alone_and_by_itself_again(session, held):
    proof, drop_in = Path("/run/jitwg/selftest.ok"), Path("/etc/systemd/system/jitwg-gateway-selftest.service.d/no-tun.conf")
    status, gateway = proof.stat(), pid_of("jitwg-gateway")
    assert (status.st_uid, status.st_mode & 0o777, status.st_nlink) == (0, 0o644, 1)
    os.kill(gateway, signal.SIGKILL)
    gateway = wait_for(lambda: (pid := pid_of("jitwg-gateway")) not in (0, gateway) and unit("jitwg-gateway.service", "ActiveState") == "active" and pid,
                       "the gateway after a kill")  # fmt: skip
    assert proof.stat().st_mtime_ns > status.st_mtime_ns, "a restart is preceded by a test, too"
    write(drop_in, "[Service]\nInaccessiblePaths=/dev/net/tun\n")
    try:
        run("systemctl", "daemon-reload")
        os.kill(gateway, signal.SIGKILL)
        wait_for(lambda: [e for e in journal("-u", "jitwg-gateway.service") if "not_confirmed" in e["MESSAGE"]], "the refusal")
        assert not proof.exists() and unit("jitwg-gateway.service", "ActiveState") == "activating"
        assert [e for e in journal("-u", "jitwg-gateway-selftest.service") if "modprobe tun" in e["MESSAGE"]]
        assert_alive(held, "with neither gateway nor self-test")
    finally:
        drop_in.unlink()
        run("systemctl", "daemon-reload")
    wait_for(lambda: proof.exists() and unit("jitwg-gateway.service", "ActiveState") == "active", "the gateway, by itself")
    assert_alive(held, "with the gateway again")


@pytest.mark.parametrize("daemon", DAEMONS)
def test_stop_leaves_sessions_as_they_are(session, held, daemon):
    pid = pid_of(daemon)
    run("systemctl", "stop", f"{daemon}.service")  # whoever asks its socket starts it again
    assert unit(f"{daemon}.service", "Result") == "success" and pid_of(daemon) != pid
    assert_alive(held, f"without {daemon}")
    run("systemctl", "start", f"{daemon}.service")
    assert_alive(held, f"with {daemon} again")


def test_the_watchdog_starts_anew_what_hangs(session, held):
    hung = {daemon: pid_of(daemon) for daemon in DAEMONS}
    for pid in hung.values():
        os.kill(pid, signal.SIGSTOP)
    for daemon, pid in hung.items():
        wait_for(lambda: pid_of(daemon) not in (0, pid), f"another {daemon}", 180)
        wait_for(lambda: unit(f"{daemon}.service", "ActiveState") == "active", f"{daemon} to be ready")
    said = run("journalctl", "-q", "-o", "cat", "_PID=1").stdout
    for daemon in DAEMONS:
        assert f"{daemon}.service: Watchdog timeout" in said
    assert_alive(held, "after the watchdog")


# ---- what does ----


def test_revoked_the_login_and_the_flow_end(session, held):
    scope = scope_of_login()
    jitwg("carol", "revoke", session, "--reason", "enough", "--yes")
    closed = wait_for(lambda: (s := show(session))["state"] == "closed" and s, "the session to be closed")
    assert closed["evidence"]["gw1"]["result"] == closed["evidence"]["jump1"]["result"] == "verified"
    wait_for(lambda: unit(scope, "ActiveState") != "active", "logind's scope to end")
    assert not held[0].echoes("afterwards", 3) and not held[1].echoes("afterwards", 3)
    assert run("wg", "show", "jitwg0", "peers").stdout == ""


@pytest.mark.parametrize("session", ["60s"], indirect=True)
def test_with_every_daemon_dead_it_ends_on_time(session, held):
    end = time.time()
    scope = scope_of_login()
    run("systemctl", "stop", "jitwg-signer.socket", "jitwgd.socket", "jitwg-hostd.socket", "jitwg-gateway.service")
    try:
        wait_for(lambda: unit(scope, "ActiveState") != "active", "logind's scope to end by itself")
        assert time.time() - end < 75
        assert not held[0].echoes("afterwards", 3)
    finally:
        run("systemctl", "start", *(f"{name}.service" for name in DAEMONS))
    closed = wait_for(lambda: (s := show(session))["state"] == "closed" and s, "the session to be closed")
    assert closed["close_reason"] == "expired"
