"""The lab itself: what every other end-to-end test takes for granted."""

import glob
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from fake_build import make_fake_build
from labs import LAB, wait_for

HOSTS = ("person", "broker", "gw", "gw2", "jump", "jump2", "db", "other")
PEOPLE = ("alice", "bob", "carol", "dave", "erin")


def processes(lab, host, pattern):
    """Command lines on that host that contain the pattern."""
    listed = lab.exec(host, "ps", "-ww", "ax", "-o", "args=").stdout.splitlines()
    return [line for line in listed if pattern in line and not line.startswith("ps ")]


def greeting(lab, host, address, port):
    return lab.exec(host, "nc", "-N", "-w", "10", address, str(port), check=False, input="").stdout


def traces(lab):
    """What the machine holds of a lab: files, cgroups, mounts, processes."""
    found = glob.glob(f"/run/jitwg-lab/{lab.name}*")
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        found += glob.glob(f"{mount}/jitwg-lab-{lab.name}-*")
    with open("/proc/self/mounts") as mounts:
        found += [line for line in mounts if lab.name in line]
    for cmdline in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(cmdline) as file:
                words = file.read().split("\0")
        except OSError:
            continue
        if lab.name in words:
            found.append(" ".join(words))
    return found


def network_namespaces():
    listed = subprocess.run(["lsns", "-t", "net", "-n", "-o", "NS"], capture_output=True, text=True)
    return set(listed.stdout.split())


def read_until(terminal, wanted):
    seen = b""
    deadline = time.monotonic() + 30
    while wanted not in seen:
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], seen
        seen += os.read(terminal, 4096)


# ---- network ----


@pytest.mark.parametrize(
    "host, addresses",
    [
        ("person", {"192.0.2.20/24", "2001:db8:2::20/64"}),
        ("broker", {"192.0.2.5/24", "2001:db8:2::5/64", "10.60.0.2/16", "fd00:60::2/64"}),
        ("gw", {"192.0.2.10/24", "2001:db8:2::10/64", "10.60.0.1/16", "fd00:60::1/64"}),
        ("gw2", {"192.0.2.11/24", "2001:db8:2::11/64", "10.60.0.3/16", "fd00:60::3/64"}),
        ("jump", {"10.60.0.5/16", "fd00:60::5/64"}),
        ("jump2", {"10.60.0.6/16", "fd00:60::6/64"}),
        ("db", {"10.60.10.20/16", "fd00:60::10:20/64"}),
        ("other", {"10.60.10.30/16", "fd00:60::10:30/64"}),
    ],
)
def test_every_host_has_its_fixed_addresses(bare_lab, host, addresses):
    links = json.loads(bare_lab.exec(host, "ip", "-j", "address").stdout)
    found = {
        f"{a['local']}/{a['prefixlen']}"
        for link in links
        if link["ifname"] != "lo"
        for a in link["addr_info"]
        if a["scope"] != "link"
    }
    assert found == addresses


def test_person_reaches_broker_and_gateways_and_nothing_behind_them(bare_lab):
    for name in ("broker", "gw", "gw2"):
        bare_lab.exec("person", "ping", "-c1", "-W5", name, as_="alice")
    for name in ("jump", "jump2", "db", "other", "10.60.0.1", "fd00:60::1", "fd00:60::10:20"):
        failed = bare_lab.exec("person", "ping", "-c1", "-W5", name, check=False)
        assert failed.returncode != 0
        assert "Network is unreachable" in failed.stderr


def test_management_hosts_reach_one_another(bare_lab):
    assert greeting(bare_lab, "jump", "db", 5432) == "hello from db:5432\n"
    assert greeting(bare_lab, "gw", "db1.prod.example", 5433) == "hello from db:5433\n"
    assert greeting(bare_lab, "jump", "other", 8080) == "hello from other:8080\n"
    assert greeting(bare_lab, "db", "10.60.10.30", 5432) == "hello from other:5432\n"
    assert greeting(bare_lab, "gw2", "fd00:60::10:20", 5432) == "hello from db:5432\n"


def test_the_service_echoes_and_keeps_the_connection(bare_lab):
    with bare_lab.popen("jump", "nc", "db", "5432") as client:
        assert client.stdout.readline() == "hello from db:5432\n"
        for line in ("one\n", "two\n"):
            client.stdin.write(line)
            client.stdin.flush()
            assert client.stdout.readline() == line
        client.kill()
    for address in ("10.60.10.20", "fd00:60::10:20"):
        echoed = bare_lab.exec("jump", "nc", "-u", "-w", "1", address, "5433", input="over UDP\n").stdout
        assert echoed == "over UDP\n"


