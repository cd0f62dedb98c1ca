"""One access from request to closed, in the lab: every program, sshd, PAM, wg, nft and journald are the real ones."""

import json
import os
import re
import select
import time

import pytest

from labs import wait_for

DB, OTHER, JUMP = "10.60.10.20", "10.60.10.30", "10.60.0.5"


def request(lab, target="db-prod", duration="10m", person="alice"):
    code, session = lab.jitwg_json(person, "request", target, "--reason", "INC-4711 replica lag", "--for", duration)
    assert code == 0, session
    return session["session"]


def approved(lab, **more):
    session = request(lab, **more)
    done = lab.jitwg("carol", "approve", session, "--yes")
    assert done.returncode == 0, done.stderr
    return session


def up(lab, session, person="alice"):
    done = lab.jitwg(person, "up", session, "--detach")
    assert done.returncode == 0, done.stderr
    return session


def opened(lab, **more):
    """A live session with its interface up."""
    return up(lab, approved(lab, **more), more.get("person", "alice"))


def stage(lab, duration="10m", person="alice"):
    """A live session without an approval, by the lab's own rule."""
    return up(lab, request(lab, "web-stage", duration, person), person)


def show(lab, session, person="alice"):
    code, shown = lab.jitwg_json(person, "show", session)
    assert code == 0, shown
    return shown


def wait_state(lab, session, state, timeout=30, person="alice"):
    return wait_for(lambda: (s := show(lab, session, person))["state"] == state and s, f"{session} to be {state}", timeout)


def answers(lab, address, port, person="alice"):
    done = lab.exec("person", "sh", "-c", f"echo hi | timeout 4 nc -N -w 2 {address} {port} | grep -q .", as_=person, check=False)
    return done.returncode == 0


def ssh(lab, session, command, person="alice", **more):
    return lab.jitwg(person, "ssh", session, "--", command, **more)


class Flow:
    """An established TCP connection that is asked whether it still carries anything."""

    def __init__(self, lab, address=DB, port=5432, person="alice"):
        self.process = lab.popen("person", "nc", address, str(port), as_=person)

    def carries(self, word, seconds=3.0):
        end = time.monotonic() + seconds
        seen = b""
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], left)[0]:
                break
            got = os.read(self.process.stdout.fileno(), 4096)
            seen += got
            if word.encode() in seen:
                return True
            if not got:
                break
        return False

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def flows(lab):
    made = []

    def make(the_lab=lab, **more):
        made.append(Flow(the_lab, **more))
        return made[-1]

    yield make
    for flow in made:
        flow.end()


def test_request_approve_up_use_revoke(lab, flows):
    session = request(lab)
    assert show(lab, session)["state"] == "pending"
    assert session[-8:] in lab.jitwg("carol", "pending").stdout
    assert session[-8:] not in lab.jitwg("alice", "pending").stdout
    assert lab.jitwg("carol", "approve", session, "--yes").returncode == 0
    assert not answers(lab, DB, 5432)

    in_front = lab.popen("person", "jitwg", "up", session, as_="alice")
    wait_state(lab, session, "active")
    wait_for(lambda: answers(lab, DB, 5432), "the database port to answer")
    login = ssh(lab, session, "echo $JITWG_SESSION_ID on $(hostname) as $(id -un)")
    assert login.returncode == 0, login.stderr
    assert login.stdout.split() == [session, "on", "jump", "as", "alice"]
    assert not answers(lab, DB, 5433)
    assert not answers(lab, OTHER, 5432)

    flow = flows()
    shell = lab.popen("person", "jitwg", "ssh", session, "--", "echo ready; exec cat", as_="alice")
    assert shell.stdout.readline() == "ready\n"
    assert flow.carries("before")
    done = lab.jitwg("carol", "revoke", session, "--reason", "enough", "--yes")
    assert done.returncode == 0, done.stderr
    assert not flow.carries("after")
    assert shell.wait(30) != 0
    assert in_front.wait(30) == 4  # ended otherwise than by this person

    closed = wait_state(lab, session, "closed")
    assert closed["close_reason"] == "revoked"
    assert closed["evidence"]["gw1"] == closed["evidence"]["gw1"] | {"result": "verified", "peer": False, "elements": 0, "flows": 0}
    used = closed["evidence"]["gw1"]
    assert used["rx"] > 1000 and used["tx"] > 1000 and closed["not_before"] <= used["last_handshake"] <= used["at"]
    told = lab.jitwg("carol", "show", session).stdout
    assert re.search(r"evidence +gw1: nothing is left, verified .*; last handshake .*, [0-9.]+ kB from the person, [0-9.]+ kB to them", told), told
    assert closed["evidence"]["jump1"] == closed["evidence"]["jump1"] | {"result": "verified", "processes": 0}
    assert lab.jitwg("alice", "up", session).returncode == 4
    wanted = {
        "broker": ["request.submitted", "request.decided", "session.opening", "session.activated", "session.closing", "session.closed"],
        "gw": ["tunnel.opened", "tunnel.closed"],
    }
    for host, events in wanted.items():
        journal = [e["JITWG_EVENT"] for e in lab.journal(host, f"JITWG_SESSION_ID={session}")]
        assert [e for e in journal if e in events] == events
    jump = [e["JITWG_EVENT"] for e in lab.journal("jump", f"JITWG_SESSION_ID={session}")]
    assert jump.index("login.allowed") < jump.index("login.opened") < jump.index("login.closed")


