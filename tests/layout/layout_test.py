"""The house's own rules, read from the sources and the binaries: which part may know which, what each binary links."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("JITWG_BUILD", ROOT / "build" / "release"))

# directory -> what it may include, besides itself. Everything else points the wrong way.
PURE = {
    "broker/base": [],
    "ssh-ca/format": ["broker/base"],
    "policy": ["broker/base", "ssh-ca/format"],
    "broker/session": ["broker/base", "ssh-ca/format"],
}
OS = ["broker/base", "broker/os"]
NODE = [*OS, "broker/doctor", "broker/session", "broker/audit", "broker/node", "ssh-ca/format"]
EDGES = {
    "broker/os": ["broker/base"],
    "broker/doctor": OS,
    "broker/setup": [*OS, "ssh-ca/format", "broker/transport/broker_address.h"],
    "broker/transport": [*OS, "ssh-ca/format"],
    "broker/audit": OS,
    "broker/store": [*OS, "broker/session", "broker/audit", "ssh-ca/format", "policy"],
    "broker/node": [*NODE, "broker/transport"],
    "broker/netfilter": OS,
    "broker/gateway": [*NODE, "broker/setup", "broker/transport/broker_address.h", "broker/netfilter"],
    "broker/daemon": [*NODE, "broker/setup", "broker/store", "broker/transport", "policy", "ssh-ca/signer/frames.h"],
    "broker/cli": [*OS, "broker/doctor", "broker/setup", "broker/session", "broker/transport", "ssh-ca/format", "policy"],
    "ssh-ca/signer": [*OS, "broker/session", "broker/audit", "ssh-ca/format", "policy", "ssh-ca/admin/commands.h"],
    "ssh-ca/admin": [*OS, "broker/setup", "broker/doctor", "ssh-ca/format", "policy", "ssh-ca/signer"],
    "pam_jitwg/hostd": [*NODE, "broker/setup", "broker/transport/broker_address.h", "pam_jitwg"],
    "pam_jitwg": [],
}
ALLOWED = PURE | EDGES

# What a pure part must not touch, by header.
IMPURE = re.compile(r"^(unistd|fcntl|fstream|iostream|thread|mutex|sys/|poll|signal|csignal|ctime|cstdlib|netinet|net/)")

# third-party header prefix -> where it may appear.
THIRD_PARTY = {
    "boost/asio": ["broker/transport", "broker/node", "broker/daemon", "broker/gateway", "broker/store", "pam_jitwg/hostd",
                   "broker/cli/watch.cc"],  # the wait of `jitwg up`: broker, signals and the clock at once
    "boost/asio/ssl": ["broker/transport"],
    "boost/beast": ["broker/transport"],
    "boost/json": ["broker/base", "broker/node/agent.h"],
    "boost/program_options": ["broker/os/config.cc"],
    "toml++": ["policy/toml_reader.h"],
    "date/": ["policy/hours.cc", "broker/cli"],
    "SQLiteCpp": ["broker/store"],
    "sqlite3": ["broker/store"],
    "systemd/": ["broker/os/service.cc", "broker/audit"],
    "libnftnl": ["broker/netfilter"],
    "libmnl": ["broker/netfilter"],
    "nftables/": ["broker/netfilter"],
    "netlink/": ["broker/gateway"],
    "libnetfilter_conntrack": ["broker/gateway"],
    "security/": ["pam_jitwg"],
    "openssl/": ["broker/transport", "ssh-ca/format/openssl_verify.cc"],  # TLS; people's RSA and ECDSA keys
}

GLIBC = {"libc.so.6", "ld-linux-x86-64.so.2"}  # the loader too: for the thread-local storage of a static libstdc++
LIBC = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}
TLS = {"libssl.so.3", "libcrypto.so.3"}
COMMON = LIBC | {"libsodium.so.23", "libboost_json.so.1.81.0", "libboost_program_options.so.1.81.0"}
NEEDED = {
    "bin/jitwg": COMMON | TLS | {"libdate-tz.so.3"},
    "bin/jitwgd": COMMON | TLS | {"libdate-tz.so.3", "libsystemd.so.0", "libsqlite3.so.0"},
    "bin/jitwg-signer": COMMON | {"libcrypto.so.3", "libdate-tz.so.3", "libsystemd.so.0"},
    "bin/jitwg-gateway": COMMON | TLS | {"libsystemd.so.0", "libnftables.so.1", "libnftnl.so.11", "libmnl.so.0", "libnl-3.so.200", "libnl-genl-3.so.200",
                                   "libnl-route-3.so.200", "libnetfilter_conntrack.so.3"},
    "bin/jitwg-hostd": COMMON | TLS | {"libsystemd.so.0"},
    "bin/jitwg-principals": GLIBC,
    "lib/pam_jitwg.so": GLIBC | {"libpam.so.0"},
}  # fmt: skip


def sources():
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.h", "*.cc", "*.c"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [n for n in tracked.split() if not n.startswith("tests/") and (ROOT / n).exists()]


def part_of(name):
    matches = [part for part in ALLOWED if name.startswith(part + "/")]
    return max(matches, key=len) if matches else None


def includes(name):
    text = (ROOT / name).read_text()
    return re.findall(r'^\s*#\s*include\s+(["<])([^">]+)[">]', text, re.MULTILINE)


def may_include(part, header):
    return part_of(header) == part or header in ALLOWED[part] or part_of(header) in ALLOWED[part]


def test_every_source_lies_in_a_known_part():
    assert [name for name in sources() if part_of(name) is None] == []


def test_includes_point_one_way():
    wrong = [
        f"{name} includes {header}"
        for name in sources()
        for kind, header in includes(name)
        if kind == '"' and not may_include(part_of(name), header)
    ]
    assert wrong == []


def test_pure_parts_touch_nothing():
    wrong = [
        f"{name} includes <{header}>"
        for name in sources()
        if part_of(name) in PURE
        for kind, header in includes(name)
        if kind == "<" and IMPURE.match(header)
    ]
    assert wrong == ["broker/base/error.cc includes <cstdlib>"]  # abort() of a broken invariant


def test_third_party_headers_stay_in_their_adapters():
    wrong = [
        f"{name} includes <{header}>"
        for name in sources()
        for kind, header in includes(name)
        for prefix, places in THIRD_PARTY.items()
        if kind == "<" and header.startswith(prefix) and not name.startswith(tuple(places))
    ]
    assert wrong == []


@pytest.mark.parametrize("binary", NEEDED)
def test_binaries_link_only_what_they_are_for(binary):
    path = BUILD / binary
    assert path.exists(), f"{path} is not built"
    dynamic = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True)
    linked = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic.stdout))
    assert linked <= NEEDED[binary], f"unexpected: {sorted(linked - NEEDED[binary])}"


@pytest.mark.parametrize("binary", [name for name in NEEDED if name.startswith("bin/")])
def test_release_binaries_are_hardened(binary):
    if BUILD.name != "release":
        pytest.skip("only the release preset is hardened")
    headers = subprocess.run(["readelf", "-hldW", BUILD / binary], capture_output=True, text=True, check=True).stdout
    assert "DYN (Position-Independent Executable file)" in headers
    assert "GNU_RELRO" in headers
    assert re.search(r"FLAGS.*NOW", headers)
    assert re.search(r"GNU_STACK.* RW ", headers), "executable stack"


# Lines of ours that are neither blank nor only comment (contrib/adr/0004): a breach is a question, so the test asks it.
BUDGETS = {
    "the signer's own directory": (["ssh-ca/signer"], 1500),
    "all of ours linked into the signer": (
        ["ssh-ca/signer", "ssh-ca/format", "policy", "broker/base", "broker/os", "broker/session", "broker/audit"], 6800),
    "what root does by hand on the signer's host": (["ssh-ca/admin", "broker/setup"], 760),
    "module and principals": (["pam_jitwg"], 700),
    "gateway and netfilter": (["broker/gateway", "broker/netfilter"], 3600),
    "the gateway's self-test": (["broker/gateway"], 800),
    "doctors": (list(ALLOWED), 1800),
    "hostd": (["pam_jitwg/hostd"], 2600),
    "what setup and init write on a jump host": (["pam_jitwg/hostd"], 900),
    "the product": (list(ALLOWED), 30000),
}  # fmt: skip


# In a directory of the signer's, but not linked into it.
NOT_IN_SIGNER = {
    "policy/explain.cc", "policy/access_profile.cc", "policy/access_profile.h", "policy/policy_diff.cc", "policy/policy_diff.h",
    "policy/policy_warnings.cc", "broker/os/command.cc", "broker/os/command.h", "broker/session/state.cc",
    "broker/session/state.h", "broker/base/table.cc", "broker/base/table.h",
}  # fmt: skip


def test_what_only_a_persons_commands_need_is_not_in_the_signer():
    """Shown on the broker's side of the same archives: a name that no binary has would prove nothing."""
    def names(binary):
        return subprocess.run(["nm", "-C", BUILD / "bin" / binary], capture_output=True, text=True, check=True).stdout

    signer, cli = names("jitwg-signer"), names("jitwg")
    for name in ("jitwg::explain[abi:cxx11](", "jitwg::diff_policies(", "jitwg::check_policy("):
        assert name in cli and name not in signer, name


def is_counted(name, what):
    """Doctors (contrib/adr/0011), the self-test (0019) and setup (0025) have budgets of their own: they run apart from the rest."""
    if what == "the product":
        return True
    parts = {"doctors": ("/doctor",), "the gateway's self-test": ("/selftest",),
             "what setup and init write on a jump host": ("/hostd/setup", "/hostd/init", "/hostd/pam_edit")}  # fmt: skip
    apart = all(any(mark in name for mark in marks) == (what == part) for part, marks in parts.items())
    return apart and not ("signer" in what and name in NOT_IN_SIGNER)


def line_count(name):
    return len((ROOT / name).read_text().splitlines())


def code_lines(name):
    lines = (line.strip() for line in (ROOT / name).read_text().splitlines())
    return sum(1 for line in lines if line and not line.startswith("//"))


@pytest.mark.parametrize("what", BUDGETS)
def test_parts_stay_small_enough_to_read(what):
    parts, most = BUDGETS[what]
    lines = sum(code_lines(name) for name in sources() if part_of(name) in parts and is_counted(name, what))
    assert lines <= most, f"{what}: {lines} lines, the budget is {most}"


def test_no_file_is_two_files():
    assert {name: n for name in sources() if (n := line_count(name)) > 400} == {}