def test_only_gateways_forward_and_only_management_hosts_know_the_pools(bare_lab):
    for host in HOSTS:
        both = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")
        forward = bare_lab.exec(host, "cat", *both).stdout.split()
        assert forward == ["1" if host in ("gw", "gw2") else "0"] * 2
        for pool, gateway in (("10.90.0.0/16", "10.60.0.1"), ("10.91.0.0/16", "10.60.0.3"),
                              ("fd00:90::/64", "fd00:60::1"), ("fd00:91::/64", "fd00:60::3")):  # fmt: skip
            family = "-6" if ":" in pool else "-4"
            routes = bare_lab.exec(host, "ip", family, "route", "show", pool).stdout
            assert (f"via {gateway}" in routes) == (host in ("jump", "jump2", "db", "other"))


def reaches(lab, host, address):
    return lab.exec(host, "ping", "-c1", "-W1", address, check=False).returncode == 0


def test_a_host_is_cut_off_the_network_and_comes_back_with_its_addresses(fresh_bare_lab):
    lab = fresh_bare_lab
    with lab.popen("jump", "nc", "db", "5432") as client:
        assert client.stdout.readline() == "hello from db:5432\n"
        lab.cut("db")
        assert not reaches(lab, "jump", "10.60.10.20") and reaches(lab, "jump", "10.60.10.30")
        assert not reaches(lab, "db", "10.60.0.5")
        lab.cut("db")  # twice is once
        client.stdin.write("over the gap\n")  # lost on the way, until TCP sends it again
        client.stdin.flush()
        lab.mend("db")
        wait_for(lambda: reaches(lab, "jump", "10.60.10.20"), "db to be back")
        assert client.stdout.readline() == "over the gap\n"
        client.kill()
    assert "via 10.60.0.1" in lab.exec("db", "ip", "route", "show", "10.90.0.0/16").stdout
    unknown = lab.command("cut", "nowhere", check=False)
    assert unknown.returncode == 1 and "no host nowhere" in unknown.stderr


# ---- hosts ----


def test_a_host_sees_only_its_own_processes_files_and_cgroup(bare_lab):
    assert bare_lab.exec("db", "hostname").stdout == "db\n"
    assert bare_lab.exec("db", "cat", "/proc/self/cgroup").stdout.endswith("0::/system\n")
    assert len(processes(bare_lab, "db", "")) < 10
    bare_lab.exec("db", "sh", "-c", "echo x | tee /tmp/f /run/f /etc/f /var/log/f /home/f")
    for path in ("/tmp/f", "/run/f", "/etc/f", "/var/log/f", "/home/f"):
        assert bare_lab.exec("other", "test", "-e", path, check=False).returncode == 1
        assert not os.path.exists(path)
    ids = {bare_lab.exec(host, "cat", "/etc/machine-id").stdout for host in HOSTS}
    assert len(ids) == len(HOSTS)
    assert bare_lab.exec("db", "touch", "/usr/f", check=False).returncode == 1


def test_a_cgroup_leaf_can_be_made_and_killed_inside_a_host(bare_lab):
    script = (
        "leaf=/sys/fs/cgroup/leaf; mkdir $leaf; sleep 1000 & victim=$!;"
        "echo $victim > $leaf/cgroup.procs; echo 1 > $leaf/cgroup.kill;"
        "wait $victim; echo $?; rmdir $leaf"
    )
    assert bare_lab.exec("jump", "bash", "-c", script).stdout == "137\n"


def test_each_journal_holds_its_own_host_from_all_sources_and_drops_nothing(bare_lab):
    bare_lab.exec("jump", "logger", "-t", "syslogtest", "over /dev/log")
    entry = bare_lab.wait_journal("jump", "SYSLOG_IDENTIFIER=syslogtest")[0]
    assert entry["MESSAGE"] == "over /dev/log"
    assert entry["_HOSTNAME"] == "jump"
    assert bare_lab.journal("db", "SYSLOG_IDENTIFIER=syslogtest") == []
    bare_lab.exec("db", "logger", "--journald", input="MESSAGE=native\nJITWG_EVENT=lab.test\n")
    assert bare_lab.wait_journal("db", "JITWG_EVENT=lab.test")[0]["_UID"] == "0"
    many = 20_000
    bare_lab.exec("db", "sh", "-c", f"seq {many} | systemd-cat -t flood")
    wait_for(
        lambda: len(bare_lab.journal("db", "SYSLOG_IDENTIFIER=flood")) == many, "every line", 60
    )


