"""The gateway's WireGuard interface: what it adopts, what it leaves alone, what it follows, what it refuses.

Over wireguard-go, or the kernel's own where it has one (gateway_test.py's World).
"""

import json
import os
import re
import time

import pytest

from gateway_test import GATEWAY, INSIDE, World, make_wireguard, session_id, wg_pair, world  # noqa: F401
from netns import wait_for


@pytest.fixture(autouse=True)
def events_in_the_log(world):  # noqa: F811
    """Where there is no journald, events go to stderr."""
    if os.path.exists("/run/systemd/journal"):
        world.gw.run("mount -t tmpfs none /run/systemd/journal")


def log(world):  # noqa: F811
    with open(world.path("log")) as f:
        return f.read()


def configure(world, line):  # noqa: F811
    with open(world.path("gateway.conf"), "a") as f:
        f.write(line + "\n")


def foreign_lines(world, keys):  # noqa: F811
    """What `wg` shows of these peers, but for traffic: key, preshared key, endpoint, allowed IPs, keepalive."""
    lines = (line.split("\t") for line in world.gw.run("wg show jitwg0 dump").stdout.splitlines()[1:])
    return {line[0]: (line[1], line[2], line[3], line[7]) for line in lines if line[0] in keys}


def test_an_interface_with_foreign_peers_is_adopted_and_they_live_on(world):  # noqa: F811
    make_wireguard(world.gw, "jitwg0")
    site, everywhere, bare = (wg_pair()[1] for _ in range(3))
    world.grant(1, [f"tcp {INSIDE}:5432"])
    world.grant(2, [f"tcp {INSIDE}:5432"])
    claimed = world.keys[2][1]  # somebody asks for a session with a foreign peer's key, which is no secret
    world._write("psk", world.gw.run("wg genpsk").stdout)
    world.gw.run(f"wg set jitwg0 private-key {world.path('wg.key')} listen-port 51820 fwmark 0x77 peer {site} preshared-key {world.path('psk')} endpoint 192.0.2.2:4711"
                 f" persistent-keepalive 25 allowed-ips 192.168.7.0/24,fd00:7::/64 peer {everywhere} allowed-ips 0.0.0.0/0,::/0"
                 f" peer {bare} peer {claimed} preshared-key {world.path('psk')} allowed-ips 192.168.8.0/24")  # fmt: skip
    foreign = {site, everywhere, bare, claimed}
    before = foreign_lines(world, foreign)
    assert len(before) == 4
    world.start()
    wait_for(lambda: world.elements(1), "session 1's elements")
    world.tunnel(1)
    assert world.reaches("tcp", INSIDE, 5432, 5)
    states = {row["public_key"]: row["state"] for row in world.status()[1]}
    assert states.pop(world.keys[1][1]) == "open" and states == dict.fromkeys(foreign, "foreign")
    assert world.elements(2) == [] and not os.path.exists(world.path(f"state/grants/{session_id(2)}.json")), "refused"
    assert world.gw.run("wg show jitwg0 fwmark").stdout.strip() == "0x77"
    assert world.gw.run("wg show jitwg0 listen-port").stdout.strip() == "51820"
    assert foreign_lines(world, foreign) == before
    world.stop()
    world.forget(1)
    world.start()
    wait_for(lambda: world.keys[1][1] not in world.gw.run("wg show jitwg0").stdout, "session 1 to go")
    assert foreign_lines(world, foreign) == before


@pytest.mark.parametrize("differs", ["key", "port"])
def test_an_interface_that_serves_others_otherwise_is_not_taken_over(world, differs):  # noqa: F811
    """Another key or port would cut its peers off."""
    make_wireguard(world.gw, "jitwg0")
    private, site = wg_pair()[0], wg_pair()[1]
    world._write("theirs.key", private)
    key, port = (world.path("theirs.key"), 51820) if differs == "key" else (world.path("wg.key"), 51999)
    world.gw.run(f"wg set jitwg0 private-key {key} listen-port {port} peer {site} allowed-ips 192.168.7.0/24")
    before = world.gw.run("wg showconf jitwg0").stdout
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0 and "jitwg0" in done.stderr and differs in done.stderr and "`interface`" in done.stderr, done.stderr
    assert world.gw.run("wg showconf jitwg0").stdout == before
    assert world.gw.run("nft list table inet jitwg", check=False).returncode != 0, "nor is its traffic dropped"
    # Without others on it, it is the gateway's own from another time.
    world.gw.run(f"wg set jitwg0 peer {site} remove peer {wg_pair()[1]} allowed-ips 10.90.0.77/32")
    world.grant(1, [f"tcp {INSIDE}:5432"])
    world.start()
    world.wait_open(1)
    assert world.gw.run("wg show jitwg0 public-key").stdout.strip() == world.gateway_key
    assert world.gw.run("wg show jitwg0 listen-port").stdout.strip() == "51820"


