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
