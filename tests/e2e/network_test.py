"""Several gateways and jump hosts, and what happens when the network between them fails."""

import calendar
import json
import re
import threading
import time

from access_test import answers, request, show, ssh, stage, up, wait_state
from labs import wait_for

OTHER = "10.60.10.30"


def spare(lab, duration="10m"):
    """A live session that either gateway may carry."""
    return up(lab, request(lab, "web-spare", duration))


def carried_by(lab, session):
    """(gateway, jump host, inner address)"""
    shown = show(lab, session)
    (jump_host,), (address, _) = shown["jump_hosts"], shown["address"]  # the other is IPv6
    return shown["gateway"], jump_host, address


def lost(lab, node):
    return lab.wait_journal("broker", "JITWG_EVENT=node.lost", f"JITWG_NODE={node}")


def test_the_second_gateway_takes_over_and_the_first_comes_back(fresh_lab):
    lab = fresh_lab
    first = spare(lab)
    gateway, jump_host, address = carried_by(lab, first)
    assert (gateway, jump_host) == ("gw1", "jump2") and address.startswith("10.90.")
    assert answers(lab, OTHER, 8080)
    login = ssh(lab, first, "hostname; echo $JITWG_SESSION_ID").stdout.split()
    assert login == ["jump2", first]
    assert lab.jitwg("alice", "return", first).returncode == 0
    wait_state(lab, first, "closed")

    lab.stop("gw", "jitwg-gateway")
    lost(lab, "gw1")
    second = spare(lab)
    gateway, jump_host, address = carried_by(lab, second)
    assert (gateway, jump_host) == ("gw2", "jump2") and address.startswith("10.91.")
    assert answers(lab, OTHER, 8080) and not answers(lab, OTHER, 5432)
    assert ssh(lab, second, "hostname").stdout == "jump2\n"
    assert second in lab.exec("gw2", "nft", "list", "table", "inet", "jitwg").stdout

    lab.start("gw", "jitwg-gateway")
    lab.wait_journal("broker", "JITWG_EVENT=node.back", "JITWG_NODE=gw1")
    third = spare(lab)
    assert carried_by(lab, third)[0] == "gw1"
    for session in (third, second):  # the older one goes on by its own gateway
        assert ssh(lab, session, "echo $JITWG_SESSION_ID").stdout.strip() == session
        assert lab.jitwg("alice", "return", session).returncode == 0
    evidence = wait_state(lab, second, "closed")["evidence"]
    assert set(evidence) == {"gw2", "jump2"} and {e["result"] for e in evidence.values()} == {"verified"}
    wait_for(lambda: not answers(lab, OTHER, 8080), "no way to the target to be left")


# ---- the broker away ----


def end_of(lab, session):
    """not_after, in seconds since 1970."""
    return calendar.timegm(time.strptime(show(lab, session)["not_after"], "%Y-%m-%dT%H:%M:%SZ"))


def at_gateway(lab, host="gw"):
    """Sessions that the gateway says it serves, and those that its kernel lets through."""
    status = json.loads(lab.exec(host, "jitwg-gateway", "status", "--json", check=False).stdout)
    said = {each["session"] for each in status if each["rx"] is not None}
    rules = lab.exec(host, "nft", "list", "table", "inet", "jitwg").stdout
    return said, set(re.findall(r'comment "([0-9a-f-]{36})"', rules))


def logins(lab, host="jump"):
    return {e["session"] for e in json.loads(lab.exec(host, "jitwg-hostd", "status", "--json").stdout)["logins"]}


class Shell:
    """A login through a session. `ended`: when it did, None as long as it lives."""

    def __init__(self, lab, session):
        self._process = lab.popen("person", "jitwg", "ssh", session, "--", "echo ready; exec cat", as_="alice")
        self.ended, self._said = None, []
        threading.Thread(target=self._read, daemon=True).start()
        wait_for(lambda: "ready\n" in self._said, f"a login through {session}")

    def _read(self):
        for line in self._process.stdout:
            self._said.append(line)
        self._process.wait()
        self.ended = time.time()

    def says(self, word):
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return wait_for(lambda: word + "\n" in self._said, word)


