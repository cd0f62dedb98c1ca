"""Several gateways and jump hosts, and what happens when the network between them fails."""

from access_test import answers, request, show, ssh, up, wait_state
from labs import wait_for

OTHER = "10.60.10.30"


def spare(lab, duration="10m"):
    """A live session that either gateway may carry."""
    return up(lab, request(lab, "web-spare", duration))


def carried_by(lab, session):
    """(gateway, jump host, inner address)"""
    shown = show(lab, session)
    (jump_host,), (address,) = shown["jump_hosts"], shown["address"]
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
