"""The jump host's key is the grant's, and nobody is trusted at first sight: a real sshd with another key in its way."""

import pytest

from access_test import opened, ssh
from labs import wait_for

IMPOSTOR = "/run/impostor"
# Whatever somebody says with it, this sshd lets nobody know the difference but by its key.
CONFIG = f"""Port 2222
HostKey {IMPOSTOR}/key
PidFile {IMPOSTOR}/pid
TrustedUserCAKeys /etc/jitwg/ca.pub
AuthorizedPrincipalsCommand /bin/sh -c 'echo jitwg:${{0#jitwg1:}}' %i
AuthorizedPrincipalsCommandUser root
AuthorizedKeysFile none
UsePAM no
LogLevel VERBOSE
"""


@pytest.fixture
def impostor(lab):
    """Packets to the jump host's port 22 reach this sshd; yields its public key."""
    lab.exec("jump", "sh", "-c", f"mkdir -p {IMPOSTOR} && ssh-keygen -q -t ed25519 -N '' -f {IMPOSTOR}/key && cat > {IMPOSTOR}/config", input=CONFIG)
    lab.exec("jump", "sh", "-c", f"/usr/sbin/sshd -f {IMPOSTOR}/config -E {IMPOSTOR}/log > /dev/null 2>&1 < /dev/null")
    lab.exec("jump", "nft", "-f", "-", input="table ip impostor { chain c { type nat hook prerouting priority -100; tcp dport 22 redirect to :2222; }; }")
    yield lab.exec("jump", "cat", f"{IMPOSTOR}/key.pub").stdout.rsplit(" ", 1)[0]
    lab.exec("jump", "nft", "delete table ip impostor")
    lab.exec("jump", "sh", "-c", f"kill $(cat {IMPOSTOR}/pid); rm -rf {IMPOSTOR}")


def log(lab):
    return lab.exec("jump", "cat", f"{IMPOSTOR}/log").stdout


def as_alice(lab, script, check=True):
    return lab.exec("person", "sh", "-c", script, as_="alice", check=check)


def test_another_key_is_no_jump_host(lab, impostor):
    session = opened(lab)
    # The impostor would let alice in: that she does not come is for its key alone.
    known = f"jitwg-jump1 {impostor}\njump1 {impostor}\n10.60.0.5 {impostor}\n"
    as_alice(lab, f"mkdir -p ~/.ssh && printf '%s' '{known}' > ~/.ssh/known_hosts")
    options = "-o UserKnownHostsFile=~/.ssh/known_hosts"
    assert as_alice(lab, f"ssh -F ~/.config/jitwg/ssh_config {options} jitwg-db-prod echo in").stdout == "in\n"
    before = log(lab)

    # Her own known_hosts has that key by now, under every name; the session's own counts alone.
    done = ssh(lab, session, "echo in")
    assert done.returncode == 255 and "Host key verification failed" in done.stderr and not done.stdout, done

    # Nor does her own configuration widen it, once ours is included in it.
    as_alice(lab, "cat > ~/.ssh/config <<'END'\nInclude ~/.config/jitwg/ssh_config\nMatch all\n"
             f"  KnownHostsCommand /bin/echo jitwg-jump1 {impostor}\n  VerifyHostKeyDNS yes\n  StrictHostKeyChecking no\n"
             "  NoHostAuthenticationForLocalhost yes\nEND")  # fmt: skip
    done = as_alice(lab, "ssh jitwg-db-prod echo in; rc=$?; rm ~/.ssh/config ~/.ssh/known_hosts; exit $rc", check=False)
    assert done.returncode == 255 and "Host key verification failed" in done.stderr and not done.stdout, done

    since = log(lab).removeprefix(before)
    assert "Connection from" in since and "Accepted" not in since and "publickey" not in since, since

    lab.exec("jump", "nft", "flush table ip impostor")
    wait_for(lambda: ssh(lab, session, "echo in").stdout == "in\n", "the jump host itself")
