"""The CA's key is changed under live sessions, step by step as contrib/adr/0015 says; and ssh-keygen as the CA's backend lets people in."""

import pytest

from access_test import Flow, opened, ssh, wait_state
from doctor_test import doctor, sh
from labs import wait_for

CONF = "/etc/jitwg/signer.conf"
NODES = {"gw": "jitwg-gateway", "gw2": "jitwg-gateway", "jump": "jitwg-hostd", "jump2": "jitwg-hostd"}
ALL = ["gw1", "gw2", "jump1", "jump2"]


def set_signer(lab, **settings):
    """These keys of signer.conf; None takes one out. The broker starts anew too: it asks the signer at its start, and every 30 s."""
    for key, value in settings.items():
        key = key.replace("_", "-")
        sh(lab, "broker", f"sed -i '/^{key} =/d' {CONF}" + (f" && echo '{key} = {value}' >> {CONF}" if value else ""))
    for program in ("jitwgd", "jitwg-signer"):
        lab.stop("broker", program)
    for program in ("jitwg-signer", "jitwgd"):
        lab.start("broker", program)
    wait_for(lambda: lab.jitwg("alice", "list").returncode in (0, 3), "the broker to serve")


def make_key(lab, path):
    sh(lab, "broker", f"ssh-keygen -q -t ed25519 -N '' -C jitwg-ca -f {path} && chown jitwg-ca {path}")
    return " ".join(sh(lab, "broker", f"cat {path}.pub").stdout.split()[:2])


def set_node_keys(lab, host, *keys):
    lines = "".join(f"{key} jitwg-ca\n" for key in keys)
    lab.exec(host, "sh", "-c", "cat > /etc/jitwg/ca.pub", input=lines)
    lab.stop(host, NODES[host])
    lab.start(host, NODES[host])


def set_person_keys(lab, person, *keys):
    lines = "".join(f"ca = {key}\n" for key in keys)
    lab.exec("person", "sh", "-c", "f=~/.config/jitwg/config; sed -i '/^ca =/d' $f && cat >> $f", as_=person, input=lines)


def lack_a_key(lab, lacking):
    """jitwgd's doctor, once all nodes have come back: its level and who it names, or None."""
    def look():
        found = doctor(lab, "broker", "jitwgd")[1].get("nodes_ca")
        return (found["level"], sorted(n for n in ALL if n in found["text"])) == lacking if found else lacking is None
    return wait_for(look, f"jitwgd's doctor to say {lacking}")


@pytest.fixture
def flows():
    made = []
    yield lambda lab: made.append(Flow(lab)) or made[-1]
    for flow in made:
        flow.end()


def test_the_key_is_changed_under_a_live_session(fresh_lab, flows):
    lab = fresh_lab
    old = " ".join(sh(lab, "broker", "cat /etc/jitwg/ca.pub").stdout.split()[:2])
    first = opened(lab)
    flow = flows(lab)
    assert flow.carries("old")

    # 1. Announced, then known everywhere; nobody's session notices.
    new = make_key(lab, "/etc/jitwg/ca-next")
    set_signer(lab, ca_also="/etc/jitwg/ca-next.pub")
    lack_a_key(lab, ("warning", ALL))
    found = doctor(lab, "gw", "jitwg-gateway")[1]["broker_ca"]
    assert (found["level"], new in found["remedy"]) == ("warning", True)
    assert doctor(lab, "person", "jitwg")[1]["broker_ca"]["level"] == "warning"
    for host in ("gw2", "jump", "jump2"):
        set_node_keys(lab, host, old, new)
    lack_a_key(lab, ("warning", ["gw1"]))
    set_node_keys(lab, "gw", old, new)
    lack_a_key(lab, None)
    set_person_keys(lab, "alice", old, new)
    assert "broker_ca" not in doctor(lab, "person", "jitwg")[1]
    assert flow.carries("both")

    # 2. The switch.
    set_signer(lab, ca_key="/etc/jitwg/ca-next", ca_also="/etc/jitwg/ca.pub")
    assert flow.carries("switched")
    login = ssh(lab, first, "true")
    assert login.returncode == 0, login.stderr  # a new login by the old certificate
    again = lab.jitwg("alice", "up", first, "--detach")
    assert again.returncode == 0, again.stderr
    second = opened(lab)
    login = ssh(lab, second, "echo in")
    assert (login.returncode, login.stdout) == (0, "in\n"), login.stderr
    signed = [lab.exec("person", "sh", "-c", f"ssh-keygen -L -f ~/.local/state/jitwg/{s}/id-cert.pub", as_="alice").stdout for s in (first, second)]
    fingerprints = [sh(lab, "broker", f"ssh-keygen -lf /etc/jitwg/{name}.pub").stdout.split()[1] for name in ("ca", "ca-next")]
    assert all(f"Signing CA: ED25519 {key}" in text for key, text in zip(fingerprints, signed))
    # Who has only the old key is told so, and asks for nothing.
    refused = lab.jitwg("carol", "request", "db-prod", "--reason", "x")
    assert refused.returncode == 3 and "CA key" in refused.stderr
    assert "nodes_ca" not in doctor(lab, "broker", "jitwgd")[1]

    # 3. The old key goes: what it has signed is refused and ends, with the other's session beside it untouched.
    shell = lab.popen("person", "jitwg", "ssh", second, "--", "echo ready; exec cat", as_="alice")
    assert shell.stdout.readline() == "ready\n"
    set_node_keys(lab, "jump", new)
    closed = wait_state(lab, first, "closed")
    assert closed["close_reason"] == "failed" and not flow.carries("gone")
    assert ssh(lab, second, "true").returncode == 0
    for host in ("gw", "gw2", "jump2"):
        set_node_keys(lab, host, new)
    assert shell.communicate("still here\n", timeout=30)[0] == "still here\n"
    assert ssh(lab, second, "true").returncode == 0
    set_signer(lab, ca_also=None)
    lack_a_key(lab, None)
    set_person_keys(lab, "alice", new)
    assert "broker_ca" not in doctor(lab, "person", "jitwg")[1]
    assert show_ok(lab, second)
    sh(lab, "broker", "rm /etc/jitwg/ca /etc/jitwg/ca.pub")
    third = opened(lab)
    assert ssh(lab, third, "true").returncode == 0


