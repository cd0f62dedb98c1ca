"""The walk through one access. Called by contrib/demo."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = [str(ROOT / "contrib" / "lab"), "--name", f"demo{os.getpid()}"]


class Surprise(Exception):
    pass


def say(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(words, output):
    print(f"  $ {words}")
    for line in output.rstrip().splitlines():
        print(f"    {line}")
    sys.stdout.flush()


def command(host, words, person=None):
    return [*LAB, "exec", *(["--as", person] if person else []), host, "--", "sh", "-c", words]


def run(host, words, person=None, want=0, silent=False, timeout=60):
    """Runs a shell line on a host of the lab; any other exit code than `want` is a surprise (None: any but 0)."""
    done = subprocess.run(command(host, words, person), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout)  # fmt: skip
    if not silent:
        show(f"[{person + '@' if person else ''}{host}] {words}", done.stdout)
    if (done.returncode == 0 if want is None else done.returncode != want):
        wanted = "a failure" if want is None else f"exit code {want}"
        raise Surprise(f"[{host}] {words}\n{done.stdout}\nexit code {done.returncode}, wanted {wanted}")
    return done.stdout


def expect(condition, what):
    if not condition:
        raise Surprise(what)
    print(f"  ok: {what}", flush=True)


def wait_for(condition, what, seconds=30):
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise Surprise(f"waited {seconds} s in vain for: {what}")
        time.sleep(0.05)
    return time.monotonic() - start


class Flow:
    """A program that stays: its output is read as it comes."""

    def __init__(self, host, words, person=None):
        self.process = subprocess.Popen(command(host, words, person), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1)  # fmt: skip
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def send(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def text(self):
        return "\n".join(self.lines)

    def echoes(self, word, seconds):
        """Does the far side answer `word` within so many seconds?"""
        before = len(self.lines)
        self.send(word)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(word in line for line in self.lines[before:]):
                return True
            time.sleep(0.02)
        return False

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def port(address, number):
    """A shell line that says what this port answers, and fails when nothing does."""
    return f"echo hello | timeout 3 nc -N -w 2 {address} {number} | grep ."


def ask_and_approve():
    say("1. alice asks for the production database, with a reason. Her SSH key signs the request.")
    run("person", port("10.60.10.20", 5432), "alice", want=None, silent=True)
    expect(True, "nothing of the management network can be reached before")
    asked = run("person", "jitwg request db-prod --reason 'INC-4711 replica lag' --for 10m --json", "alice", silent=True)
    session = json.loads(asked)["session"]
    show("[alice@person] jitwg request db-prod --reason 'INC-4711 replica lag' --for 10m", f"session {session}")
    run("person", f"jitwg activate {session}", "alice", want=6)
    expect(True, "without an approval there is no access")
    run("person", f"jitwg approve {session} --yes", "alice", want=3)
    expect(True, "she cannot approve it herself")

    say("2. carol sees what exactly it would open, and approves. Her key signs that.")
    run("person", "jitwg pending", "carol")
    run("person", f"jitwg approve {session} --yes", "carol")
    return session


def open_access(session):
    say("3. alice activates it: WireGuard peer and SSH certificate come together. The clock starts here.")
    up = Flow("person", f"jitwg up {session}", "alice")
    state = lambda: json.loads(run("person", f"jitwg show {session} --json", "alice", silent=True))["state"]
    wait_for(lambda: state() == "active" and "jw-" in run("person", "ip -br link", silent=True), "the tunnel")
    time.sleep(0.5)
    show(f"[alice@person] jitwg up {session}", up.text())

    say("4. Through the tunnel: a login on the jump host, and the database. Nothing else.")
    out = run("person", "jitwg ssh db-prod -- 'echo I am $(id -un) on $(hostname), session $JITWG_SESSION_ID'", "alice")
    expect(session in out and "alice" in out, "the login carries the session's ID")
    expect("db" in run("person", port("10.60.10.20", 5432), "alice"), "the database port answers")
    run("person", port("10.60.10.20", 5433), "alice", want=None, silent=True)
    expect(True, "the other port of the same host does not answer")
    run("person", port("10.60.10.30", 5432), "alice", want=None, silent=True)
    expect(True, "the other host does not answer")
    return up


def one_id(session):
    say("5. One ID everywhere.")
    short = session[-8:]
    places = {
        "jitwg show": run("person", f"jitwg show {session}", "alice", silent=True),
        "ssh-keygen -L": run("person", f"ssh-keygen -L -f ~/.local/state/jitwg/{session}/id-cert.pub", "alice", silent=True),
        "nftables element": run("gw", "nft list table inet jitwg", silent=True),
        "jitwg-gateway status": run("gw", "jitwg-gateway status --json", silent=True),
        "sshd's log": run("jump", "journalctl -o cat SYSLOG_IDENTIFIER=sshd", silent=True),
        "broker's journal": run("broker", f"journalctl -o cat JITWG_SESSION_ID={session}", silent=True),
        "jump host's journal": run("jump", f"journalctl -o cat JITWG_SESSION_ID={session}", silent=True),
    }
    for place, text in places.items():
        line = next((line.strip() for line in text.splitlines() if session in line and f"/{session}/" not in line), None)
        if line is None:
            raise Surprise(f"{place} does not name {session}:\n{text}")
        start = max(0, line.index(session) - 60)
        print(f"  {place + ':':22} {'…' if start else ''}{line[start:start + 110]}")
    expect(f"jw-{short}" in run("person", "ip -br link", silent=True), f"the interface is jw-{short}")


def steal(session):
    """A copy of the login key and its certificate on a host behind the tunnel."""
    run("other", "mkdir -p -m 700 /tmp/stolen", silent=True)
    for name in ("id", "id-cert.pub"):
        text = run("person", f"cat ~alice/.local/state/jitwg/{session}/{name}", silent=True)
        subprocess.run(command("other", f"umask 077; cat > /tmp/stolen/{name}"), input=text, text=True, check=True)


def revoke(session):
    say("6. A running shell and an established database connection, then carol revokes.")
    shell = Flow("person", "jitwg ssh db-prod -- 'echo shell is open; exec cat'", "alice")
    database = Flow("person", "nc 10.60.10.20 5432", "alice")
    wait_for(lambda: "shell is open" in shell.text(), "the shell")
    expect(shell.echoes("one", 10) and database.echoes("two", 10), "both answer")
    start = time.monotonic()
    run("person", f"jitwg revoke {session} --reason 'demo: that is enough' --yes", "carol")
    asked = time.monotonic() - start
    wait_for(lambda: shell.process.poll() is not None, "the shell to end", 30)
    ended = time.monotonic() - start
    expect(not database.echoes("three", 3), "the established database connection carries nothing any more")
    database.end()
    expect(True, f"the running shell was ended ({ended:.1f} s after revoking began; revoke answered after {asked:.1f} s)")
    closed = lambda: json.loads(run("person", f"jitwg show {session} --json", "carol", silent=True))
    wait_for(lambda: closed()["state"] == "closed", "every enforcement point's evidence")
    final = closed()
    show(f"[carol@person] jitwg show {session} --json", json.dumps({k: final[k] for k in ("state", "close_reason", "evidence")}, indent=2))
    expect(final["close_reason"] == "revoked", "closed for the right reason, read back from both kernels")


def refused(session):
    say("7. A new login is refused, with a reason.")
    run("person", f"jitwg ssh {session} -- true", "alice", want=4)
    left = run("person", f"ls ~alice/.local/state/jitwg/{session}", silent=True)
    expect(not {"id", "wg.key"} & set(left.split()), "no key of the ended session is left on her machine")
    print("  A thief who copied key and certificate in time, on a host that needs no tunnel, gets this:")
    run("other", f"ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes -i /tmp/stolen/id alice@10.60.0.5 true",
        want=255)  # fmt: skip
    denied = run("jump", f"journalctl -o cat --no-pager -q JITWG_EVENT=login.denied JITWG_SESSION_ID={session}")
    expect("ended (revoked)" in denied, "the jump host says why")


def journal(session):
    say("8. The journal of this session, in order: broker, gateway, jump host.")
    for host in ("broker", "gw", "jump"):
        run(host, f"journalctl -o short-iso --no-pager -q JITWG_SESSION_ID={session}")


def build():
    for words in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
        print(f"  $ {' '.join(words)}", flush=True)
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Surprise(done.stdout[-4000:])


def main(arguments):
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: contrib/demo [--build DIR]")
        return 0
    options = []
    if len(arguments) == 2 and arguments[0] == "--build":
        options = arguments
    elif arguments:
        print("usage: contrib/demo [--build DIR]", file=sys.stderr)
        return 2
    up = None
    try:
        if not options:
            say("Building (a few minutes the first time).")
            build()
        say("Bringing up a small network: a person, the broker, two gateways, two jump hosts, two targets.")
        subprocess.run([*LAB, "up", *options], check=True)
        session = ask_and_approve()
        up = open_access(session)
        one_id(session)
        steal(session)
        revoke(session)
        wait_for(lambda: up.process.poll() is not None, "jitwg up to end")
        say("   Her `jitwg up` has ended by itself, and took the interface down:")
        show("", "\n".join(up.lines[-3:]))
        refused(session)
        journal(session)
        say("Done: asked, approved, opened, used, revoked, and proven to have ended.")
        return 0
    except (Surprise, subprocess.SubprocessError) as surprise:
        print(f"\nSURPRISE: {surprise}", file=sys.stderr)
        return 1
    finally:
        if up:
            up.end()
        subprocess.run([*LAB, "down"], check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
