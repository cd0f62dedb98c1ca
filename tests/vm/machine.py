"""Boots the image in qemu, runs one command in it, brings out its output, exit code and files."""

import ctypes
import io
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import image
from image import CACHE, ROOT, say

CHECKOUT = "srv/jitwg"  # in the machine
_GUEST = Path(__file__).resolve().parent / "guest"
_PORTS = ("status", "output", "files")
_SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache", ".cache"}
_QEMU = "qemu-system-x86_64"
_BARE = ("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none")
_KVM_WITHIN = 20
_PR_SET_PDEATHSIG = 1
TIMED_OUT = 124


def kvm_works():
    """Tried, and remembered until the next boot of this machine: nested virtualisation often opens
    and then cannot run a kernel. One without a root panics within seconds, and qemu ends."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = CACHE / f"kvm-{boot_id}"
    if not answer.exists():
        kernel, _ = image.find_or_make()
        words = [_QEMU, *_BARE, "-accel", "kvm", "-cpu", "host", "-m", "512", "-kernel", kernel, "-append", "panic=-1"]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_KVM_WITHIN)
            works = done.returncode == 0
        except subprocess.TimeoutExpired:
            works = False
        answer.write_text("works\n" if works else "does not work\n")
    return answer.read_text() == "works\n"


def _checkout_files():
    """Of the checkout, relative to it: all but what a build or git made."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), ROOT)


def _built_files(build):
    """What runs of a build: programs and modules, no objects."""
    for part in ("bin", "lib"):
        for path in sorted((ROOT / build / part).glob("*")):
            if path.is_file() and path.suffix not in (".a", ".o"):
                yield str(path.relative_to(ROOT))


def _install(build, tree):
    """As an administrator would; what has not been built yet is not there."""
    if (ROOT / build / "cmake_install.cmake").exists():
        environment = dict(os.environ, DESTDIR=str(tree))
        words = ["cmake", "--install", str(ROOT / build)]
        done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            say(f"nothing is installed in the machine: {(done.stdout + done.stderr).strip()[-500:]}")


def _second_archive(target, command, put):
    """What differs from run to run: checkout, programs, command. The kernel unpacks it over the image."""
    names = [*_checkout_files(), *_built_files("build/release"), *put]
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as scratch:
        tree = Path(scratch)
        tree.chmod(0o755)
        for name in names:
            copy = tree / CHECKOUT / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy, follow_symlinks=False)
        _install("build/release", tree)
        (tree / "jitwg-vm").mkdir()
        shutil.copy2(_GUEST / "init", tree / "init")
        shutil.copy2(_GUEST / "main", tree / "jitwg-vm/main")
        (tree / "jitwg-vm/command").write_text(f"exec {shlex.join(command)}\n")
        manager = tree / "etc/systemd/system.conf.d/vm.conf"  # of devices, it can be said nowhere else
        manager.parent.mkdir(parents=True)
        manager.write_text("[Manager]\nDefaultDeviceTimeoutSec=900\n")
        units = tree / "etc/systemd/system"
        (units / "multi-user.target.wants").mkdir(parents=True)
        shutil.copy2(_GUEST / "jitwg-vm.service", units)
        (units / "multi-user.target.wants/jitwg-vm.service").symlink_to("../jitwg-vm.service")
        found = [str(path.relative_to(tree)) for path in sorted(tree.rglob("*"))]
        image.pack(tree, target, found)


def _die_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _sweep():
    """What runs left that were killed."""
    for folder in CACHE.glob("run-*"):
        if not os.path.exists(f"/proc/{folder.name.removeprefix('run-')}"):
            shutil.rmtree(folder, ignore_errors=True)


