"""A host's root directory: the machine's /usr, read-only, and everything else its own.

Built on a tmpfs in the host's private mount namespace, so that it goes away with the last
process of the host, whatever happens to the lab's programs.
"""

import os
import stat
import subprocess

from . import kernel, world

_FOLDERS = {
    "boot": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755,
    "opt": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o555,
    "tmp": 0o1777, "usr": 0o755, "run/lock": 0o1777, "run/sshd": 0o755, "run/user": 0o755,
    "run/systemd/journal": 0o755, "run/lab": 0o711, "run/jitwg": 0o755, "run/wireguard": 0o755,
    "var/cache": 0o755, "var/lib/jitwg": 0o755, "var/lib/systemd/catalog": 0o755,
    "var/log": 0o755, "var/mail": 0o1777, "var/spool": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
_LINKS = {"var/run": "/run", "var/lock": "/run/lock"}
_USR_LOCAL = ("bin", "sbin", "share", "lib/jitwg/bin", "lib/lab", "lib/systemd/catalog")
_DEVICES = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
    "tty": (5, 0), "net/tun": (10, 200),
}  # fmt: skip
_DEV_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx", "log": "/run/systemd/journal/dev-log",
}  # fmt: skip


def _make_folder(path, mode=0o755):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)


def _mount_etc(root):
    """The machine's /etc as it is, with this host's changes on top."""
    scratch = f"{root}/mnt"
    kernel.mount("tmpfs", scratch, "tmpfs", 0, "mode=0755")
    for folder in ("upper", "work"):
        os.mkdir(f"{scratch}/{folder}")
    options = f"lowerdir=/etc,upperdir={scratch}/upper,workdir={scratch}/work"
    try:
        kernel.mount("overlay", f"{root}/etc", "overlay", 0, options)
    except OSError:  # no overlayfs here: a copy does, only slower
        subprocess.run(["cp", "-a", "/etc/.", f"{root}/etc"], check=True)
    kernel.detach(scratch)


def _mount_usr(root, binaries):
    kernel.bind("/usr", f"{root}/usr", read_only=True)
    kernel.mount("tmpfs", f"{root}/usr/local", "tmpfs", 0, "mode=0755")
    for folder in _USR_LOCAL:
        _make_folder(f"{root}/usr/local/{folder}")
    kernel.bind(binaries, f"{root}{world.BIN_DIR}", read_only=True)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):  # a machine without merged /usr
            os.mkdir(f"{root}/{name}")
            kernel.bind(f"/{name}", f"{root}/{name}", read_only=True)


def _mount_dev(root):
    kernel.mount("tmpfs", f"{root}/dev", "tmpfs", kernel.MS_NOSUID, "mode=0755")
    for folder in ("net", "pts"):
        os.mkdir(f"{root}/dev/{folder}")
    _make_folder(f"{root}/dev/shm", 0o1777)
    for name, (major, minor) in _DEVICES.items():
        node = f"{root}/dev/{name}"
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        os.chmod(node, 0o666)
    options = "newinstance,gid=5,mode=620,ptmxmode=666"
    kernel.mount("devpts", f"{root}/dev/pts", "devpts", kernel.MS_NOSUID, options)
    for name, target in _DEV_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")


def _mount_kernel(root):
    hardened = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", f"{root}/proc", "proc", hardened)
    kernel.mount("sysfs", f"{root}/sys", "sysfs", hardened | kernel.MS_RDONLY)
    # The cgroup namespace makes this host's subtree the root of what is seen here.
    kernel.mount("cgroup2", f"{root}/sys/fs/cgroup", "cgroup2", hardened)


def build(root, binaries):
    """Called as the first process of the new namespaces. Afterwards `root` is /."""
    try:
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    except OSError:
        pass  # / is no mount point: a plain chroot. The next mount may show outside; `down` knows.
    kernel.mount("tmpfs", root, "tmpfs", 0, "mode=0755")
    kernel.mount(None, root, None, kernel.MS_PRIVATE)
    os.mkdir(f"{root}/run")
    kernel.mount("tmpfs", f"{root}/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
    for folder, mode in _FOLDERS.items():
        _make_folder(f"{root}/{folder}", mode)
    for link, target in _LINKS.items():
        os.symlink(target, f"{root}/{link}")
    _mount_etc(root)
    _mount_usr(root, binaries)
    _mount_dev(root)
    _mount_kernel(root)
    try:
        kernel.pivot_root(root)
    except OSError:  # started inside a chroot, where pivot_root is refused
        os.chroot(root)
        os.chdir("/")


def leave_cgroup_root():
    """So that the host's programs may make cgroups with processes in them, whatever is enabled."""
    os.mkdir("/sys/fs/cgroup/system")
    with open("/sys/fs/cgroup/system/cgroup.procs", "w") as procs:
        procs.write("0")
