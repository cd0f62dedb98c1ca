"""The machine's disk: a Debian tree made by mmdebstrap, packed as one initramfs, and the kernel beside it.

Kept under build/vm/ by the hash of what it is made from: the package lists and this file.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "vm"
_SUITE = "bookworm"
_LISTS = [ROOT / "contrib" / "lib" / name for name in ("packages-lab", "packages-vm-image")]
_LEFT_OUT = ("doc", "info", "locale", "man")  # of /usr/share

# Nothing that wakes up on its own while a test measures time, and no prompt on the console.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-firstboot.service",
)  # fmt: skip


def say(text):
    print(f"vm: {text}", file=sys.stderr, flush=True)


def packages():
    lines = (line.strip() for path in _LISTS for line in path.read_text().splitlines())
    return sorted({line for line in lines if line and not line.startswith("#")})


def _digest():
    wanted = hashlib.sha256(Path(__file__).read_bytes())
    wanted.update("\n".join(packages()).encode())
    return wanted.hexdigest()[:16]


def _fill(tree):
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    # INITRD=No: the kernel package's own hook would spend minutes on an initramfs that nobody boots.
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(packages())}", *options,
         _SUITE, str(tree)],
        env=dict(os.environ, INITRD="No"), stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"vm: mmdebstrap failed\n{(done.stdout + done.stderr)[-4000:]}")


def _configure(tree):
    (tree / "etc/hostname").write_text("jitwg-vm\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost jitwg-vm\n::1 localhost ip6-localhost\n")
    (tree / "etc/fstab").write_text("")
    (tree / "etc/machine-id").write_text("")  # a new one at each boot
    units = tree / "etc/systemd/system"
    for name in _MASKED:
        link = units / name
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for folder in ("boot", "var/cache/apt", "var/lib/apt/lists"):
        for entry in (tree / folder).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def pack(folder, target, names=None):
    """A newc archive, as the kernel reads it, all root's. names: relative to folder; otherwise everything."""
    if names is None:
        found = subprocess.run(["find", ".", "-print0"], cwd=folder, check=True, capture_output=True).stdout
    else:
        found = "\0".join(names).encode()
    owner = [] if names is None else ["--owner=0:0"]
    with open(target, "wb") as out:
        subprocess.run(["cpio", "--null", "--create", "--format=newc", "--quiet", *owner], cwd=folder, input=found,
                       stdout=out, check=True)  # fmt: skip


def _make(place):
    work = CACHE / f"making-{place.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        _fill(work / "tree")
        (kernel,) = (work / "tree/boot").glob("vmlinuz-*")
        shutil.move(kernel, work / "vmlinuz")
        _configure(work / "tree")
        pack(work / "tree", work / "image.cpio")
        # -3: unpacking is what the emulated processor has to do, and all levels unpack alike.
        subprocess.run(["zstd", "-q", "--rm", "-3", "-T0", "image.cpio"], cwd=work, check=True)
        shutil.rmtree(work / "tree")
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def find_or_make():
    """(kernel, initramfs); minutes when it has to be made, nothing otherwise."""
    CACHE.mkdir(parents=True, exist_ok=True)
    place = CACHE / _digest()
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            say(f"making the image {place.name} (a few minutes, once)")
            for old in CACHE.iterdir():
                if old.is_dir() and len(old.name) == len(place.name):
                    shutil.rmtree(old)
            _make(place)
    return place / "vmlinuz", place / "image.cpio.zst"