class Machine:
    """One boot. Use as a context; leaving it ends the machine at once: it has no state to keep."""

    def __init__(self, accelerator, memory, processors):
        self._accelerator = accelerator
        self._size = (memory, processors)
        self._folder = None
        self._ports = {}
        self._process = None
        self.console = CACHE / "console.log"  # of the last boot

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for port in self._ports.values():
            port.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def boot(self, command, put):
        kernel, initramfs = image.find_or_make()
        _sweep()
        folder = self._folder = f"{CACHE}/run-{os.getpid()}"
        os.mkdir(folder)
        _second_archive(f"{folder}/second.cpio", command, put)
        with open(f"{folder}/initrd", "wb") as both:
            for part in (initramfs, f"{folder}/second.cpio"):
                with open(part, "rb") as source:
                    shutil.copyfileobj(source, both, 1 << 20)
                both.write(b"\0" * (-both.tell() % 4))  # archives start at multiples of four
        listeners = {}
        for name in _PORTS:
            listeners[name] = socket.socket(socket.AF_UNIX)
            listeners[name].bind(f"{folder}/{name}")
            listeners[name].listen(1)
        with open(self.console, "wb") as log:
            self._process = subprocess.Popen(
                self._arguments(kernel, folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_die_with_parent,
            )  # fmt: skip
        for name, listener in listeners.items():
            listener.settimeout(30)
            try:
                self._ports[name], _ = listener.accept()
            except TimeoutError:
                raise SystemExit(f"vm: qemu does not start\n{self.last_words()}") from None
            listener.close()
        os.unlink(f"{folder}/second.cpio")

    def _arguments(self, kernel, folder):
        memory, processors = self._size
        ports = [
            word
            for name in _PORTS
            for word in ("-chardev", f"socket,id={name},path={folder}/{name}", "-device",
                         f"virtserialport,chardev={name},name=jitwg.{name}")
        ]  # fmt: skip
        # Emulated, wide vectors are slower than none, and code that lies elsewhere in each process is translated anew.
        accelerator, processor, more = ("kvm", "host", "") if self._accelerator == "kvm" else ("tcg,thread=multi", "Nehalem", "norandmaps ")
        append = (
            "console=ttyS0 quiet panic=-1 audit=1 mitigations=off random.trust_cpu=on net.ifnames=0 rdinit=/init "
            f"{more}systemd.default_timeout_start_sec=900"  # the machine that emulates this one may be busy
        )
        return [
            _QEMU, *_BARE, "-accel", accelerator, "-cpu", processor,
            "-m", str(memory), "-smp", str(processors), "-serial", "stdio", "-device", "virtio-rng-pci",
            "-kernel", str(kernel), "-initrd", f"{folder}/initrd", "-append", append,
            "-device", "virtio-serial-pci", *ports,
        ]  # fmt: skip

    def last_words(self):
        return "".join(f"  console: {line}\n" for line in self.console.read_text(errors="replace").splitlines()[-30:])

    def run(self, timeout, out):
        """Streams until the command ends; its exit code. Files it left for us go to the folder `out`."""
        began = time.monotonic()
        files, status, up = bytearray(), b"", False
        poll = select.poll()
        by_fd = {}
        for name, port in self._ports.items():
            port.setblocking(False)
            poll.register(port, select.POLLIN)
            by_fd[port.fileno()] = name
        while True:
            left = began + timeout - time.monotonic()
            if left <= 0:
                say(f"timed out after {timeout} s\n{self.last_words()}")
                return TIMED_OUT
            events = poll.poll(min(left, 5) * 1000)
            ended = self._process.poll() is not None and not events
            for fd, _ in events:
                name = by_fd[fd]
                data = self._receive(name)
                if data is None:
                    poll.unregister(fd)
                    ended = ended or name == "status"
                elif name == "output":
                    self._print(data)
                elif name == "files":
                    files += data
                else:
                    status += data
            if not up and status.startswith(b"up ") and b"\n" in status:
                up = True
                os.unlink(f"{self._folder}/initrd")
                say(f"up after {time.monotonic() - began:.0f} s ({status.split()[1].decode()})")
            if b"exit " in status and status.endswith(b"\n"):
                # What was written before the exit code is in our sockets by now.
                self._print(self._drain("output"))
                files += self._drain("files")
                _unpack(files, out)
                code = int(status.rsplit(b"exit ", 1)[1])
                say(f"exit code {code} after {time.monotonic() - began:.0f} s")
                return code
            if ended:
                raise SystemExit(f"vm: the machine died\n{self.last_words()}")

    def _receive(self, name):
        """None: closed."""
        try:
            return self._ports[name].recv(1 << 16) or None
        except BlockingIOError:
            return b""
        except ConnectionError:
            return None

    def _drain(self, name):
        everything = b""
        while data := self._receive(name):
            everything += data
        return everything

    @staticmethod
    def _print(data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _unpack(files, out):
    if not out or not files:
        return
    os.makedirs(out, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(bytes(files))) as tar:
        for member in tar:
            if member.isfile() and "/" not in member.name.removeprefix("./"):
                data = tar.extractfile(member).read()
                (Path(out) / member.name.removeprefix("./")).write_bytes(data)
