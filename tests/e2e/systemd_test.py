"""What `cmake --install` puts where, and the units: what they start, and what they may not do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("JITWG_BUILD", ROOT / "build" / "release"))

pytestmark = pytest.mark.skipif(not shutil.which("cmake"), reason="installing needs cmake")

SHARED = {"lib/sysusers.d/jitwg.conf", "lib/tmpfiles.d/jitwg.conf"}
INSTALLED = {
    "broker": SHARED | {
        "sbin/jitwgd", "sbin/jitwg-signer", "share/man/man8/jitwgd.8", "share/man/man8/jitwg-signer.8",
        "share/man/man5/jitwg-policy.5", "share/doc/jitwg/systemd/jitwg-signer-ssh-keygen.conf",
        "lib/systemd/system/jitwgd.service", "lib/systemd/system/jitwgd.socket", "lib/systemd/system/jitwgd-tls.socket",
        "lib/systemd/system/jitwg-signer.service", "lib/systemd/system/jitwg-signer.socket",
    },
    "gateway": SHARED | {
        "sbin/jitwg-gateway", "share/man/man8/jitwg-gateway.8", "lib/systemd/system/jitwg-gateway.service",
        "lib/systemd/system/jitwg-gateway-selftest.service",
    },
    "jumphost": SHARED | {
        "sbin/jitwg-hostd", "share/man/man8/jitwg-hostd.8", "lib/jitwg/jitwg-principals", "lib/jitwg/pam_jitwg.so",
        "lib/systemd/system/jitwg-hostd.service", "lib/systemd/system/jitwg-hostd.socket",
        "lib/systemd/journald.conf.d/jitwg.conf", "share/doc/jitwg/sshd/jitwg.conf", "share/doc/jitwg/pam/sshd",
    },
    "person": {"bin/jitwg", "share/man/man1/jitwg.1", "share/bash-completion/completions/jitwg"},
}  # fmt: skip
USERS = {"jitwgd": "jitwg", "jitwg-signer": "jitwg-ca", "jitwg-gateway": "jitwg-gw", "jitwg-hostd": None}
MOST_EXPOSED = {"jitwgd": 3.0, "jitwg-signer": 3.0, "jitwg-gateway": 5.0, "jitwg-gateway-selftest": 3.5, "jitwg-hostd": 5.0}


def install(tree, *options):
    words = ["cmake", "--install", str(BUILD), *options]
    done = subprocess.run(words, env=dict(os.environ, DESTDIR=str(tree)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tree


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def units(tree):
    return sorted((tree / "usr/local/lib/systemd/system").iterdir())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return install(tmp_path_factory.mktemp("installed"))


@pytest.mark.parametrize("component", INSTALLED)
def test_each_kind_of_host_gets_what_it_needs_and_no_more(component, tmp_path):
    install(tmp_path, "--component", component)
    assert files_below(tmp_path / "usr/local") == INSTALLED[component]
    assert files_below(tmp_path) == {f"usr/local/{name}" for name in INSTALLED[component]}


def test_nothing_is_installed_that_belongs_to_no_kind_of_host(tree):
    assert files_below(tree / "usr/local") == set().union(*INSTALLED.values())


def test_what_the_texts_name_is_installed(tree):
    named = set()
    for path in [*units(tree), *(tree / "usr/local/share/doc/jitwg").rglob("*")]:
        if path.is_file():
            named |= set(re.findall(r"/usr/local/[\w/.-]+", path.read_text()))
    assert len(named) == 6, named  # four daemons, the module, the principals command
    assert {name for name in named if not (tree / name[1:]).exists()} == set()
    assert {name for name in named if not name.endswith(".so") and not os.access(tree / name[1:], os.X_OK)} == set()


def test_installed_elsewhere_the_texts_name_that_place(tmp_path):
    install(tmp_path, "--prefix", "/opt/jitwg")
    unit = (tmp_path / "opt/jitwg/lib/systemd/system/jitwgd.service").read_text()
    assert "\nExecStart=/opt/jitwg/sbin/jitwgd\n" in unit
    assert files_below(tmp_path / "opt/jitwg") == set().union(*INSTALLED.values())
    texts = [path for path in tmp_path.rglob("*") if path.suffix in (".service", ".socket", ".conf") or path.name == "sshd"]
    assert [path for path in texts if path.is_file() and "/usr/local/" in path.read_text()] == []


@pytest.mark.parametrize("daemon", MOST_EXPOSED)
def test_a_unit_leaves_its_daemon_little_to_do_harm_with(tree, daemon):
    unit = tree / f"usr/local/lib/systemd/system/{daemon}.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", str(unit)], capture_output=True, text=True
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+) ", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= MOST_EXPOSED[daemon], done.stdout


def test_units_have_no_mistakes(tree):
    """Only the programs are missing here: they are in the tree, not on this machine."""
    words = ["systemd-analyze", "verify", "--man=no", *map(str, units(tree))]
    said = subprocess.run(words, capture_output=True, text=True).stderr.splitlines()
    assert [line for line in said if not re.search(r"Command /usr/local/sbin/\S+ is not executable", line)] == []


def test_users_and_folders(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "root")
    (root / "etc").mkdir()
    for tool in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        done = subprocess.run([tool[0], f"--root={root}", *tool[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    passwd = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    made = {fields[0] for fields in passwd}
    assert made == {user for user in USERS.values() if user}
    assert {fields[6] for fields in passwd} == {"/usr/sbin/nologin"}
    assert all(0 < int(fields[2]) < 1000 for fields in passwd)
    for folder in ("etc/jitwg", "run/jitwg", "var/lib/jitwg"):
        status = (root / folder).stat()
        assert (status.st_mode & 0o7777, status.st_uid) == (0o755, 0), folder
    for daemon, user in USERS.items():
        unit = (root / f"usr/local/lib/systemd/system/{daemon}.service").read_text()
        assert re.findall(r"^User=(.*)$", unit, re.MULTILINE) == ([user] if user else [])