def test_the_same_id_everywhere(lab):
    session = opened(lab)
    state = f"~alice/.local/state/jitwg/{session}"
    assert ssh(lab, session, "true").returncode == 0
    assert show(lab, session)["session"] == session
    certificate = lab.exec("person", "sh", "-c", f"ssh-keygen -L -f {state}/id-cert.pub").stdout
    assert f'Key ID: "jitwg1:{session}"' in certificate and f"jitwg:{session}" in certificate
    assert f'comment "{session}"' in lab.exec("gw", "nft", "list", "table", "inet", "jitwg").stdout
    peers = json.loads(lab.exec("gw", "jitwg-gateway", "status", "--json").stdout)
    peer = next(p for p in peers if p["session"] == session)
    shown = show(lab, session)
    assert peer["public_key"] == shown["wg_public_key"] and peer["address"] == shown["address"]
    assert peer["not_after"] == shown["not_after"]
    accepted = [e["MESSAGE"] for e in lab.journal("jump", "SYSLOG_IDENTIFIER=sshd") if "Accepted publickey for alice" in e["MESSAGE"]]
    assert any(f"ID jitwg1:{session} (serial {shown['serial']})" in line for line in accepted)
    environment = ssh(lab, session, "env").stdout
    assert f"JITWG_SESSION_ID={session}" in environment
    for host in ("broker", "gw", "jump"):
        for entry in lab.journal(host, f"JITWG_SESSION_ID={session}"):
            assert entry["MESSAGE"].endswith(f"session={session}"), entry
    assert lab.jitwg("alice", "return", session).returncode == 0


def test_two_sessions_over_one_jump_host(lab, flows):
    first, second = opened(lab), opened(lab)
    cgroups = set()
    for session in (first, second):
        said, *rest = ssh(lab, session, "echo $JITWG_SESSION_ID; cat /proc/self/cgroup").stdout.splitlines()
        assert said == session
        (cgroup,) = (line for line in rest if line.startswith("0::"))
        # hostd's own, or the scope that logind moved the login to.
        assert session in cgroup or re.fullmatch(r"0::/user\.slice/user-2001\.slice/session-c?\d+\.scope", cgroup), cgroup
        cgroups.add(cgroup)
    assert len(cgroups) == 2
    shells = {}
    for session in (first, second):
        shells[session] = lab.popen("person", "jitwg", "ssh", session, "--", "echo ready; exec cat", as_="alice")
        assert shells[session].stdout.readline() == "ready\n"
    assert lab.jitwg("alice", "return", first).returncode == 0
    assert shells[first].wait(30) != 0
    wait_state(lab, first, "closed")
    shells[second].stdin.write("still here\n")
    shells[second].stdin.flush()
    assert shells[second].stdout.readline() == "still here\n"
    assert answers(lab, DB, 5432)  # plain clients go on by the other interface
    assert ssh(lab, second, "true").returncode == 0
    assert lab.jitwg("alice", "return", second).returncode == 0
    shells[second].wait(30)


