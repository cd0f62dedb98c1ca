"""Our units under a real systemd, in the machine of tests/vm/run: kernel WireGuard, logind, journald, audit, sshd."""

import datetime
import json
import os
import pwd
import re
import signal
import time
from pathlib import Path

import pytest

from vm_site import DAEMONS, Held, assert_alive, jitwg, journal, pid_of, run, show, status_of, unit, wait_for, write

pytestmark = pytest.mark.skipif("JITWG_VM" not in os.environ, reason="for the machine of tests/vm/run")

CAP_DAC_OVERRIDE, CAP_KILL, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_NICE = 1 << 1, 1 << 5, 1 << 12, 1 << 19, 1 << 23

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
    said = journal("-p", "err", *sum((["-u", f"{name}.service"] for name in DAEMONS), []))
    # jump_host_test.py spoils one on purpose.
    assert [entry for entry in said if "is damaged: what its leaf tells must do" not in entry["MESSAGE"]] == []
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


@pytest.mark.parametrize("session", ["130s"], indirect=True)  # the logins below come within 70 s
def test_with_every_daemon_dead_it_ends_on_time(session, held):
    """By logind's scope alone, and with what would have lived on; a minute before, hostd had said so."""
    end = datetime.datetime.fromisoformat(show(session)["not_after"]).timestamp()
    scope = scope_of_login()
    kept = f"tmux -L t new-session -d 'sleep 7301'; nohup sleep 7302 >/dev/null 2>&1 & setsid -f sleep 7303; echo $JITWG_SESSION_ID; sleep 7304"
    terminal = Held("ssh", "-tt", f"jitwg-{session[-8:]}", kept)
    wait_for(lambda: len(run("pgrep", "-f", "^sleep 730", check=False).stdout.split()) == 4, "all of it to run")
    assert terminal.hears(f"jitwg: session {session} ends in 1m")
    os.kill(pid_of("jitwg-hostd"), signal.SIGKILL)
    run("systemctl", "stop", "jitwg-signer.socket", "jitwgd.socket", "jitwg-hostd.socket", "jitwg-hostd.service", "jitwg-gateway.service")
    try:
        assert run("jitwg-hostd", "status", check=False).returncode == 5
        assert len(run("pgrep", "-f", "^sleep 730").stdout.split()) == 4
        wait_for(lambda: unit(scope, "ActiveState") != "active", "logind's scope to end by itself")
        wait_for(lambda: run("pgrep", "-f", "^sleep 730", check=False).stdout == "", "and the other login's", 10)
        assert end - 5 < time.time() < end + 15
        assert not held[0].echoes("afterwards", 3)
    finally:
        terminal.end()
        # What does not start at once, systemd tries again; the evidence below needs all of them.
        run("systemctl", "start", *(f"{name}.service" for name in DAEMONS), check=False)
    closed = wait_for(lambda: (s := show(session))["state"] == "closed" and s, "the session to be closed")
    assert closed["close_reason"] == "expired"