# ---- people ----


def test_a_person_has_agent_key_and_configuration(bare_lab):
    for person in PEOPLE:
        script = "whoami; pwd; ssh-add -L; cat .ssh/id_ed25519.pub; cat .config/jitwg/config"
        done = bare_lab.exec("person", "sh", "-c", script, as_=person)
        who, where, in_agent, on_disk, *config = done.stdout.splitlines()
        assert (who, where) == (person, f"/home/{person}")
        assert in_agent == on_disk
        assert f"person = {person}" in config
        assert "broker = https://broker:7443" in config
        assert any(line.startswith("broker-pin = sha256//") for line in config)


def test_sudo_gives_a_person_wg_quick_and_nothing_else(bare_lab):
    refused = bare_lab.exec("person", "sudo", "-n", "id", as_="alice", check=False)
    assert refused.returncode == 1
    bash = bare_lab.exec("person", "sudo", "-n", "bash", "-c", "id", as_="alice", check=False)
    assert bash.returncode == 1


def test_a_person_brings_a_tunnel_up_and_logs_in_through_it(fresh_bare_lab):
    """By hand what jitwg does: wg-quick through sudo, a certificate of the CA, ssh."""
    lab = fresh_bare_lab
    private = lab.exec("person", "wg", "genkey").stdout
    public = lab.exec("person", "wg", "pubkey", input=private).stdout.strip()
    server = lab.exec("gw", "sh", "-c", "wg pubkey < /etc/jitwg/wg.key").stdout.strip()
    lab.exec(
        "gw", "sh", "-ec",
        "ip link show jitwg0 >/dev/null 2>&1 || ip link add jitwg0 type wireguard;"
        "wg set jitwg0 listen-port 51820 private-key /etc/jitwg/wg.key"
        f" peer {public} allowed-ips 10.90.0.7/32;"
        "ip link set jitwg0 up; ip route add 10.90.0.0/16 dev jitwg0",
    )  # fmt: skip
    config = (
        f"[Interface]\nAddress = 10.90.0.7/32\nPrivateKey = {private}\n"
        f"[Peer]\nPublicKey = {server}\nEndpoint = 192.0.2.10:51820\n"
        "AllowedIPs = 10.60.0.5/32, 10.60.10.20/32\n"
    )
    lab.exec("person", "sh", "-c", "umask 077; cat > jw-t.conf", as_="alice", input=config)
    # As root through sudo, and through wg-quick's own call of sudo.
    lab.exec("person", "sudo", "-n", "wg-quick", "up", "./jw-t.conf", as_="alice")
    lab.exec("person", "wg-quick", "down", "./jw-t.conf", as_="alice")
    lab.exec("person", "wg-quick", "up", "./jw-t.conf", as_="alice")
    assert greeting(lab, "person", "db", 5432) == "hello from db:5432\n"

    key = lab.exec("person", "cat", ".ssh/id_ed25519.pub", as_="alice").stdout
    script = (
        "cat > /tmp/k.pub; ssh-keygen -q -s /etc/jitwg/ca -I by-hand -n alice /tmp/k.pub;"
        "cat /tmp/k-cert.pub"
    )
    certificate = lab.exec("broker", "sh", "-c", script, input=key).stdout
    lab.exec("person", "tee", ".ssh/id_ed25519-cert.pub", as_="alice", input=certificate)
    ssh = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no")
    done = lab.exec("person", *ssh, "jump", "id -un; cat /proc/self/loginuid", as_="alice")
    assert done.stdout == "alice\n2001"
    denied = lab.exec("person", *ssh, "bob@jump", "id", as_="alice", check=False)
    assert denied.returncode == 255
    accepted = lab.wait_journal("jump", "SYSLOG_IDENTIFIER=sshd")
    assert any("ID by-hand" in entry["MESSAGE"] for entry in accepted)


# ---- exec ----