def nodes_back(lab, *nodes):
    for node in nodes:
        lab.wait_journal("broker", "JITWG_EVENT=node.back", f"JITWG_NODE={node}", timeout=90)


def test_sessions_end_on_time_while_the_broker_is_away_and_are_told_right_after(fresh_lab):
    lab = fresh_lab
    staying, first, second = (stage(lab, duration) for duration in ("10m", "25s", "45s"))
    ends = {session: end_of(lab, session) for session in (first, second)}
    shells = {session: Shell(lab, session) for session in (staying, first, second)}
    lab.cut("broker")
    cut_at = time.time()
    for session in (first, second):
        assert session in logins(lab) and session in at_gateway(lab)[1]
        for where in (lambda: set().union(*at_gateway(lab)), lambda: logins(lab)):
            wait_for(lambda s=session, w=where: s not in w(), f"the end of {session}", 60)
            late = time.time() - ends[session]
            assert -1 <= late <= 4, f"{late:+.1f} s from its end"
    assert lab.jitwg("alice", "return", second, timeout=90).returncode == 5
    wait_for(lambda: time.time() > cut_at + 60, "a minute to be over", 70)
    assert at_gateway(lab) == ({staying}, {staying})
    assert shells[staying].says("still here")
    assert shells[first].ended and not shells[staying].ended

    lab.mend("broker")
    nodes_back(lab, "gw1", "jump1")
    for session in (first, second):
        closed = wait_state(lab, session, "closed", 60)
        assert closed["close_reason"] == "expired"
        assert {node: e["result"] for node, e in closed["evidence"].items()} == {"gw1": "verified", "jump1": "verified"}
    assert show(lab, staying)["state"] == "active"
    assert lab.jitwg("alice", "return", staying).returncode == 0
    assert wait_state(lab, staying, "closed")["close_reason"] == "returned"
    wait_for(lambda: shells[staying].ended, "the last shell to end")


def reboot(lab, host):
    """What a gateway's machine forgets when it restarts: processes, interface, firewall, connections."""
    lab.kill(host, "jitwg-gateway")
    if "wireguard-go" in lab.status()["hosts"][host]["programs"]:
        lab.kill(host, "wireguard-go")
    lab.exec(host, "sh", "-c", "ip link del jitwg0 2>/dev/null; nft flush ruleset; conntrack -F; rm -f /run/jitwg/*")
    assert lab.exec(host, "nft", "list", "ruleset").stdout == ""


def test_a_rebooted_gateway_serves_exactly_its_stored_live_grants_without_the_broker(fresh_lab):
    lab = fresh_lab
    live, other, returned, short = (stage(lab, duration) for duration in ("10m", "10m", "10m", "30s"))
    assert lab.jitwg("alice", "return", returned).returncode == 0
    wait_state(lab, returned, "closed")
    end = end_of(lab, short)
    assert answers(lab, OTHER, 8080)

    lab.cut("broker")
    reboot(lab, "gw")
    assert not answers(lab, OTHER, 8080)
    wait_for(lambda: time.time() > end, "the short one to be over", 60)
    for program in lab.status()["hosts"]["gw"]["programs"].items():
        if not program[1]["alive"]:
            lab.start("gw", program[0])
    wait_for(lambda: at_gateway(lab) == ({live, other}, {live, other}), "exactly the live ones to be served", 30)
    wait_for(lambda: answers(lab, OTHER, 8080), "the tunnel to be back", 60)
    assert not answers(lab, OTHER, 5432)

    lab.mend("broker")
    nodes_back(lab, "gw1")
    closed = wait_state(lab, short, "closed", 60)
    assert closed["close_reason"] == "expired" and closed["evidence"]["gw1"]["result"] == "verified"
    assert lab.jitwg("alice", "return", other).returncode == 0
    wait_state(lab, other, "closed")
    assert at_gateway(lab) == ({live}, {live}) and show(lab, live)["state"] == "active"
    assert lab.jitwg("alice", "return", live).returncode == 0