def test_without_any_daemon_it_ends_on_the_second(fresh_lab, flows):
    lab = fresh_lab
    session = stage(lab, "25s")
    not_after = show(lab, session)["not_after"]
    end = time.mktime(time.strptime(not_after, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    flow = flows(lab, address=OTHER, port=8080)
    assert flow.carries("alive")
    stolen = carry(lab, session, "other")
    for host, program in [("broker", "jitwgd"), ("broker", "jitwg-signer"), ("gw", "jitwg-gateway"), ("jump", "jitwg-hostd")]:
        lab.kill(host, program)
    last = None
    while time.time() < end + 4:
        sent = time.time()
        if flow.carries(f"w{sent:.3f}", 0.3):
            last = sent
    assert last is not None and abs(last - end) <= 1.0, f"last answer {last - end:+.2f} s from the end"
    # And a new login is refused, where no tunnel is needed too: sshd knows the end, and hostd's silence is no yes.
    assert login_from(lab, "other", stolen).returncode == 255
    refused = [e["MESSAGE"] for e in lab.journal("jump", "SYSLOG_IDENTIFIER=sshd") if "alice" in e["MESSAGE"]]
    assert not any("Accepted" in line for line in refused), refused


def login_from(lab, host, key_dir, user="alice"):
    """ssh to the jump host with a session's key and certificate, from another host of the management network."""
    return lab.exec(host, "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                    "-o", "ConnectTimeout=8", "-o", "IdentitiesOnly=yes", "-i", f"{key_dir}/id", f"{user}@{JUMP}", "true",
                    check=False)  # fmt: skip


def carry(lab, session, host):
    """A thief's copy of a session's login key and certificate on another host."""
    source = f"/home/alice/.local/state/jitwg/{session}"
    target = f"/tmp/stolen-{session[-8:]}"
    lab.exec(host, "mkdir", "-p", "-m", "700", target)
    for name in ("id", "id-cert.pub"):
        data = lab.exec("person", "cat", f"{source}/{name}").stdout
        lab.exec(host, "sh", "-c", f"umask 077; cat > {target}/{name}", input=data)
    return target


def test_certificates_that_open_nothing(lab):
    session = opened(lab)
    stolen = carry(lab, session, "other")
    assert login_from(lab, "other", stolen).returncode == 255  # another address than the tunnel's
    wait_for(lambda: any("source-address" in e["MESSAGE"] or "not permitted" in e["MESSAGE"] or "address" in e["MESSAGE"]
                         for e in lab.journal("jump", "SYSLOG_IDENTIFIER=sshd")), "sshd's refusal of the address")  # fmt: skip
    # Another user.
    state = f"/home/alice/.local/state/jitwg/{session}"
    through = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
               "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=8", "-b", show(lab, session)["address"][0].split("/")[0]]  # fmt: skip
    other_user = lab.exec("person", *through, "-i", f"{state}/id", f"bob@{JUMP}", "true", as_="alice", check=False)
    assert other_user.returncode == 255
    denied = lab.wait_journal("jump", "JITWG_EVENT=login.denied", f"JITWG_SESSION_ID={session}")
    assert {e["JITWG_CODE"] for e in denied} == {"wrong_user"}
    # Another CA's certificate with the very same names.
    lab.exec("person", "sh", "-c", f"""set -e; cd $(mktemp -d /tmp/forged-XXXX); ssh-keygen -q -t ed25519 -N '' -f ca
        ssh-keygen -q -t ed25519 -N '' -f id
        ssh-keygen -q -s ca -I jitwg1:{session} -n jitwg:{session} -V -1m:+5m id.pub; chown -R alice . ; mv $PWD /tmp/forged""")
    assert lab.exec("person", *through, "-i", "/tmp/forged/id", f"alice@{JUMP}", "true", as_="alice", check=False).returncode == 255
    # The ended session's own, kept by a thief who still reaches the jump host.
    again = stage(lab)
    kept = "/tmp/kept-ended"
    lab.exec("person", "sh", "-c", f"rm -rf {kept}; cp -r {state} {kept} && chown -R alice {kept}")
    assert lab.jitwg("alice", "return", session).returncode == 0
    wait_state(lab, session, "closed")
    ended = lab.exec("person", *through[:-1], show(lab, again)["address"][0].split("/")[0], "-i", f"{kept}/id", f"alice@{JUMP}", "true",
                     as_="alice", check=False)  # fmt: skip
    assert ended.returncode == 255
    denied = lab.wait_journal("jump", "JITWG_EVENT=login.denied", "JITWG_CODE=session_ended")
    assert session in {e.get("JITWG_SESSION_ID") for e in denied}
    lab.exec("person", "rm", "-rf", "/tmp/forged", kept)
    lab.jitwg("alice", "return", again)


def test_exit_codes_and_reasons_of_refusals(lab):
    def refused(person, *words):
        code, answer = lab.jitwg_json(person, *words)
        return code, answer["error"]["code"]

    ask = ["request", "db-prod", "--reason", "x"]
    assert refused("erin", *ask) == (3, "no_rule")
    assert refused("dave", *ask) == (3, "denied_by_rule")
    assert refused("alice", "request", "db-prof", "--reason", "x") == (3, "unknown_target")
    assert refused("alice", *ask, "--for", "91m") == (3, "duration_over_limit")
    session = request(lab)
    assert refused("alice", "activate", session) == (6, "still_pending")
    assert refused("alice", "approve", session, "--yes") == (3, "self_approval")
    assert refused("bob", "approve", session, "--yes")[0] in (2, 3)
    assert refused("erin", "revoke", session, "--reason", "x", "--yes")[0] in (2, 3)
    assert lab.jitwg("carol", "deny", session, "--reason", "not today", "--yes").returncode == 0
    denied = show(lab, session)
    assert denied["state"] == "denied" and denied["approvals"][0]["comment"] == "not today"
    assert lab.jitwg("alice", "up", session).returncode == 3
    assert lab.jitwg("alice", "show", "019b0000-0000-7000-8000-000000000001").returncode == 2


def test_the_policys_own_duration_when_none_is_named(fresh_lab):
    lab = fresh_lab
    change = "sed -i 's/^duration = \"60m\"/duration = \"7m\"/' /etc/jitwg/policy.toml && pkill -HUP -x jitwg-signer"
    lab.exec("broker", "sh", "-c", change)
    lab.stop("broker", "jitwgd")
    lab.start("broker", "jitwgd")
    code, asked = lab.jitwg_json("alice", "request", "db-prod", "--reason", "x")
    assert (code, asked["duration"]) == (0, 420)


def test_no_gateway_connected_leaves_it_approved(fresh_lab):
    lab = fresh_lab
    session = approved(lab)
    lab.stop("gw", "jitwg-gateway")
    wait_for(lambda: lab.journal("broker", "JITWG_EVENT=node.lost"), "the broker to notice")
    code, answer = lab.jitwg_json("alice", "activate", session)
    assert (code, answer["error"]["code"]) == (5, "no_gateway")
    assert show(lab, session)["state"] == "approved"
    lab.start("gw", "jitwg-gateway")
    wait_for(lambda: lab.journal("broker", "JITWG_EVENT=node.back"), "the gateway to be back")
    up(lab, session)
    assert ssh(lab, session, "true").returncode == 0


def test_gateway_that_dies_during_activation(fresh_lab):
    lab = fresh_lab
    session = approved(lab)
    # Stopped, not dead: its connection stays, so the broker counts on it; then it never answers.
    pid = lab.exec("gw", "pidof", "jitwg-gateway").stdout.strip()
    lab.exec("gw", "kill", "-STOP", pid)
    code, answer = lab.jitwg_json("alice", "activate", session, timeout=60)
    assert (code, answer["error"]["code"]) == (5, "not_confirmed")
    state = show(lab, session)
    assert (state["state"], state["close_reason"]) == ("closing", "failed")
    assert lab.exec("person", "test", "-e", f"/home/alice/.local/state/jitwg/{session}/id-cert.pub", check=False).returncode == 1
    lab.kill("gw", "jitwg-gateway")
    time.sleep(1)
    assert show(lab, session)["state"] == "closing"
    lab.start("gw", "jitwg-gateway")
    closed = wait_state(lab, session, "closed")
    assert closed["close_reason"] == "failed" and set(closed["evidence"]) == {"gw1", "jump1"}


def test_broker_killed_at_any_moment(fresh_lab):
    """kill -9 at a different point of each access: afterwards it is where it was, finishes opening, or closes."""
    lab = fresh_lab
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):
        session = request(lab, "web-stage", "60s")
        activation = lab.popen("person", "jitwg", "activate", session, as_="alice")
        time.sleep(delay)
        lab.kill("broker", "jitwgd")
        lab.start("broker", "jitwgd")
        activation.communicate(timeout=60)
        state = wait_for(lambda: (s := show(lab, session))["state"] in ("approved", "active", "closed") and s, "the dust to settle")
        if state["state"] == "closed":
            assert state["close_reason"] == "failed"
            continue
        # The nodes come back by themselves, each in its own time; until then: exit 5, still approved.
        wait_for(lambda: lab.jitwg("alice", "up", session, "--detach").returncode == 0, "the nodes to be back")
        assert ssh(lab, session, "echo $JITWG_SESSION_ID").stdout.strip() == session
        assert lab.jitwg("alice", "return", session).returncode == 0
        wait_state(lab, session, "closed")


