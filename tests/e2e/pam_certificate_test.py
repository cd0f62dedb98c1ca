"""Certificates and ways to log in that nobody of ours makes, through Debian's sshd: each grant here names its odd certificate's very bytes, so
that nothing but the oddity stands in its way."""

import contextlib
import subprocess

import pytest

from jump_host_test import REFUSED, closed, jump, long_login, sandbox, wait_for  # noqa: F401
from jump_sandbox import HELPERS

PORT = 2224


@contextlib.contextmanager
def another_sshd(host, **settings):
    """One whose administrator changed some of our lines."""
    edits = "".join(f"s,^{key} .*,{key} {value},;" for key, value in settings.items())
    host.run("sh", "-c", f"sed '{edits}' /etc/ssh/sshd_loose_config > /etc/ssh/sshd_odd_config")
    daemon = subprocess.Popen(host.inside("/usr/sbin/sshd", "-D", "-E", host.directory / "sshd-odd.log", "-f", "/etc/ssh/sshd_odd_config",
                                          "-p", PORT, "-o", "PidFile=none"))  # fmt: skip
    try:
        wait_for(lambda: host.run("ss", "-Hltn", f"sport = {PORT}").stdout, "it listens")
        yield
    finally:
        host.run("pkill", "-KILL", "-f", f"sshd-odd.log.*-p {PORT}")
        daemon.wait(10)


def inside(result, session):
    assert result.returncode == 0 and session.id in result.stdout, result


def still_serves(jump):  # noqa: F811
    session = jump.session()
    inside(jump.ssh(session, "echo $JITWG_SESSION_ID"), session)


@pytest.mark.parametrize("key_id", ["jitwg1:{id}\nroot", "jitwg1:{id}\njitwg1:{id}", "jitwg1:{id} ", "jitwg1:", "\x1b[2Jjitwg1:{id}", "x" * 5000])
def test_key_ids(jump, key_id):  # noqa: F811
    session = jump.session(key_id=key_id)
    before = len(jump.hostd_log().splitlines())
    assert jump.ssh(session, "echo inside").returncode == REFUSED
    lines = jump.hostd_log().splitlines()[before:]
    denied = [line for line in lines if "login.denied" in line]
    assert denied and all("bad_certificate" in line or "not one of a jitwg session" in line for line in denied), lines
    # Each line of the record is ours, whatever the certificate holds.
    assert not any(line.startswith(("root", "jitwg1:")) or "\x1b" in line for line in lines), lines
    still_serves(jump)


def big(total, each=60_000):
    return [word for n in range(total // each) for word in ("-O", f"extension:x{n}@big=" + "x" * each)]


@pytest.mark.parametrize("options", [
    ["-O", "extension:permit-pty@x=1", "-O", "extension:permit-pty@x=2"], ["-O", "permit-pty", "-O", "extension:permit-pty=again"],
    big(60_000), big(120_000), big(180_000),
], ids=["an extension twice", "permit-pty with a value too", "60 kB", "120 kB", "180 kB"])  # fmt: skip
def test_options_and_sizes(jump, options):  # noqa: F811
    session = jump.session(options=options)
    result = jump.ssh(session, "echo inside")
    assert result.returncode == REFUSED and "inside" not in result.stdout
    still_serves(jump)


@pytest.mark.parametrize("key_type", ["rsa", "ecdsa"])
def test_other_key_types(jump, key_type):  # noqa: F811
    """No certificate of ours; but its bytes are what the grant names, so it is judged like any other."""
    session = jump.session(key_type=key_type)
    result = jump.ssh(session, "echo $JITWG_SESSION_ID")
    assert result.returncode == REFUSED or session.id in result.stdout
    still_serves(jump)


MANGLED = {"nothing": '"$2"', "empty": '""', "half": '"$(echo "$2" | cut -c 1-300)"', "cut by one": '"${2%?}"', "four more": '"${2}AAAA"',
           "160 kB": '"$(head -c 163840 /dev/zero | tr "\\\\0" A)"', "100 kB": '"$(head -c 100000 /dev/zero | tr "\\\\0" A)"',
           "newline": '"$2\nuser=root"', "no base64": '"%k"', "twice": '"$2" "$2"'}  # fmt: skip


@pytest.mark.parametrize("what", MANGLED)
def test_certificates_that_sshd_would_not_pass_on(jump, what):  # noqa: F811
    """As if a later sshd did: the helper is asked by a real monitor."""
    session = jump.session()
    script = f'#!/bin/sh\nexec {HELPERS}/jitwg-principals "$1" {MANGLED[what]}\n'
    jump.run("sh", "-c", f'printf "%s" "$0" > {HELPERS}/mangled; chmod 755 {HELPERS}/mangled', script)
    with another_sshd(jump, AuthorizedPrincipalsCommand=f"{HELPERS}/mangled %u %k"):
        result = jump.ssh(session, "echo inside", options=("-p", str(PORT)))
    assert (result.returncode, result.stdout) == ((0, "inside\n") if what == "nothing" else (REFUSED, "")), result
    still_serves(jump)


def test_two_certificates_as_two_methods(jump):  # noqa: F811
    """SSH_AUTH_INFO_0 has two lines then; which of the two should the login be bound to?"""
    first, second = jump.session(), jump.session()
    with another_sshd(jump, AuthenticationMethods="publickey\\,publickey"):
        result = jump.ssh(first, "echo inside", options=("-p", str(PORT), "-i", str(second.key)))
        said = result.stdout + result.stderr
        assert result.returncode == 254 and "did not use a jitwg certificate only. Log in with: jitwg ssh TARGET" in said, result
        assert "inside" not in said
        assert jump.ssh(first, "echo inside", options=("-p", str(PORT))).returncode == REFUSED


@pytest.mark.parametrize("methods", ["publickey,keyboard-interactive:pam", "keyboard-interactive:pam", "publickey,password"])
def test_a_certificate_and_a_password(jump, methods):  # noqa: F811
    session = jump.session()
    jump.run("sh", "-c", "echo alice:secret | chpasswd; printf '#!/bin/sh\\necho secret\\n' > /run/ask; chmod 755 /run/ask")
    ways = {"KbdInteractiveAuthentication": "yes", "PasswordAuthentication": "yes", "AuthenticationMethods": methods.replace(",", "\\,")}
    with another_sshd(jump, **ways):
        command = jump.ssh_command(session, "echo inside", options=("-p", str(PORT), "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"))
        at = command.index("ssh")
        command[at:at] = ["env", "SSH_ASKPASS=/run/ask", "SSH_ASKPASS_REQUIRE=force"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    jump.run("usermod", "-p", "*", "alice")
    assert result.returncode in (REFUSED, 254) and "inside" not in result.stdout, result


def test_root(jump):  # noqa: F811
    """root is a login like any other: with a session that is for it, bound and ended; without one, refused."""
    alices, roots = jump.session(), jump.session(login="root")
    assert jump.ssh(alices, "true", user="root").returncode == REFUSED
    assert jump.ssh(roots, "true").returncode == REFUSED
    result = jump.ssh(roots, "id -u; cat /proc/self/cgroup; su backup -s /bin/sh -c id\\ -u", user="root")
    assert result.returncode == 0 and f"/jitwg/{roots.id}/" in result.stdout and result.stdout.endswith("\n34\n"), result
    login = long_login(jump, roots, user="root")
    jump.broker.close(roots.id, "revoked")
    closed(jump, roots)
    assert login.wait(10) != 0
    assert jump.ssh(roots, "true", user="root").returncode == REFUSED
    still_serves(jump)