def show_ok(lab, session):
    return lab.jitwg_json("alice", "show", session)[1]["state"] == "active"


def test_a_node_without_the_new_key_opens_nothing_and_is_named(fresh_lab):
    lab = fresh_lab
    make_key(lab, "/etc/jitwg/ca-next")
    set_signer(lab, ca_key="/etc/jitwg/ca-next", ca_also="/etc/jitwg/ca.pub")  # the first step was forgotten
    lack_a_key(lab, ("problem", ALL))
    assert doctor(lab, "jump", "jitwg-hostd")[1]["broker_ca"]["level"] == "problem"
    refused = lab.jitwg("alice", "request", "web-stage", "--reason", "x")
    assert refused.returncode == 3 and "CA key" in refused.stderr


def test_ssh_keygen_and_an_agent_as_backends_let_people_in(fresh_lab):
    lab = fresh_lab
    sh(lab, "broker", "install -d -o jitwg-ca -g jitwg-ca -m 700 /run/jitwg/signer")
    set_signer(lab, backend="ssh-keygen")
    by_file = opened(lab)
    assert ssh(lab, by_file, "echo in").stdout == "in\n"
    sh(lab, "broker", "install -d -o jitwg-ca -g jitwg-ca -m 700 /run/ca-agent")
    agent = lab.popen("broker", "setpriv", "--reuid", "jitwg-ca", "--regid", "jitwg-ca", "--clear-groups", "ssh-agent", "-D", "-a", "/run/ca-agent/socket")
    try:
        wait_for(lambda: sh(lab, "broker", "ls /run/ca-agent").stdout, "the agent")
        sh(lab, "broker", "SSH_AUTH_SOCK=/run/ca-agent/socket ssh-add -q /etc/jitwg/ca && rm /etc/jitwg/ca")
        set_signer(lab, ca_key="/etc/jitwg/ca.pub", agent_socket="/run/ca-agent/socket")
        by_agent = opened(lab)
        assert ssh(lab, by_agent, "echo in").stdout == "in\n"
        assert doctor(lab, "broker", "jitwg-signer") == (0, {})
    finally:
        agent.kill()
        agent.wait()
    # Its agent gone, nothing is signed, and nobody waits for long.
    session = opened_not(lab)
    assert lab.jitwg_json("alice", "show", session)[1]["state"] in ("closing", "closed")
    assert ssh(lab, by_file, "true").returncode == 0


def opened_not(lab):
    code, session = lab.jitwg_json("alice", "request", "web-stage", "--reason", "x", "--for", "10m")
    assert code == 0
    assert lab.jitwg("alice", "up", session["session"], "--detach").returncode == 5
    return session["session"]
