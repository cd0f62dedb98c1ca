"""The site is made once for all tests of the machine."""

import os
from pathlib import Path

import pytest

from vm_site import DAEMONS, DB, Held, Opened, install_snippets, journal, make_configuration, make_network, run, show, wait_for


@pytest.fixture(scope="session")
def journal_kept():
    """In journal.txt of --out, whatever happens."""
    yield
    Path(os.environ["JITWG_VM_OUT"], "journal.txt").write_text(run("journalctl", "--no-hostname", "-o", "short-precise").stdout)


@pytest.fixture(scope="session")
def site(journal_kept):
    run("systemd-sysusers")
    run("systemd-tmpfiles", "--create")
    make_network()
    make_configuration()
    install_snippets()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "ssh.service", "db.service")
    run("systemctl", "enable", "--now", *(f"{name}.service" for name in DAEMONS))
    wait_for(lambda: {"gw1", "jump1"} <= {e["JITWG_NODE"] for e in journal("JITWG_EVENT=node.joined")}, "both nodes")


@pytest.fixture(scope="module")
def lasting(site):
    """The session that tests share, if any: to open one takes an emulated machine a quarter of a minute."""
    made = []
    yield made
    for each in made:
        each.end()


@pytest.fixture
def session(lasting, request):
    """A live one of alice's, its tunnel up; param: one of the test's own, for so long."""
    own = hasattr(request, "param")
    if lasting and (own or show(lasting[0].id)["state"] != "active"):
        lasting.pop().end()  # its interface would carry the flows of the next
    if not lasting:
        lasting.append(Opened(duration=getattr(request, "param", "30m")))
    yield lasting[0].id
    if own:
        lasting.pop().end()


@pytest.fixture
def held(session):
    """(a flow to the database, a login on the jump host), both established."""
    both = [Held("nc", DB, "5432"), Held("jitwg", "ssh", session, "--", "exec cat")]
    try:
        for each in both:
            assert each.echoes("established")
        yield both
    finally:
        for each in both:
            each.end()