def test_exec_passes_stdin_stdout_stderr_and_exit_code(bare_lab):
    done = bare_lab.exec("db", "sh", "-c", "cat; echo e >&2; exit 7", input="hello", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello", "e\n")
    assert bare_lab.exec("db", "sh", "-c", "kill -9 $$", check=False).returncode == 137
    absent = bare_lab.exec("db", "no-such-command", check=False)
    assert absent.returncode == 127
    assert "cannot run no-such-command" in absent.stderr
    assert bare_lab.exec("db", "printf", "%s|", "--", "a b", "").stdout == "--|a b||"
    big = "x" * 1_000_000
    assert bare_lab.exec("db", "cat", input=big).stdout == big


def test_exec_names_what_it_does_not_know(bare_lab):
    for arguments, code, words in (
        (("exec", "nowhere", "--", "id"), 1, "no host nowhere"),
        (("exec", "--as", "zed", "db", "--", "id"), 1, "no user zed on db"),
        (("exec", "db", "--"), 2, "which command?"),
        (("start", "db", "nothing"), 1, "no program nothing"),
        (("--name", "../x", "status"), 1, "no lab name"),
        (("--name", "not-there", "status"), 1, "lab not-there is not up"),
    ):
        done = bare_lab.command(*arguments, check=False)
        assert done.returncode == code
        assert words in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_exec_reaches_the_command(bare_lab, number):
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 3' {name}; echo up; while :; do sleep 0.1; done"
    with bare_lab.popen("db", "bash", "-c", script) as command:
        assert command.stdout.readline() == "up\n"
        command.send_signal(number)
        assert command.wait(30) == 3
        assert command.stdout.read() == f"got {name}\n"


def test_killing_exec_kills_the_command_and_its_children_but_no_daemons(bare_lab):
    script = "setsid -f sleep 4001; sleep 4002 & echo up; exec sleep 4003"
    with bare_lab.popen("db", "bash", "-c", script) as command:
        assert command.stdout.readline() == "up\n"
        wait_for(lambda: len(processes(bare_lab, "db", "sleep 400")) == 3, "three sleepers")
        command.kill()
        command.wait(30)
    wait_for(lambda: processes(bare_lab, "db", "sleep 400") == ["sleep 4001"], "one sleeper")
    bare_lab.exec("db", "pkill", "sleep")


def test_exec_on_a_terminal_gives_the_command_one(bare_lab):
    ours, theirs = pty.openpty()
    argv = [LAB, "--name", bare_lab.name, "exec", "--as", "alice", "person", "--", "bash", "-i"]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs) as shell:
        os.close(theirs)
        os.write(ours, b"tty; sleep 1000\n")
        read_until(ours, b"/dev/pts/")
        wait_for(lambda: processes(bare_lab, "person", "sleep 1000"), "sleep in front")
        os.write(ours, b"\x03")  # Ctrl-C ends the sleep, not the shell
        wait_for(lambda: not processes(bare_lab, "person", "sleep 1000"), "interrupted")
        read_until(ours, b"^C")
        os.write(ours, b"echo $((40 + 2)); exit 5\n")
        read_until(ours, b"42")
        assert shell.wait(30) == 5
        os.close(ours)


def test_exec_is_quick(bare_lab):
    took = []
    for _ in range(10):
        began = time.monotonic()
        bare_lab.exec("db", "true")
        took.append(time.monotonic() - began)
    assert min(took) < 0.2, took


# ---- up, down, several labs ----


def test_two_labs_do_not_disturb_each_other(bare_lab, new_lab):
    second = new_lab()
    second.up("--without-daemons")
    second.stop("db", "echo")
    assert greeting(second, "jump", "db", 5432) == ""
    assert greeting(bare_lab, "jump", "db", 5432) == "hello from db:5432\n"
    second.exec("db", "logger", "-t", "second", "hello")
    assert bare_lab.journal("db", "SYSLOG_IDENTIFIER=second") == []
    second.down()
    assert greeting(bare_lab, "jump", "db", 5432) == "hello from db:5432\n"


def test_down_leaves_nothing(new_lab):
    before = network_namespaces()
    lab = new_lab()
    lab.up("--without-daemons")
    lab.exec("db", "sh", "-c", "setsid -f sleep 1000 >/dev/null 2>&1")
    lab.exec("jump", "mkdir", "-p", "/sys/fs/cgroup/a/b")
    assert traces(lab)
    lab.down()
    assert traces(lab) == []
    wait_for(lambda: network_namespaces() <= before, "no more network namespaces than before")


def test_up_twice_is_an_error_that_says_so(bare_lab):
    done = bare_lab.up("--without-daemons", check=False)
    assert done.returncode == 1
    assert "already up" in done.stderr
    assert bare_lab.exec("db", "hostname").stdout == "db\n"