def test_altered_and_foreign_statements_leave_nothing(lab):
    """Signed with stock ssh-keygen, posted with curl's bare hands: what a hostile client would try."""
    script = r"""
import base64, json, os, socket, ssl, subprocess, sys, tempfile
tls = ssl._create_unverified_context()  # this client means harm: whom it speaks to is not the point
def post(document):
    body = json.dumps(document).encode()
    with tls.wrap_socket(socket.create_connection(('broker', 7443))) as s:
        s.sendall(b'POST /v1/statements HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
        answer = b''
        while chunk := s.recv(65536): answer += chunk
    return json.loads(answer.split(b'\r\n\r\n', 1)[1])
def sign(text, namespace='jitwg', key=None):
    with tempfile.TemporaryDirectory() as d:
        open(d + '/m', 'w').write(text)
        subprocess.run(['ssh-keygen', '-q', '-Y', 'sign', '-f', key or os.path.expanduser('~/.ssh/id_ed25519'), '-n', namespace, d + '/m'],
                       check=True, capture_output=True)
        return {'body': base64.b64encode(text.encode()).decode(), 'signature': open(d + '/m.sig').read()}
request = json.loads(sys.stdin.read())
good = json.dumps(request)
def code(document): return post(document).get('error', {}).get('code', 'ok')
with tempfile.TemporaryDirectory() as d:
    subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', d + '/k'], check=True)
    stranger = sign(good, key=d + '/k')
altered = sign(good)
altered['body'] = base64.b64encode(good.replace('600', '601').encode()).decode()
print(json.dumps({
  'stranger': code(stranger), 'altered': code(altered), 'namespace': code(sign(good, 'file')),
  'realm': code(sign(json.dumps(request | {'realm': 'lab-none'}))), 'type': code(sign(json.dumps(request | {'type': 'wish'}))),
  'twice': code(sign(good.replace('{', '{"v":1,', 1))), 'json': code(sign(good + '}')), 'self': code(sign(json.dumps(request | {'by': 'bob'}))),
  'huge': code(sign(json.dumps(request | {'reason': 'x' * 20000}))), 'body': code({'body': 'A' * 90000, 'signature': ''}),
  'first': code(sign(good)), 'replayed': code(sign(json.dumps(request | {'reason': 'other'}))),
  'same key': code(sign(json.dumps(request | {'session': request['session'][:-1] + 'f', 'nonce': 'f' * 32}))),
}))
"""
    config = dict(line.split(" = ", 1) for line in lab.exec("person", "cat", "/home/alice/.config/jitwg/config").stdout.splitlines() if " = " in line)
    make_key = "rm -f /tmp/session-key*; ssh-keygen -q -t ed25519 -N '' -C '' -f /tmp/session-key; cat /tmp/session-key.pub"
    ssh_key = lab.exec("person", "sh", "-c", make_key).stdout
    wg_key = lab.exec("person", "sh", "-c", "wg genkey | wg pubkey").stdout.strip()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    statement = {
        "type": "request", "v": 1, "realm": config["realm"].strip(), "by": "alice", "at": now, "nonce": "0123456789abcdef" * 2,
        "session": f"{int(time.time() * 1000):012x}"[:8] + "-" + f"{int(time.time() * 1000):012x}"[8:] + "-7000-8000-000000000abc",
        "target": "db-prod", "reason": "by hand", "duration": 600, "wg_public_key": wg_key,
        "ssh_public_key": " ".join(ssh_key.split()[:2]), "token_sha256": "ab" * 32,
    }  # fmt: skip
    got = json.loads(lab.exec("person", "python3", "-c", script, as_="alice", input=json.dumps(statement)).stdout)
    assert got == {
        "stranger": "unknown_person", "altered": "bad_signature", "namespace": "wrong_namespace", "realm": "wrong_realm", "type": "unknown_type",
        "twice": "duplicate_key", "json": "bad_json", "self": "wrong_key", "huge": "too_large", "body": "too_large", "first": "ok",
        "replayed": "replay", "same key": "key_reused",
    }  # fmt: skip
