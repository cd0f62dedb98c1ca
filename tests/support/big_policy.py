"""A policy of 1,000 targets and 10,000 people, as large as the limits of offline commands are meant for.

    python3 tests/support/big_policy.py [SEED] > policy.toml
"""

import base64
import functools
import hashlib
import random
import subprocess
import sys
import tempfile
from pathlib import Path

PEOPLE, TARGETS, GROUPS, RULES, DENIES, TESTS = 10_000, 1_000, 200, 300, 20, 50


def quoted(names):
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


@functools.cache
def ssh_key(word):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", word, "-f", f"{scratch}/key"], check=True)
        return " ".join(Path(scratch, "key.pub").read_text().split()[:2])


def wireguard_key(word):
    raw = bytearray(hashlib.sha256(word.encode()).digest())
    raw[31] &= 0x3F
    return base64.b64encode(raw).decode()


def big_policy(seed=1, people=PEOPLE, targets=TARGETS):
    pick = random.Random(seed)
    names = [f"person{i:05}" for i in range(people)]
    labels = [f"label{i:02}" for i in range(40)]
    groups = {f"group{i:03}": sorted(pick.sample(names, pick.choice([5, 30, 200, 500]))) for i in range(GROUPS)}
    oncall = {f"team{i:02}": sorted(pick.sample(names, 4)) for i in range(20)}
    lines = ['version = 1', 'realm = "big"', '[defaults]', 'pools = ["10.90.0.0/16"]', "[groups]"]
    lines += [f"{name} = {quoted(members)}" for name, members in groups.items()]
    lines += ["[oncall]", *[f"{name} = {quoted(members)}" for name, members in oncall.items()]]
    for i in range(4):
        lines += [f"[gateways.gw{i}]", f'endpoint = "192.0.2.{i + 1}:51820"', f'wireguard_key = "{wireguard_key(f"wg{i}")}"',
                  f'node_key = "{ssh_key(f"gw{i}")}"', f"[jump_hosts.jump{i}]", f'addresses = ["10.60.0.{i + 1}"]',
                  f'host_keys = ["{ssh_key(f"host{i}")}"]', f'node_key = "{ssh_key(f"jump{i}")}"']  # fmt: skip
    for i in range(targets):
        lines += [f"[targets.target{i:04}]", f'gateways = ["gw{i % 4}"]', f'jump_hosts = ["jump{i % 4}"]', 'login = "{person}"',
                  f'scope = ["tcp 10.{61 + i // 250}.{i % 250}.7:22,443,5432", "icmp 10.{61 + i // 250}.{i % 250}.0/24"]',
                  f"labels = {quoted(sorted(pick.sample(labels, 3)))}"]  # fmt: skip
    for i in range(RULES):
        who = [f"group:{pick.choice(list(groups))}" for _ in range(pick.randint(1, 3))]
        if i % 10 == 0:
            who.append(f"person:{pick.choice(names)}")
        where = [f"label:{pick.choice(labels)}"] if i % 3 else [f"target{pick.randrange(targets):04}" for _ in range(10)]
        lines += ["[[rule]]", f'name = "rule {i}"', f"who = {quoted(dict.fromkeys(who))}", f"targets = {quoted(dict.fromkeys(where))}"]
        if i % 7 == 0:
            lines += ["approvals = 0", *(['during = "incident"'] if i % 2 else [])]
        else:
            lines += [f"approvals = {1 + i % 2}", f'approvers = ["group:{pick.choice(list(groups))}"]']
        if i % 5 == 0:
            lines.append('hours = "Mon-Fri 07:00-19:00 Europe/Istanbul"')
    for i in range(DENIES):
        lines += ["[[deny]]", f'name = "deny {i}"', f'who = ["group:{pick.choice(list(groups))}"]', f'targets = ["label:{pick.choice(labels)}"]']
    lines += ["[rights]", 'incident_open = ["oncall:team00"]']
    for i in range(TESTS):
        lines += ["[[test]]", 'person = "nobody"', f'target = "target{i:04}"', 'at = "2026-03-02T10:00:00Z"', 'expect = "deny"']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(big_policy(int(sys.argv[1]) if len(sys.argv) > 1 else 1), end="")