def test_after_a_crash_up_asks_for_down_and_down_cleans(new_lab):
    lab = new_lab()
    lab.up("--without-daemons")
    for host in lab.status()["hosts"].values():
        os.kill(host["init"], signal.SIGKILL)
    dead = lab.exec("db", "id", check=False)
    assert dead.returncode == 1
    assert "dead" in dead.stderr
    refused = lab.up("--without-daemons", check=False)
    assert refused.returncode == 1
    assert "run `down` first" in refused.stderr
    assert not any(host["alive"] for host in lab.status()["hosts"].values())
    lab.down()
    assert traces(lab) == []


def test_an_up_that_is_told_to_end_leaves_nothing(new_lab):
    for number in (signal.SIGTERM, signal.SIGINT):
        for delay in (0.1, 0.2):
            lab = new_lab()
            argv = [LAB, "--name", lab.name, "up", "--without-daemons"]
            with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as up:
                time.sleep(delay)
                up.send_signal(number)
                code = up.wait(30)
                assert "Traceback" not in up.stderr.read()
            if code:  # it may have been too quick for the signal
                assert traces(lab) == []
                assert code in (130, -number)


def test_killing_a_half_made_up_leaves_something_down_can_clean(new_lab):
    for delay in (0.05, 0.15, 0.25):
        lab = new_lab()
        argv = [LAB, "--name", lab.name, "up", "--without-daemons"]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as up:
            time.sleep(delay)
            up.kill()
        lab.down()
        assert traces(lab) == []


# ---- programs ----


def test_up_without_the_programs_says_what_to_build(new_lab, tmp_path):
    (tmp_path / "bin").mkdir()
    lab = new_lab(build=str(tmp_path))
    done = lab.up(check=False)
    assert done.returncode == 1
    assert "jitwg-gateway" in done.stderr
    assert "build it first" in done.stderr
    assert traces(lab) == []


def test_programs_run_as_their_users_with_their_sockets(new_lab, tmp_path):
    lab = new_lab(build=make_fake_build(tmp_path))
    lab.up()
    for host, name, uid, capabilities, listen in (
        ("broker", "jitwg-signer", 851, "0", "signer"),
        ("broker", "jitwgd", 850, "0", "broker:tls"),
        ("gw", "jitwg-gateway", 852, "1000", ""),
        ("jump", "jitwg-hostd", 0, None, "hostd"),
    ):
        said = json.loads(lab.wait_journal(host, f"SYSLOG_IDENTIFIER={name}")[0]["MESSAGE"])
        assert said["name"] == name
        assert said["uid"] == uid
        assert sorted(said["listen"].split(":")) == sorted(listen.split(":"))  # systemd's order is its own
        assert said["state"] == [uid, 0o700]
        assert said["journal_stream"]
        if capabilities is not None:
            assert int(said["capabilities"], 16) == int(capabilities, 16)
            assert int(said["bounding"], 16) == int(capabilities, 16)


def ask_broker(lab, host):
    where = "-U /run/jitwg/broker.sock" if host == "broker" else "broker 7443"
    return lab.exec(host, "sh", "-c", f"nc -N -w 20 {where} </dev/null").stdout.strip()


def test_the_brokers_sockets_outlive_the_broker(new_lab, tmp_path):
    lab = new_lab(build=make_fake_build(tmp_path))
    lab.up()
    first = ask_broker(lab, "person")
    assert first == ask_broker(lab, "jump") == ask_broker(lab, "broker")
    lab.kill("broker", "jitwgd")
    assert not lab.status()["hosts"]["broker"]["programs"]["jitwgd"]["alive"]
    with lab.popen("person", "nc", "-w", "20", "broker", "7443") as waiting:
        lab.start("broker", "jitwgd")
        second = waiting.stdout.readline().strip()
        waiting.kill()
    assert second != first
    assert second == ask_broker(lab, "person") == ask_broker(lab, "broker")
    again = lab.command("start", "broker", "jitwgd", check=False)
    assert again.returncode == 1
    assert "already running" in again.stderr
    lab.stop("broker", "jitwgd")
    assert lab.status()["hosts"]["broker"]["programs"]["jitwgd"]["ended"] == "killed by SIGTERM"


def test_a_program_that_ends_while_starting_fails_up_with_its_last_words(new_lab, tmp_path):
    lab = new_lab(build=make_fake_build(tmp_path, broken="jitwg-hostd"))
    done = lab.up(check=False)
    assert done.returncode == 1
    assert "jump: jitwg-hostd ended while starting: exit code 9" in done.stderr
    assert "jitwg-hostd: cannot go on like this" in done.stderr
    assert traces(lab) == []
