"""The hosts of a lab are machines apart: what one has, no other has, but for what the network carries."""

import itertools
import os
import stat

import pytest

from labs import wait_for

JITWG_SOCKETS = {"broker": {"broker.sock", "signer.sock"}, "jump": {"hostd.sock"}, "jump2": {"hostd.sock"}}


def processes(init):
    """All of the host whose first process this is, as the machine sees them."""
    namespace = os.stat(f"/proc/{init}/ns/pid").st_ino
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat(f"/proc/{entry}/ns/pid").st_ino == namespace:
                yield entry
        except OSError:
            pass  # it has just ended


def writable_mounts(init):
    """What is mounted there and may be written: (file system, folder of it)."""
    with open(f"/proc/{init}/mountinfo") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            _, _, device, folder, target, options = before.split()[:6]
            if {"rw"} <= set(options.split(",")) and "rw" in after.split()[2].split(","):
                yield device, folder


def open_files(init):
    """Sockets, pipes and files open for writing, of all its processes."""
    for pid in processes(init):
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                about = os.stat(f"/proc/{pid}/fd/{name}")
                with open(f"/proc/{pid}/fdinfo/{name}") as info:
                    flags = int(next(line for line in info if line.startswith("flags:")).split()[1], 8)
                kinds = (stat.S_ISSOCK, stat.S_ISFIFO)
                writes = stat.S_ISREG(about.st_mode) and flags & os.O_ACCMODE != os.O_RDONLY
                if writes or any(kind(about.st_mode) for kind in kinds):
                    yield about.st_dev, about.st_ino
        except OSError:
            continue


@pytest.fixture(scope="module")
def inits(lab):
    return {host: about["init"] for host, about in lab.status()["hosts"].items()}


@pytest.mark.parametrize("kind", ["mnt", "net", "pid", "ipc", "uts", "cgroup"])
def test_each_host_has_namespaces_of_its_own(inits, kind):
    seen = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in [*inits.values(), "self"]}
    assert len(seen) == len(inits) + 1


@pytest.mark.parametrize("what", [writable_mounts, open_files])
def test_nothing_that_can_be_written_is_on_two_hosts_or_on_the_machine(inits, what):
    here = {host: set(what(pid)) for host, pid in inits.items()}
    assert all(here.values())
    here["the machine"] = set(what(1)) if what is writable_mounts else set()
    for (one, of_one), (other, of_other) in itertools.combinations(here.items(), 2):
        assert not of_one & of_other, f"{one} and {other} share {of_one & of_other}"


def test_jitwgs_sockets_are_only_where_they_belong(lab, inits):
    for host in inits:
        found = lab.exec(host, "find", "/run/jitwg", "-name", "*.sock", "-printf", "%f\n").stdout.split()
        assert set(found) == JITWG_SOCKETS.get(host, set())
    for key in ("/etc/jitwg/ca", "/etc/jitwg/policy.toml", "/etc/jitwg/allowed_signers"):
        having = [host for host in inits if lab.exec(host, "test", "-e", key, check=False).returncode == 0]
        assert having == ["broker"], key
    having = [host for host in inits if lab.exec(host, "test", "-e", "/etc/jitwg/node_key", check=False).returncode == 0]
    assert having == ["gw", "gw2", "jump", "jump2"]


def test_people_and_nodes_meet_the_broker_on_the_network_alone(fresh_lab):
    lab = fresh_lab
    assert lab.jitwg("alice", "pending").returncode == 0
    lab.cut("broker")
    away = lab.jitwg("alice", "pending", timeout=90)
    assert away.returncode == 5, away.stderr
    for node in ("gw1", "gw2", "jump1", "jump2"):
        lab.wait_journal("broker", "JITWG_EVENT=node.lost", f"JITWG_NODE={node}", timeout=90)
    lab.mend("broker")
    for node in ("gw1", "gw2", "jump1", "jump2"):
        lab.wait_journal("broker", "JITWG_EVENT=node.back", f"JITWG_NODE={node}", timeout=90)
    wait_for(lambda: lab.jitwg("alice", "pending").returncode == 0, "the broker to answer")
