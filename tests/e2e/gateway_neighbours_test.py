"""Other people's firewall on the gateway's machine: it never widens an access; where it narrows one, doctor says by what,
and with the line that it gives typed, the session works.

tests/support/firewalls: what Docker 28 loads on a host with one published port, as iptables-save gives it; what firewalld
1.3 loads on Debian 12, with jitwg0 in no zone of its own and in the zone trusted, as `nft -s list ruleset` gives it.
"""

import json
import os
import shutil
import subprocess
import time

import pytest

from gateway_hostile_test import closed_to_all_but_its_scope, log, served  # noqa: F401
from gateway_test import GATEWAY, INSIDE, INSIDE6, OTHER, ROOT, session_id, world  # noqa: F401
from netns import wait_for

FIREWALLS = os.path.join(ROOT, "tests", "support", "firewalls")


def base(table, hook, priority, *rules, kind="filter", policy="accept"):
    body = "\n".join(rules)
    return f"table {table} {{\n chain theirs {{\n type {kind} hook {hook} priority {priority}; policy {policy};\n{body}\n }}\n}}\n"


def load_docker(world):  # noqa: F811
    if shutil.which("iptables-nft-restore") is None:
        pytest.skip("SKIPPED: iptables is not installed")
    world.gw.run("ip link add docker0 type bridge")
    world.gw.run("ip addr add 172.17.0.1/16 dev docker0")
    world.gw.run("ip link set docker0 up")
    world.gw.run(["iptables-nft-restore", os.path.join(FIREWALLS, "docker.rules")])


def load_ufw(world):  # noqa: F811
    """`ufw enable`, as far as forwarding goes: its chains' order, what passes before them, nothing by default."""
    if shutil.which("iptables-nft") is None:
        pytest.skip("SKIPPED: iptables is not installed")
    for words in ("-N ufw-before-forward", "-N ufw-user-forward", "-N ufw-after-forward", "-P FORWARD DROP", "-P INPUT DROP",
                  "-A FORWARD -j ufw-before-forward", "-A FORWARD -j ufw-after-forward",
                  "-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                  "-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT", "-A ufw-before-forward -j ufw-user-forward",
                  "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -i lo -j ACCEPT"):  # fmt: skip
        world.gw.run(["iptables-nft", *words.split()])


def load(text):
    return lambda world: world.gw.run(["nft", text])


def load_file(name):
    return lambda world: world.gw.run(["nft", "-f", os.path.join(FIREWALLS, name)])