def test_a_person_who_roams_goes_on_and_is_seen_at_the_new_endpoint(world):  # noqa: F811
    world.grant(1, [f"tcp {INSIDE}:5432"])
    world.start()
    world.wait_open(1)
    world.tunnel(1)
    flow = world.talk("tcp", INSIDE, 5432)
    row = lambda: world.status()[1][0]  # noqa: E731
    before = row()
    world.person.run("ip addr del 192.0.2.2/24 dev wan0")
    world.person.run("ip addr add 192.0.2.77/24 dev wan0")
    world.person.run("wg set jw1 listen-port 47110")
    wait_for(lambda: row()["endpoint"] == "192.0.2.77:47110", "the new endpoint to be seen", 40)
    assert flow.runs()
    world.gw.run("nft add chain inet jitwg poke")  # makes the gateway look: an endpoint is no change
    time.sleep(0.5)
    after = row()
    assert after["state"] == "open" and after["rx"] > before["rx"], "the peer is the same, counting on"
    assert log(world).count("tunnel.opened") == 1


def test_the_first_packet_is_told_once(world):  # noqa: F811
    world.grant(1, [f"tcp {INSIDE}:5432"])
    world.grant(2, ["tcp 10.60.10.0/24:5432-5433"])
    told = lambda n: re.findall(rf"tunnel.first_packet: tunnel of alice to db-prod .*session={session_id(n)}", log(world))  # noqa: E731
    world.start()
    world.wait_open(1, 2)
    world.tunnel(1)
    assert not world.reaches("tcp", INSIDE, 5433, 3), "out of scope: a packet, but not let through"
    time.sleep(2.5)
    assert told(1) == []
    assert world.reaches("tcp", INSIDE, 5432)
    wait_for(lambda: told(1), "the first packet to be told", 6)
    world.person.run("ip link del jw1")
    world.restart()
    world.tunnel(2)
    assert world.reaches("tcp", INSIDE, 5433, 5)
    wait_for(lambda: told(2), "the other session's, by the next process", 6)
    world.restart()
    assert world.reaches("tcp", INSIDE, 5433, 5)
    time.sleep(2.5)
    assert len(told(1)) == 1 and len(told(2)) == 1


def link_mtu(world):  # noqa: F811
    return json.loads(world.gw.run("ip -json link show jitwg0").stdout)[0]["mtu"]


def test_the_mtu_is_the_configured_one_or_left_as_it_is(world):  # noqa: F811
    world.grant(1, [f"udp {INSIDE}:2001"])
    world.start()
    world.wait_open(1)
    assert link_mtu(world) == 1420
    world.gw.run("ip link set jitwg0 mtu 1400")
    looked = lambda: log(world).count("serving what is stored")  # noqa: E731
    before = looked()
    world.restart()
    wait_for(lambda: looked() > before, "the new process to have looked")
    assert link_mtu(world) == 1400, "unset: left alone"
    configure(world, "mtu = 1380")
    world.restart()
    wait_for(lambda: link_mtu(world) == 1380, "the configured one")
    world.wait_open(1)
    world.tunnel(1)
    # A full packet of the tunnel's MTU, and its answer of the same size, with nothing fragmented.
    world.person.run("ip link set jw1 mtu 1380")
    ask = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
