"""Starts a lab's programs in order, and waits until each is ready."""

import os
import time

from . import client, world
from .errors import LabError, say

_DAEMONS = ("jitwg-signer", "jitwgd", "jitwg-gateway", "jitwg-hostd")
# Each stage starts when the one before is ready; within a stage all start at once.
_STAGES = (("wireguard-go", "echo", "jitwg-signer"), ("jitwgd",), ("jitwg-gateway", "jitwg-hostd"))
_NODE_DAEMON = {"gateway": "jitwg-gateway", "jumphost": "jitwg-hostd"}
_JOIN_WITHIN = 120.0


def _start(lab, wanted):
    """wanted: [(host, program)], all at once; waits until every one is ready."""
    running = [
        (host, name, client.begin(lab, host, op="start", program=name)) for host, name in wanted
    ]
    for host, name, connection in running:
        try:
            client.finish(connection)
        except LabError as error:
            raise LabError(f"{error}\n{last_words(lab, host, name)}".rstrip()) from error


def _journal(lab, host, *options):
    """The lines that journalctl prints on that host."""
    ours, theirs = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    argv = ["journalctl", "--quiet", "--no-pager", *options]
    connection = client.begin_exec(lab, host, argv, stdio=[null, theirs, null])
    os.close(theirs)
    os.close(null)
    with open(ours, errors="replace") as pipe:
        lines = pipe.read().splitlines()
    client.finish_exec(connection)
    return lines


def last_words(lab, host, program):
    """The last journal lines of a program, for an error message."""
    time.sleep(0.2)  # journald reads at its own pace
    lines = _journal(lab, host, "-n", "20", "-o", "cat", "-t", program)
    return "".join(f"  {program}: {line}\n" for line in lines)


def _wait_until_joined(lab):
    """Until the broker has heard from every node: before that, nothing can be activated."""
    deadline = time.monotonic() + _JOIN_WITHIN
    options = ("-o", "cat", "--output-fields=JITWG_NODE", "JITWG_EVENT=node.joined")
    while not set(world.NODES) <= (joined := set(_journal(lab, "broker", *options))):
        if time.monotonic() > deadline:
            host = next(host for node, host in world.NODES.items() if node not in joined)
            daemon = _NODE_DAEMON[host.role]
            raise LabError(
                f"{host.name}: {daemon} did not join the broker within {_JOIN_WITHIN:.0f} s\n"
                + last_words(lab, host.name, daemon)
            )
        time.sleep(0.05)
    say(f"joined: {', '.join(world.NODES)}")


def start_all(lab, with_daemons):
    available = {host: client.ask(lab, host, op="status")["programs"] for host in world.HOSTS}

    def here(names):
        return [(host, name) for host in available for name in names if name in available[host]]

    agents = [f"ssh-agent-{person}" for person in world.PEOPLE]
    for number, stage in enumerate(_STAGES):
        names = [name for name in stage if with_daemons or name not in _DAEMONS]
        names += [*agents, "sshd"] if number == 0 else []
        wanted = here(names)
        _start(lab, wanted)
        if with_daemons:
            ready = dict.fromkeys(name for _, name in wanted if not name.startswith("ssh-agent-"))
            say(f"ready: {', '.join(ready)}")
    if with_daemons:
        _wait_until_joined(lab)
    adding = [
        client.begin_exec(lab, "person", ["ssh-add", "-q", f"{home}/.ssh/id_ed25519"], person)
        for person, home in ((person, f"/home/{person}") for person in world.PEOPLE)
    ]
    if any([client.finish_exec(connection) for connection in adding]):
        raise LabError("ssh-add failed")