ACCEPTING = {
    "before all": base("ip a", "forward", -300, "accept") + base("ip6 a", "forward", -300, "accept") + base("inet b", "input", -300, "accept"),
    "after all": base("inet a", "forward", 300, "accept") + base("inet b", "input", 300, "accept"),
    "at the very priority": base("inet a", "forward", "filter - 10", "accept") + base("inet b", "input", "filter - 10", "accept"),
    "established": base("inet a", "forward", -200, "ct state established,related accept", "ct status dnat accept", "ct mark 1 accept"),
    "marks": base("inet a", "prerouting", -150, "meta mark set 1 ct mark set 1 accept") + base("inet b", "forward", 0, "meta mark 1 accept"),
    "destination": base("inet a", "prerouting", -100, f"meta nfproto ipv4 udp dport 2001 dnat ip to {OTHER}:5433", f"tcp dport 7777 dnat ip to {OTHER}:5433", kind="nat"),
    "redirect": base("inet a", "prerouting", -100, "tcp dport { 5433, 7777 } redirect to :2222", kind="nat"),
    "source": base("inet a", "postrouting", 100, "masquerade", kind="nat"),
    "early source": base("inet a", "input", 100, "snat ip to 10.60.10.1", kind="nat"),
    "tproxy": base("inet a", "prerouting", -150, "meta l4proto tcp tcp dport { 5433, 7777 } tproxy ip to 127.0.0.1:2222 meta mark set 1 accept"),
    "rewritten": base("inet a", "prerouting", -50, f"ip daddr {OTHER} tcp dport set 5432 accept", f"ip daddr {INSIDE} tcp dport 5433 ip daddr set {OTHER}"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTING)
def test_nothing_that_accepts_widens(served, name):  # noqa: F811
    served.gw.run(["nft", ACCEPTING[name]])
    if name == "tproxy":
        served.gw.run("ip rule add fwmark 1 lookup 100")
        served.gw.run("ip route add local 0.0.0.0/0 dev lo table 100")
    closed_to_all_but_its_scope(served)
    assert not served.reaches("tcp", INSIDE, 7777, 0.4)
    assert not served.reaches("udp", OTHER, 2001, 0.4)
    assert not served.reaches("udp", INSIDE, 2002, 0.4)
    assert served.reaches("tcp", INSIDE, 5432, 2) or name in ("tproxy",)
    # And nobody comes in by them, and the end is an end.
    connect = "import socket; socket.create_connection(('10.90.0.1', 22), 0.5)"
    assert served.inside.run(["python3", "-c", connect], check=False).returncode != 0
    flow = served.talk("tcp", INSIDE, 5432)
    served.gw.run(["nft", f"delete element inet jitwg scope4 {{ 10.90.0.1 . {INSIDE} . tcp . 5432 }}"])
    served.stop()  # or it would put that back
    served.gw.run(["nft", f"delete element inet jitwg scope4 {{ 10.90.0.1 . {INSIDE} . tcp . 5432 }}"], check=False)
    assert flow.stopped(5)


def foreign_problems(world):  # noqa: F811
    done = world.gw.run([GATEWAY, "doctor", "--json", "--config", world.path("gateway.conf")], check=False)
    found = json.loads(done.stdout)
    return [f for f in found if f["check"] == "foreign_chains" and f["level"] == "problem"]


NARROWING = {
    "docker": (load_docker, ["chain FORWARD of table ip filter"]),
    "ufw": (load_ufw, ["chain FORWARD of table ip filter", "chain INPUT of table ip filter"]),
    "firewalld": (load_file("firewalld-public.nft"), ["chain filter_FORWARD of table inet firewalld", "chain filter_INPUT of table inet firewalld"]),
    "drop by policy": (load(base("inet a", "forward", 0, "ct state established,related accept", policy="drop")), ["chain theirs of table inet a"]),
    "drop early": (load(base("inet a", "prerouting", -300, "udp dport 51820 accept", 'iifname != "jitwg0" accept', policy="drop")), ["chain theirs of table inet a"]),
    "notrack": (load(base("ip a", "prerouting", -300, "notrack")), ["chain theirs of table ip a"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NARROWING)
def test_what_narrows_is_named_with_the_line_that_mends_it(served, name):  # noqa: F811
    assert foreign_problems(served) == []
    loader, chains = NARROWING[name]
    loader(served)
    closed_to_all_but_its_scope(served)
    assert not served.reaches("tcp", INSIDE, 5432, 1), "or it narrows nothing"
    problems = foreign_problems(served)
    for chain in chains:
        assert any(chain in f["text"] for f in problems), problems
    assert len(problems) == len(chains), problems
    for problem in problems:
        for line in problem["remedy"].split("; "):
            if line.startswith("nft "):
                served.gw.run(["nft", line.removeprefix("nft ")])
    assert foreign_problems(served) == []
    wait_for(lambda: served.reaches("tcp", INSIDE, 5432, 1), "the session to go on")
    assert served.reaches("udp", INSIDE, 2001, 2)
    closed_to_all_but_its_scope(served)


def test_a_trusted_zone_of_firewalld_is_enough_and_no_more(served):  # noqa: F811
    served.gw.run(["nft", "-f", os.path.join(FIREWALLS, "firewalld-trusted.nft")])
    assert served.reaches("tcp", INSIDE, 5432, 2)
    closed_to_all_but_its_scope(served)
    (problem,) = foreign_problems(served)
    assert "filter_INPUT" in problem["text"] and "WireGuard's port" in problem["text"]


def test_dockers_published_port_is_no_way_in_or_out(served):  # noqa: F811
    load_docker(served)
    served.gw.run(["nft", 'insert rule ip filter FORWARD iifname "jitwg0" accept; insert rule ip filter FORWARD oifname "jitwg0" accept'])
    assert served.reaches("tcp", INSIDE, 5432, 2)
    closed_to_all_but_its_scope(served)
    for address in ("10.60.10.1", "172.17.0.2", "172.17.0.1"):
        served.person.run(f"ip route replace {address} dev jw1 src 10.90.0.1")
        assert not served.reaches("tcp", address, 8080, 0.4), address
        assert not served.reaches("tcp", address, 80, 0.4), address


FLOWTABLE = "table inet fast {\n flowtable f {\n hook ingress priority 0\n devices = { DEVICES }\n }\n}\n"


def kernel_has_flowtables():
    text = FLOWTABLE.replace("DEVICES", '"lo"')
    return subprocess.run(["unshare", "--net", "nft", text], capture_output=True).returncode == 0


@pytest.mark.skipif(not kernel_has_flowtables(), reason="SKIPPED: this kernel has no flowtables")
def test_past_the_chains_no_session_is_served(served):  # noqa: F811
    flow = served.talk("tcp", INSIDE, 5432)
    on_it = FLOWTABLE.replace("DEVICES", '"jitwg0", "lan0"')
    served.gw.run(["nft", on_it])
    assert flow.stopped()
    assert served.elements(1) == [] and served.keys[1][1] not in served.gw.run("wg show jitwg0").stdout
    assert "flowtable f of table fast takes packets past the chains" in log(served) and served.daemon.poll() is None
    assert os.listdir(served.path("state/tombstones")) == [], "it is not closed"
    served.gw.run("nft delete table inet fast")
    wait_for(lambda: served.reaches("tcp", INSIDE, 5432, 1), "the session to be served again", 30)
    assert "all sessions are served again" in log(served)

    served.stop()
    served.gw.run(["nft", on_it])
    done = served.gw.run([GATEWAY, "--config", served.path("gateway.conf")], check=False, timeout=60)
    assert done.returncode != 0 and "wrong_state" in done.stderr and "flowtable f of table fast names jitwg0" in done.stderr
    assert served.elements(1) == [] and served.keys[1][1] not in served.gw.run("wg show jitwg0").stdout
    served.gw.run("nft delete table inet fast")
    served.start()
    wait_for(lambda: served.reaches("tcp", INSIDE, 5432, 1), "the session to be served again", 30)