s.setsockopt(socket.IPPROTO_IP, 10, 2); s.connect(('{INSIDE}', 2001)); s.send(b'x' * (1380 - 28)); print(len(s.recv(4096)))"""
    assert world.person.run(["python3", "-c", ask]).stdout.strip() == str(1380 - 28)
    # Made anew, it has it again.
    world.gw.run("ip link del jitwg0")
    world.gw.run("nft add chain inet jitwg poke")
    wait_for(lambda: world.gw.run("ip link show jitwg0", check=False).returncode == 0 and link_mtu(world) == 1380, "it to be back")


@pytest.mark.parametrize("value", ["1279", "0", "65536", "-1", "big", "1420.0"])
def test_no_mtu(world, value):  # noqa: F811
    configure(world, f"mtu = {value}")
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0 and f'mtu "{value}"' in done.stderr and "1280" in done.stderr, done.stderr


@pytest.mark.parametrize("what", ["readable", "another's", "symlink to another's", "a directory", "empty", "two keys", "short", "not base64", "a public key too long"])
def test_a_key_file_that_is_none(world, what):  # noqa: F811
    """Nothing is made and nothing is changed before the key is right."""
    path = world.path("wg.key")
    with open(path) as f:
        key = f.read()
    if what == "readable":
        os.chmod(path, 0o644)
    elif what == "another's":
        os.chown(path, 65534, 65534)
    elif what == "symlink to another's":
        os.rename(path, path + ".real")
        os.chown(path + ".real", 65534, 65534)
        os.symlink(path + ".real", path)
    elif what == "a directory":
        os.remove(path)
        os.mkdir(path)
    else:
        world._write("wg.key", {"empty": "", "two keys": key + key, "short": key[4:], "not base64": "!" * 44 + "\n",
                                "a public key too long": "A" * 2000}[what])  # fmt: skip
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    assert done.returncode != 0 and "wg.key" in done.stderr, done.stderr
    assert key.strip() not in done.stderr
    assert world.gw.run("ip link show jitwg0", check=False).returncode != 0, "nothing was made"


def test_a_listen_port_in_use_is_said(world):  # noqa: F811
    taken = world.gw.popen(["python3", "-c", "import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',51820));"
                            " print('ready',flush=True); time.sleep(60)"], stdout=-1)  # fmt: skip
    assert taken.stdout.readline() == "ready\n"
    done = world.gw.run([GATEWAY, "--config", world.path("gateway.conf")], check=False, timeout=20)
    taken.kill()
    taken.wait()
    assert done.returncode != 0, "it would listen nowhere"
    assert "51820" in done.stderr and "in use" in done.stderr, done.stderr


def test_somebody_who_meddles_while_sessions_open_gains_nothing_and_breaks_nothing(world):  # noqa: F811
    """Takes session 1's address again and again, also between the gateway's look and its change."""
    scope = [f"tcp {INSIDE}:5432"]
    world.grant(2, scope)
    world.start()
    world.wait_open(2)
    world.tunnel(2)
    flow = world.talk("tcp", INSIDE, 5432)
    thief, foreign = wg_pair()[1], wg_pair()[1]
    world.gw.run(f"wg set jitwg0 peer {foreign} allowed-ips 192.168.7.0/24")
    before = foreign_lines(world, {foreign})
    world.stop()
    world.grant(1, scope)
    meddler = world.gw.popen(["sh", "-c", f"while :; do wg set jitwg0 peer {thief} allowed-ips 10.90.0.1/32; done"])
    try:
        world.start()
        for n in range(10):
            world.gw.run(f"nft add chain inet jitwg poke{n}")  # each makes the gateway look and mend
            time.sleep(0.2)
    finally:
        world.gw.signal(meddler, 15)
        meddler.wait(10)
    world.gw.run("nft add chain inet jitwg poke")
    wait_for(lambda: thief not in world.gw.run("wg show jitwg0").stdout, "the thief to go")
    assert flow.runs(), "the other session never noticed"
    states = {row["public_key"]: row["state"] for row in world.status()[1]}
    assert states == {world.keys[1][1]: "open", world.keys[2][1]: "open", foreign: "foreign"}
    assert foreign_lines(world, {foreign}) == before
    world.person.run("ip link del jw2")
    world.tunnel(1)
    assert world.reaches("tcp", INSIDE, 5432, 5)
