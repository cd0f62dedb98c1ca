"""A host of its own for what `init` writes: the machine's programs, with /etc, /var, /usr/local and /run that go away again."""

import os
import subprocess

from namespaces import unshare
from realm import binary

USERS = {"jitwg": 850, "jitwg-ca": 851, "jitwg-gw": 852}
_SETUP = """set -e
mkdir -p "$1"
mount -t tmpfs -o mode=0755 tmpfs "$1"
for tree in etc var usr/local; do
  mkdir -p "$1/$tree/upper" "$1/$tree/work"
  mount -t overlay -o "lowerdir=/$tree,upperdir=$1/$tree/upper,workdir=$1/$tree/work" overlay "/$tree"
done
mount -t tmpfs -o mode=0755 tmpfs /run
rm -rf /etc/jitwg /var/lib/jitwg
echo ready
exec cat
"""


class BareHost:
    def __init__(self, directory, users=True):
        self._process = subprocess.Popen(
            [*unshare("--mount"), "sh", "-c", _SETUP, "sh", str(directory / "layers")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert self._process.stdout.readline() == "ready\n", "no overlay file system here"
        if users:
            self.add_users()

    def add_users(self):
        for name, uid in USERS.items():
            self.sh(f"echo {name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin >> /etc/passwd; "
                    f"echo {name}:x:{uid}: >> /etc/group")

    def command(self, *words):
        """The same, as a command line for Popen."""
        return ["nsenter", "--mount", f"--target={self._process.pid}", "--", *[str(word) for word in words]]

    def run(self, *words, text=None):
        return subprocess.run(self.command(*words), input=text, capture_output=True, text=True, timeout=60,
                              stdin=None if text is not None else subprocess.DEVNULL)  # fmt: skip

    def ours(self, program, *words, text=None):
        return self.run(binary(program), *words, text=text)

    def sh(self, script):
        done = self.run("sh", "-c", script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listing(self):
        """Path, owner, mode, time of change and content of all that is jitwg's."""
        return self.sh("for tree in /etc/jitwg /var/lib/jitwg; do [ ! -e $tree ] || find $tree -printf '%p %u:%g %m %T@ %i\\n' "
                       "-type f -exec sha256sum {} +; done")

    def mode(self, path):
        return self.sh(f"stat -c '%U:%G %a' {path}").strip()

    def read(self, path):
        return self.sh(f"cat {path}")

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


def possible():
    return os.geteuid() == 0 and binary("jitwg-signer") is not None
