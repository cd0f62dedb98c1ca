"""jitwgd and jitwg-signer besieged: whoever may reach a socket takes nothing from the others, and no revoke is lost."""

import resource
import signal
import socket
import sys
import pathlib
import subprocess
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from realm import Realm, binary, wait_for  # noqa: E402

pytestmark = pytest.mark.skipif(not (binary("jitwgd") and binary("jitwg-signer")),
                                reason="SKIPPED: jitwgd or jitwg-signer is not built")
CROWD = 1200  # more than the 1024 descriptors that a program is usually given


@pytest.fixture
def realm(tmp_path):
    made = Realm(tmp_path)
    made.start("jitwg-signer", "jitwgd")
    yield made
    made.close()


@pytest.fixture
def usual_realm(tmp_path):
    """Started with the usual soft limit of descriptors; this process has as many as it may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < CROWD + 200:
        pytest.skip(f"SKIPPED: this machine gives no program {CROWD + 200} descriptors")
    made = Realm(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    made.start("jitwg-signer", "jitwgd")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield made
    made.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def at_once(*calls):
    """Their answers; all start together."""
    answers, gate = [None] * len(calls), threading.Barrier(len(calls))

    def run(index):
        gate.wait()
        answers[index] = calls[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def codes(answers):
    return sorted({body["error"]["code"] if status != 200 else body["state"] for status, body in answers})


def connect(realm, first_bytes):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while True:
        try:
            peer.connect(str(realm.run / "broker.sock"))
            break
        except BlockingIOError:
            time.sleep(0.01)
    peer.setblocking(False)
    if first_bytes:
        peer.send(first_bytes)
    return peer


@pytest.mark.parametrize("said", [b"", b"POST /v1/statements HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "dribbling"])
def test_a_crowd_of_connections_blocks_nobody(usual_realm, said):
    realm = usual_realm
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    crowd = [connect(realm, said) for _ in range(CROWD)]
    try:
        start = time.monotonic()
        # Until the crowd is accepted the kernel's queue may be full (EAGAIN): jitwg asks again then, and so do we.
        wait_for(realm.is_ready, "an answer", 5)
        assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200
        assert time.monotonic() - start < 5
    finally:
        for peer in crowd:
            peer.close()


def test_the_same_bytes_from_everywhere_have_one_effect(realm):
    document, session, token = realm.request()
    assert codes(at_once(*[lambda: realm.post("/v1/statements", document)] * 30)) == ["pending"]
    others = [realm.request(session=session)[0] for _ in range(6)]
    assert codes(at_once(*[lambda one=one: realm.post("/v1/statements", one) for one in others])) == ["replay"]
    assert len(realm.get("/v1/sessions", realm.login("erin"))[1]) == 1


def test_two_who_decide_in_the_same_instant_decide_once(realm):
    for _ in range(5):
        document, session, token = realm.request()
        realm.post("/v1/statements", document)
        yes, no = realm.decision("carol", session, document), realm.decision("erin", session, document, "deny")
        answers = at_once(lambda: realm.post("/v1/statements", yes), lambda: realm.post("/v1/statements", no))
        shown = realm.get(f"/v1/sessions/{session}", token)[1]
        assert sorted(status for status, _ in answers) == [200, 409]
        assert len(shown["approvals"]) == 1
        assert (shown["approvals"][0]["decision"], shown["state"]) in (("approve", "approved"), ("deny", "denied"))


def test_activated_from_everywhere_it_is_one_session(realm):
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    answers = at_once(*[lambda: realm.post(f"/v1/sessions/{session}/activate", token=token)] * 20)
    assert {status for status, _ in answers} == {200}
    assert len({(body["certificate"], body["grant"]["body"]) for _, body in answers}) == 1
    assert (realm.dir / "signer/ledger").read_text().count('"issued"') == 1


@pytest.mark.parametrize("how", ["revoke", "return"])
def test_ended_while_it_opens_nothing_stays_open(realm, how):
    gw, jump = realm.node("gw1"), realm.node("jump1")
    for step in range(8):
        session, token = realm.approved()
        revoke = realm.statement("revoke", "carol", session=session, reason="x")

        def end():
            time.sleep(step * 0.004)  # the moment itself, moved through the opening
            return realm.post("/v1/statements", revoke) if how == "revoke" else realm.post(
                f"/v1/sessions/{session}/return", token=token)

        _, (status, _) = at_once(lambda: realm.post(f"/v1/sessions/{session}/activate", token=token), end)
        assert status == 200
        shown = wait_for(lambda: (s := realm.get(f"/v1/sessions/{session}", token)[1])["state"] in ("closed", "cancelled") and s,
                         "the end")
        assert shown["close_reason"] == {"closed": {"revoke": "revoked", "return": "returned"}[how], "cancelled": None}[shown["state"]]
        assert {gw.held.get(session, "closed"), jump.held.get(session, "closed")} == {"closed"}
    if how == "revoke":  # what was issued is known to be revoked where it was issued
        def is_settled():
            ledger = (realm.dir / "signer/ledger").read_text().splitlines()
            return sum('"issued"' in line for line in ledger) <= sum('"applied"' in line for line in ledger)
        wait_for(is_settled, "the signer to know of each revoke")


def test_the_signer_dies_in_the_middle_of_issuing(realm):
    realm.node("gw1"), realm.node("jump1")
    outcomes = set()
    for step in range(10):
        session, token = realm.approved()
        killer = threading.Timer(0.001 + step * 0.002, lambda: realm.end("jitwg-signer", signal.SIGKILL))
        killer.start()
        status, answer = realm.post(f"/v1/sessions/{session}/activate", token=token)
        killer.join()
        (realm.run / "signer.sock").unlink(missing_ok=True)
        realm.start("jitwg-signer")
        shown = wait_for(lambda: (s := realm.get(f"/v1/sessions/{session}", token)[1])["state"] in ("active", "closed") and s, "settled")
        assert (status, shown["state"], shown["close_reason"]) in ((200, "active", None), (503, "closed", "failed")), answer
        outcomes.add(status)
        realm.post(f"/v1/sessions/{session}/return", token=token)
    print(outcomes)


@pytest.fixture
def small_disks(tmp_path):
    """A realm whose state directories are file systems of 2 MiB: (realm, fill, free)."""
    realm, mounted = Realm(tmp_path), []
    for name in ("broker", "signer"):
        (realm.dir / name).mkdir(mode=0o700, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", realm.dir / name], capture_output=True, text=True)
        if done.returncode != 0:
            realm.close()
            pytest.skip(f"SKIPPED: needs to mount a tmpfs: {done.stderr.strip()}")
        mounted.append(realm.dir / name)
    (realm.dir / "signer/ledger").touch(0o600)  # the one that Realm made lies below the mount

    def fill(name):
        for file, piece in (("junk", 4096), ("rest", 1)):
            try:
                with open(realm.dir / name / file, "wb", buffering=0) as junk:
                    while True:
                        junk.write(b"x" * piece)
            except OSError:
                pass

    def free(name):
        for file in ("junk", "rest"):
            (realm.dir / name / file).unlink(missing_ok=True)

    try:
        realm.start("jitwg-signer", "jitwgd")
        yield realm, fill, free
    finally:  # also when they do not start: a mount left behind stays on the machine
        realm.close()
        for path in mounted:
            subprocess.run(["umount", "-l", path])


def test_a_full_disk_of_the_broker_is_said_and_got_over(small_disks):
    realm, fill, free = small_disks
    realm.node("gw1"), realm.node("jump1")
    live, live_token = realm.approved(duration=10)
    assert realm.post(f"/v1/sessions/{live}/activate", token=live_token)[0] == 200
    waiting, token = realm.approved()
    fill("broker")
    revoke = realm.statement("revoke", "carol", session=waiting, reason="x")
    for answer in (realm.post("/v1/statements", realm.request()[0]), realm.post("/v1/statements", revoke),
                   realm.post(f"/v1/sessions/{waiting}/activate", token=token)):
        assert answer[0] == 500 and answer[1]["error"]["code"] == "io" and "full" in answer[1]["error"]["message"]
    assert realm.get(f"/v1/sessions/{waiting}", token)[1]["state"] == "approved"  # what was not stored did not happen
    time.sleep(10)  # its end comes while nothing can be written
    free("broker")
    shown = wait_for(lambda: (s := realm.get(f"/v1/sessions/{live}", live_token)[1])["state"] == "closed" and s, "the end")
    assert shown["close_reason"] == "expired"
    assert realm.post("/v1/statements", revoke)[1]["state"] == "cancelled"  # the same bytes: they had no effect before


def test_a_full_disk_of_the_signer_issues_nothing(small_disks):
    realm, fill, free = small_disks
    realm.node("gw1"), realm.node("jump1")
    session, token = realm.approved()
    fill("signer")
    status, answer = realm.post(f"/v1/sessions/{session}/activate", token=token)
    assert (status, answer["error"]["code"]) == (503, "signer_unavailable")
    assert realm.processes["jitwg-signer"].wait(timeout=10) == 1
    assert "No space left" in realm.log("jitwg-signer")
    free("signer")
    (realm.run / "signer.sock").unlink()
    realm.start("jitwg-signer")
    session, token = realm.approved()
    assert realm.post(f"/v1/sessions/{session}/activate", token=token)[0] == 200
