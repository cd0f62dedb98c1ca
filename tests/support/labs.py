"""contrib/lab for tests: one object per lab, thin over the command line that users have."""

import json
import os
import subprocess
import time

from namespaces import unshare

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = f"{CHECKOUT}/contrib/lab"
# Generous: the machine may be busy, or emulated (tests/vm/run). A test that waits for something polls, up to this long.
EMULATED = "JITWG_VM" in os.environ
_PATIENT = 6 if EMULATED else 1
PATIENCE = 30.0 * _PATIENT

_count = 0


def why_not():
    """Why this machine cannot run a lab, or None."""
    if os.geteuid() != 0:
        return "needs root and network namespaces"
    probe = subprocess.run([*unshare("--net", "--mount"), "true"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"needs network namespaces: {probe.stderr.strip()}"


def unused_name():
    global _count
    _count += 1
    return f"t{os.getpid()}-{_count}"


def wait_for(condition, what, timeout=PATIENCE):
    """Polls until condition() is truthy and returns that."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain for: {what}")
        time.sleep(0.02)
    return value


class Lab:
    """A lab under a name of its own. `up()` is not called by the constructor."""

    def __init__(self, name=None, build=None):
        self.name = name or unused_name()
        self._build = build or os.environ.get("JITWG_BUILD")

    def command(self, *arguments, check=True, timeout=120 * _PATIENT, **more):
        """contrib/lab with these arguments."""
        done = subprocess.run(
            [LAB, "--name", self.name, *arguments],
            capture_output=True, text=True, timeout=timeout, **more,
        )  # fmt: skip
        if check and done.returncode != 0:
            words = " ".join(arguments)
            raise AssertionError(
                f"lab {words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def up(self, *options, check=True):
        build = ["--build", self._build] if self._build else []
        return self.command("up", *build, *options, check=check)

    def down(self):
        return self.command("down")

    def status(self):
        return json.loads(self.command("status", "--json", check=False).stdout)

    def _exec(self, host, cmd, as_):
        return ["exec", *(["--as", as_] if as_ else []), host, "--", *cmd]

    def exec(self, host, *cmd, as_=None, check=True, timeout=PATIENCE, input=None):
        """Runs a command to its end; CompletedProcess with text. check: exit code 0 or fail."""
        feed = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        return self.command(*self._exec(host, cmd, as_), check=check, timeout=timeout, **feed)

    def popen(self, host, *cmd, as_=None, **more):
        """Starts a command; a subprocess.Popen with text pipes for stdin, stdout and stderr."""
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        argv = [LAB, "--name", self.name, *self._exec(host, cmd, as_)]
        return subprocess.Popen(argv, **{**pipes, "text": True, **more})

    def start(self, host, program):
        return self.command("start", host, program)

    def stop(self, host, program):
        return self.command("stop", host, program)

    def kill(self, host, program):
        return self.command("kill", host, program)

    def cut(self, host):
        """Takes all cables of that host out; `mend` puts them back."""
        return self.command("cut", host)

    def mend(self, host):
        return self.command("mend", host)

    def journal(self, host, *matches):
        """Entries of that host's journal, oldest first; matches as journalctl(1) takes them."""
        script = 'journalctl --sync && exec journalctl --quiet --output=json --all "$@"'
        lines = self.exec(host, "sh", "-c", script, "journal", *matches).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def wait_journal(self, host, *matches, timeout=PATIENCE):
        """The same, waiting until there is at least one."""
        return wait_for(lambda: self.journal(host, *matches), f"journal {matches}", timeout)

    def jitwg(self, person, *args, **more):
        """The client as that person, with whatever exit code. JITWG_BROKER and agent are set."""
        return self.exec("person", "jitwg", *args, as_=person, check=False, **more)

    def jitwg_json(self, person, *args, **more):
        """(exit code, the object that `--json` printed)"""
        done = self.jitwg(person, *args, "--json", **more)
        try:
            return done.returncode, json.loads(done.stdout)
        except json.JSONDecodeError as error:
            raise AssertionError(
                f"jitwg {' '.join(args)} --json: exit code {done.returncode}, no JSON ({error})\n"
                f"{done.stdout}\n{done.stderr}"
            ) from None
