"""What others may do to a gateway's machine while it serves: nothing of it may widen an access."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from access_test import DB, answers, opened, stage, wait_state
from gateway_test import GATEWAY, IN_KERNEL, INSIDE, INSIDE6, OTHER, PEER, World, session_id, wg_pair, world  # noqa: F401
from netns import wait_for

GATEWAY_ADDRESS = "10.60.10.1"


@pytest.fixture
def served(world):  # noqa: F811
    """Session 1 with its tunnel up, and a service on the gateway itself that nobody may reach."""
    world.grant(1, [f"tcp {INSIDE}:5432", f"udp {INSIDE}:2001"])
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    own = world.gw.popen(["python3", PEER, "serve", "2222"], stdout=subprocess.PIPE)
    assert own.stdout.readline() == "ready\n"
    assert world.reaches("tcp", INSIDE, 5432, 5)
    yield world
    own.kill()
    own.wait()


def log(world):  # noqa: F811
    with open(world.path("log")) as f:
        return f.read()


def closed_to_all_but_its_scope(world):  # noqa: F811
    assert not world.reaches("tcp", INSIDE, 5433, 0.4), "another port"
    assert not world.reaches("tcp", OTHER, 5432, 0.4), "another host"
    assert not world.reaches("tcp", INSIDE6, 5433, 0.4)
    assert not world.reaches("tcp", GATEWAY_ADDRESS, 2222, 0.4), "the gateway's own service"


@pytest.mark.parametrize("deed", [
    "flush ruleset",  # what `systemctl reload nftables` does on Debian
    "delete table inet jitwg",
    "flush table inet jitwg",  # chains emptied, sets left
    "flush chain inet jitwg forward",
    "insert rule inet jitwg from_tunnel accept; insert rule inet jitwg to_tunnel accept",
    "insert rule inet jitwg forward accept; insert rule inet jitwg input accept",
    "add table inet jitwg { flags dormant; }",
    f"add element inet jitwg scope4 {{ 10.90.0.1 . {OTHER} . tcp . 5432, 10.90.0.1 . {INSIDE} . tcp . 5433 }}",
])  # fmt: skip
def test_nft_by_hand_opens_nothing(served, deed):
    flow = served.talk("tcp", INSIDE, 5432)
    served.gw.run(["nft", deed])
    time.sleep(0.3)  # that long, and no longer: the next look by the clock would be in 30 s
    closed_to_all_but_its_scope(served)
    assert flow.runs(), "who may, goes on"
    assert served.elements(1)
    if "element" not in deed:
        assert "somebody changed the chains" in log(served)
    closed_to_all_but_its_scope(served)


@pytest.mark.parametrize("deed", [
    "add table inet jitwg { flags dormant; }",  # the whole table off
    "insert rule inet jitwg from_tunnel accept; insert rule inet jitwg to_tunnel accept",
    "delete table inet jitwg; add table inet jitwg; add set inet jitwg scope4 { type ipv4_addr; }",  # as if of another version
    "delete table inet jitwg; add table inet jitwg; add chain inet jitwg forward { type filter hook forward priority 99; }",
    "add chain inet jitwg other { type filter hook forward priority -400; }",
    "flush ruleset",
])  # fmt: skip
def test_what_became_of_the_table_while_the_gateway_was_down(served, deed):
    served.stop(signal.SIGKILL)
    served.gw.run(["nft", deed])
    served.start()
    wait_for(lambda: served.elements(1), "the session")
    closed_to_all_but_its_scope(served)
    assert served.reaches("tcp", INSIDE, 5432, 5)
    listing = served.gw.run("nft list table inet jitwg").stdout
    assert "dormant" not in listing and "chain other" not in listing


def test_a_restart_touches_no_chain_that_is_as_it_was_left(served):
    before = served.gw.run("nft -a -s -t list table inet jitwg").stdout
    flow = served.talk("tcp", INSIDE, 5432)
    served.stop(signal.SIGKILL)
    served.start()
    wait_for(lambda: log(served).count("no word from the broker") == 2, "the new process to have looked")
    assert served.gw.run("nft -a -s -t list table inet jitwg").stdout == before
    assert flow.runs()


@pytest.mark.parametrize("rules", [
    # Docker's and firewalld's way: accept all that is forwarded, and translate addresses.
    "table ip docker {\n chain forward {\n type filter hook forward priority filter; policy accept;\n accept\n }\n"
    " chain user {\n type filter hook forward priority -300; policy accept;\n accept\n }\n}",
    f"table ip nat {{\n chain pre {{\n type nat hook prerouting priority dstnat;\n ip daddr {INSIDE} tcp dport 5432 dnat to {OTHER}:5433\n }}\n}}",
    f"table ip nat {{\n chain pre {{\n type nat hook prerouting priority dstnat;\n ip daddr {INSIDE} tcp dport 5432 redirect to :2222\n }}\n}}",
])  # fmt: skip
def test_foreign_rules_widen_nothing(served, rules):
    served.gw.run(["nft", rules])
    closed_to_all_but_its_scope(served)
    if "nat" in rules:
        assert not served.reaches("tcp", INSIDE, 5432, 0.5), "not even under the name of what is allowed"
    else:
        assert served.reaches("tcp", INSIDE, 5432, 2)


@pytest.mark.alone
@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_an_interface_that_is_gone_is_made_anew(served, how):
    if how == "killed" and IN_KERNEL:
        pytest.skip("SKIPPED: this kernel has WireGuard, there is nobody to kill")
    if how == "deleted":
        served.gw.run("ip link del jitwg0")
    else:
        served.gw.run("pkill -KILL -x wireguard-go")
    wait_for(lambda: "jitwg0 does not answer" in log(served), "it to be noticed", 2)
    wait_for(lambda: (served.status_or_none() or [{}])[0].get("session") == session_id(1), "its peer to be back")
    wait_for(lambda: served.reaches("tcp", INSIDE, 5432, 1), "the session to go on")
    closed_to_all_but_its_scope(served)


@pytest.mark.skipif(IN_KERNEL, reason="SKIPPED: this kernel has WireGuard and makes one any time")
def test_an_interface_that_cannot_be_made_is_said_and_ends_come_all_the_same(served):
    served.stop()
    with open(served.path("gateway.conf"), "a") as f:
        f.write("wireguard-go = /bin/false\n")
    end = served.grant(1, [f"tcp {INSIDE}:5432"], seconds=10)
    alone = "serving what is stored"
    before = log(served).count(alone)
    served.start()
    wait_for(lambda: log(served).count(alone) > before, "the new process to have looked")
    served.gw.run("ip link del jitwg0")
    served.gw.run("nft add chain inet jitwg poke")
    wait_for(lambda: "no session can be opened" in log(served), "it to be said", 15)
    tombstone = served.path(f"state/tombstones/{session_id(1)}.json")
    wait_for(lambda: os.path.exists(tombstone) and json.load(open(tombstone))["evidence"], "evidence of the end", 30)
    assert end <= time.time() < end + 8
    assert served.daemon.poll() is None


def test_a_peer_removed_or_robbed_by_hand_comes_back_right(served):
    thief = wg_pair()[1]
    served.gw.run(f"wg set jitwg0 peer {thief} allowed-ips 10.90.0.1/32")
    served.gw.run("nft add chain inet jitwg poke")
    wait_for(lambda: thief not in served.gw.run("wg show jitwg0").stdout, "the thief to go")
    # A peer that was put in anew knows no key yet; the person's end asks again within 15 s (WireGuard, section 6.1).
    wait_for(lambda: served.reaches("tcp", INSIDE, 5432, 1), "the session to go on", 30)
    served.gw.run(["wg", "set", "jitwg0", "peer", served.keys[1][1], "remove"])
    served.gw.run("nft add chain inet jitwg poke2")
    wait_for(lambda: served.keys[1][1] in served.gw.run("wg show jitwg0").stdout, "the peer to be back")


def test_spoofed_sources(served):
    """One person's tunnel with another's address, a stranger's, the gateway's, in both families."""
    served.grant(2, [f"tcp {INSIDE}:5433", f"tcp [{INSIDE6}]:5433"])
    served.restart()
    served.wait_open(1, 2)
    ask = ("import socket,sys; s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET); s.settimeout(0.6);"
           "s.bind((sys.argv[1],0)); s.connect((sys.argv[2],int(sys.argv[3])))")  # fmt: skip
    for source, to in (("10.90.0.2", INSIDE), ("10.90.0.77", INSIDE), ("10.60.10.1", INSIDE), ("fd00:90::2", INSIDE6),
                       ("fe80::1", INSIDE6)):
        served.person.run(f"ip addr add {source}/{128 if ':' in source else 32} dev jw1" + (" nodad" if ":" in source else ""))
        served.person.run(["python3", "-c", ask, source, to, "5433"], check=False)
        assert served.person.run(["python3", "-c", ask, source, to, "5433"], check=False).returncode != 0, source
        served.person.run(f"ip addr del {source}/{128 if ':' in source else 32} dev jw1")


def test_nothing_of_many_sessions_is_left(served):
    numbers = range(2, 202)
    for n in numbers:
        served.grant(n, [f"tcp {INSIDE}:5432", f"tcp [{INSIDE6}]:5432", "udp 10.60.10.0/24:1-9"])
    served.restart()
    wait_for(lambda: len(served.status_or_none() or []) == 201, "all to be open")
    for n in numbers:
        served.forget(n)
    served.restart()
    wait_for(lambda: len(served.status_or_none()) == 1, "all to be closed")
    listing = served.gw.run("nft list table inet jitwg").stdout
    assert set(re.findall(r'comment "([0-9a-f-]+)"', listing)) == {session_id(1)}
    assert served.reaches("tcp", INSIDE, 5432, 2)


def test_the_lab_survives_its_gateways_machine(fresh_lab):
    """The same with a broker, the gateway as its own user, and reverse path filters as Debian has them."""
    lab = fresh_lab
    session = opened(lab)
    assert answers(lab, DB, 5432)
    lab.exec("gw", "nft", "flush", "ruleset")
    time.sleep(0.3)
    assert not answers(lab, DB, 5433) and not answers(lab, OTHER, 5432)
    assert answers(lab, DB, 5432)
    lab.exec("gw", "ip", "link", "del", "jitwg0")
    staged = stage(lab)  # the next session's opening makes it anew
    wait_for(lambda: answers(lab, DB, 5432), "the other session to go on", 30)
    lab.exec("gw", "ip", "link", "del", "jitwg0")
    for each in (session, staged):  # and an end needs no interface
        assert lab.jitwg("carol", "revoke", each, "--reason", "enough", "--yes").returncode == 0
        evidence = wait_state(lab, each, "closed")["evidence"]["gw1"]
        assert (evidence["peer"], evidence["elements"], evidence["flows"]) == (False, 0, 0)
    said = [entry["MESSAGE"] for entry in lab.journal("gw", "_COMM=jitwg-gateway")]
    assert any("somebody changed the chains" in line for line in said) and any("does not answer" in line for line in said)


def test_a_wireguard_program_that_makes_no_interface_is_given_up(world):  # noqa: F811
    with open(world.path("gateway.conf"), "a") as f:
        f.write("transport = userspace\nwireguard-go = /bin/true\n")
    daemon = world.gw.popen([GATEWAY, "--config", world.path("gateway.conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = daemon.communicate(timeout=20)
    assert daemon.returncode == 5 and "timeout" in said and "does not appear" in said
