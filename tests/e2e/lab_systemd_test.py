"""A lab whose hosts run systemd: our units, started by it, carry an access from start to end."""

import pathlib

import pytest

from access_test import answers, ssh, stage, wait_state
from labs import wait_for

UNITS = {
    "broker": ("jitwgd", "jitwg-signer"), "gw": ("jitwg-gateway",), "gw2": ("jitwg-gateway",), "jump": ("jitwg-hostd",),
    "jump2": ("jitwg-hostd",),
}  # fmt: skip


@pytest.fixture(scope="module")
def booted(_possible):
    from labs import Lab

    lab = Lab()
    try:
        done = lab.up("--init", "systemd", check=False)
        if "no systemd in the hosts" in done.stderr:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        yield lab
    finally:
        lab.down()


def pid_of(lab, host, program):
    return lab.status()["hosts"][host]["programs"][program]["pid"]


def test_systemd_runs_our_units_as_they_are_installed(booted):
    for host, programs in UNITS.items():
        assert booted.exec(host, "cat", "/proc/1/comm").stdout == "systemd\n"
        for name in programs:
            cgroup = booted.exec(host, "cat", f"/proc/{pid_of(booted, host, name)}/cgroup").stdout
            assert cgroup.endswith(f"0::/system.slice/{name}.service\n")
            where = booted.exec(host, "systemctl", "show", "-P", "FragmentPath", name).stdout
            assert where == f"/usr/local/lib/systemd/system/{name}.service\n"
        failed = booted.exec(host, "systemctl", "--failed", "--plain", "--no-legend").stdout
        assert failed == ""


def test_one_access_by_units_and_logind(booted):
    session = stage(booted)
    assert answers(booted, "10.60.10.30", 8080)
    login = ssh(booted, session, "echo $JITWG_SESSION_ID; cat /proc/self/cgroup").stdout
    assert login.startswith(session) and "0::/user.slice/user-2001.slice/session-" in login
    assert booted.jitwg("alice", "return", session).returncode == 0
    evidence = wait_state(booted, session, "closed")["evidence"]
    assert {each["result"] for each in evidence.values()} == {"verified"}


def test_what_is_stopped_or_killed_stays_so_and_those_who_ask_wait(booted):
    for end in (booted.stop, booted.kill):
        end("broker", "jitwgd")
        assert pid_of(booted, "broker", "jitwgd") is None
        waiting = booted.popen("person", "jitwg", "pending", as_="alice")
        state = ("systemctl", "show", "-P", "SubState", "jitwgd")
        wait_for(lambda: booted.exec("broker", *state).stdout == "start-pre\n", "somebody to have asked")
        assert pid_of(booted, "broker", "jitwgd") is None and waiting.poll() is None
        booted.start("broker", "jitwgd")
        assert waiting.wait(30) == 0, waiting.stderr.read()


@pytest.fixture
def signer_unit(booted):
    """Restarts the signer with these lines in its configuration and its unit; afterwards as it was."""
    drop_in, conf = "/etc/systemd/system/jitwg-signer.service.d/test.conf", "/etc/jitwg/signer.conf"
    before = booted.exec("broker", "cat", conf).stdout

    def restart(settings, unit):
        kept = "".join(line for line in before.splitlines(True) if line.split(" =")[0] not in settings)
        booted.exec("broker", "sh", "-c", f"cat > {conf}", input=kept + settings)
        booted.exec("broker", "sh", "-c", f"mkdir -p $(dirname {drop_in}) && cat > {drop_in}", input=unit)
        booted.exec("broker", "sh", "-c", "systemctl daemon-reload && systemctl restart jitwg-signer")

    yield restart
    restart("", "")


def test_ssh_keygen_under_the_signers_unit(booted, signer_unit):
    drop_in = (pathlib.Path(__file__).resolve().parents[2] / "contrib/systemd/jitwg-signer-ssh-keygen.conf").read_text()
    signer_unit("backend = ssh-keygen\n", drop_in)
    assert ssh(booted, stage(booted), "echo in").stdout == "in\n"
    assert booted.exec("broker", "stat", "-c", "%U %a", "/run/jitwg/signer").stdout == "jitwg-ca 700\n"
    assert booted.exec("broker", "ls", "/run/jitwg/signer").stdout == ""


def test_sudo_su_and_jobs_by_the_login_scope(booted):
    """Where pam_systemd moves a login on, out of our cgroup: its scope says whose it is."""
    jump = lambda script: booted.exec("jump", "sh", "-c", script, check=False)  # noqa: E731
    assert jump("grep -l pam_jitwg.so /etc/pam.d/sudo /etc/pam.d/su").stdout.count("\n") == 2
    jump("echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice")
    session = stage(booted)
    said = ssh(booted, session, "grep 0:: /proc/self/cgroup; sudo -n id -un; sudo -n su backup -s /bin/sh -c id\\ -un; setsid sudo -n id -un").stdout
    assert "/session-" in said and said.endswith("\nroot\nbackup\nroot\n"), said
    events = jump("journalctl -o cat JITWG_EVENT=sudo.checked JITWG_SESSION_ID=" + session).stdout
    assert events.count("alice may use sudo") == 3 and events.count("root may use su ") == 1, events
    # In nobody's login scope: a unit, with alice's name and alice's environment.
    unit = jump(f"systemd-run -q --wait --pipe -p User=alice -E JITWG_SESSION_ID={session} sudo -n id -un")
    assert unit.stdout == "" and "was not started in the login of a session" in unit.stderr, unit
    assert jump("su -s /bin/sh backup -c id\\ -un").stdout == "backup\n"  # the system's own
    # A job goes from atd's unit into the session, and with it.
    spool = "install -d -o daemon -g daemon -m 1770 /var/spool/cron/atjobs /var/spool/cron/atspool && install -o daemon -g daemon -m 600 /dev/null /var/spool/cron/atjobs/.SEQ"
    if jump("test -x /usr/sbin/atd").returncode == 0:
        assert jump(f"{spool} && systemctl start atd").returncode == 0
        login = booted.popen("person", "jitwg", "ssh", session, "--", "echo 'exec sleep 87654' | at now 2>&1; echo ready; exec cat", as_="alice")
        while login.stdout.readline() != "ready\n":
            assert login.poll() is None
        wait_for(lambda: jump("pgrep -xf 'sleep 87654'").stdout, "the job runs")
        assert f"/jitwg/{session}/" in jump("cat /proc/$(pgrep -xf 'sleep 87654')/cgroup").stdout
    assert booted.jitwg("alice", "return", session).returncode == 0
    wait_state(booted, session, "closed")
    assert jump("pgrep -xf 'sleep 87654'").stdout == "" and jump("systemctl is-active atd").stdout != "failed\n"
