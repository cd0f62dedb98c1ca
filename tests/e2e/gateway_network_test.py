"""The real gateway and the real broker on two hosts that meet only over TLS: the network between them goes away, either
side is killed, the disk fills, a file is damaged. What has ended must be gone on time, what is live must go on, and
afterwards both must tell the same story.

The target has no jump host, so one node is all there is to confirm.
"""

import datetime
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import netns  # noqa: E402
from certificates import pin_of  # noqa: E402
from realm import binary, wait_for  # noqa: E402
from tls_node import TlsRealm  # noqa: E402

if netns.why_not() or not binary("jitwg-gateway"):
    pytest.skip(f"SKIPPED: {netns.why_not() or 'jitwg-gateway is not built'}", allow_module_level=True)
for needed in ("wg", "nft", "openssl", *([] if netns.kernel_has_wireguard() else ["wireguard-go"])):
    if shutil.which(needed) is None:
        pytest.skip(f"SKIPPED: {needed} is not installed", allow_module_level=True)

BROKER, ELSEWHERE, GATEWAY = "192.0.2.5", "192.0.2.6", "192.0.2.10"


class NetworkRealm(TlsRealm):
    """The broker's programs on a host of their own; tests ask it over its Unix socket there."""

    def __init__(self, directory):
        self.broker, self.gw = netns.Host("broker"), netns.Host("gw")
        netns.connect(self.broker, [f"{BROKER}/24"], self.gw, [f"{GATEWAY}/24"], "wan0")
        super().__init__(directory, "0.0.0.0", 7443)
        (self.dir / "hosts").touch()
        self.gw.run(["mount", "--bind", str(self.dir / "hosts"), "/etc/hosts"])
        self.broker_is_at(BROKER)
        private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout
        self.gateway_wg = subprocess.run(["wg", "pubkey"], check=True, capture_output=True, text=True, input=private).stdout.strip()
        self.write_policy()
        (self.dir / "wg.key").write_text(private)
        (self.dir / "wg.key").chmod(0o600)
        self.state = self.dir / "gateway"
        (self.dir / "gateway.conf").write_text("".join(f"{line}\n" for line in (
            "broker = https://broker.test:7443", f"broker-pin = {pin_of(self.certificate)}", "node = gw1", f"node-key = {self.dir}/gw1",
            f"ca = {self.dir}/ca.pub", "realm = lab-1", "interface = jitwg0", f"wireguard-key = {self.dir}/wg.key",
            "pool = 10.90.0.0/16", f"state-dir = {self.state}", f"runtime-dir = {self.run}")))  # fmt: skip
        self.gateway = None
        self.gw.run([binary("jitwg-gateway"), "selftest", "--config", str(self.dir / "gateway.conf")])

    def broker_is_at(self, address):
        (self.dir / "hosts").write_text(f"{address} broker.test\n")

    def command(self, name, conf):
        return self.broker.on_its_network(super().command(name, conf))

    def start_gateway(self):
        with open(self.dir / "gateway.log", "a") as log:
            self.gateway = self.gw.popen([binary("jitwg-gateway"), "--config", str(self.dir / "gateway.conf")], stdout=log, stderr=log)
        wait_for(lambda: self.gateway.poll() is not None or self.tunnels() is not None, "the gateway")
        assert self.gateway.poll() is None, self.log("gateway")

    def kill_gateway(self):
        self.gw.signal(self.gateway, 9)
        self.gateway.wait(10)

    def cut(self):
        self.broker.run("ip link set wan0 down")

    def mend(self):
        self.broker.run("ip link set wan0 up")

    def tunnels(self):
        """The sessions of the peers that the kernel holds; None: no interface."""
        done = self.gw.run([binary("jitwg-gateway"), "status", "--json", "--config", str(self.dir / "gateway.conf")], check=False)
        rows = json.loads(done.stdout or "null")
        return {row["session"] for row in rows if row["rx"] is not None} if isinstance(rows, list) else None

    def open(self, seconds):
        """A live session: its ID, its token and when it ends."""
        document, session, token = self.request(target="net", duration=seconds)
        assert self.post("/v1/statements", document)[0] == 200
        status, answer = wait_for(lambda: (got := self.post(f"/v1/sessions/{session}/activate", token=token))[0] == 200 and got,
                                  "activation", 30)  # fmt: skip
        assert status == 200 and session in self.tunnels(), answer
        end = datetime.datetime.fromisoformat(answer["session"]["not_after"].replace("Z", "+00:00"))
        return session, token, end.timestamp()

    def give_back(self, session, token):
        assert self.post(f"/v1/sessions/{session}/return", token=token)[0] == 200
        wait_for(lambda: self.state_of(session, token)["state"] == "closed", "closed", 60)

    def state_of(self, session, token):
        return self.get(f"/v1/sessions/{session}", token)[1]

    def wait_gone(self, session, end):
        """Polls until the tunnel is gone, which must be on time."""
        wait_for(lambda: session not in self.tunnels(), "the tunnel to end", max(0, end - time.time()) + 15)
        assert end - 1 <= time.time() < end + 5, f"it ended {time.time() - end:+.1f} s from its time"

    def close(self):
        super().close()
        for host in (self.broker, self.gw):
            host.close()


@pytest.fixture
def realm(tmp_path):
    made = NetworkRealm(tmp_path)
    try:
        made.start("jitwg-signer", "jitwgd")
        made.start_gateway()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("how", ["cut", "killed"])
def test_sessions_end_on_time_without_the_broker_and_it_learns_how(realm, how):
    back, back_token, _ = realm.open(3600)
    realm.give_back(back, back_token)
    live, live_token, _ = realm.open(3600)
    first, first_token, first_end = realm.open(12)
    second, second_token, second_end = realm.open(25)
    if how == "cut":
        realm.cut()
    else:
        realm.end("jitwgd", 9)
    realm.wait_gone(first, first_end)
    assert realm.tunnels() == {live, second}
    if how == "cut":
        wait_for(lambda: realm.state_of(first, first_token)["state"] == "closing", "the broker to know the time, too")
        assert realm.state_of(first, first_token)["close_reason"] == "expired"

    # Meanwhile the gateway dies too and comes back: it serves exactly the live ones that it stored.
    realm.kill_gateway()
    realm.start_gateway()
    wait_for(lambda: realm.tunnels() == {live, second}, "exactly the live grants")
    realm.wait_gone(second, second_end)
    wait_for(lambda: "no word from the broker" in realm.log("gateway"), "the gateway to notice", 30)

    if how == "cut":
        realm.mend()
    else:
        realm.start("jitwgd")
    for session, token in ((first, first_token), (second, second_token)):
        wait_for(lambda: realm.state_of(session, token)["state"] == "closed", "closed with evidence", 40)
        told = realm.state_of(session, token)
        assert told["close_reason"] == "expired"
        assert {key: told["evidence"]["gw1"][key] for key in ("result", "peer", "elements", "flows")} == {
            "result": "verified", "peer": False, "elements": 0, "flows": 0}  # fmt: skip
    assert realm.state_of(live, live_token)["state"] == "active"
    assert realm.state_of(back, back_token)["close_reason"] == "returned"
    assert realm.tunnels() == {live}
    realm.give_back(live, live_token)
    assert realm.tunnels() == set()


def test_a_revocation_waits_for_the_network_and_then_closes(realm):
    session, token, _ = realm.open(3600)
    realm.cut()
    assert realm.post(f"/v1/sessions/{session}/return", token=token)[0] == 200
    told = realm.state_of(session, token)
    assert (told["state"], told["close_reason"]) == ("closing", "returned"), "visible until the gateway has shown it"
    assert realm.tunnels() == {session}
    realm.mend()
    wait_for(lambda: realm.state_of(session, token)["state"] == "closed", "closed", 40)
    assert realm.state_of(session, token)["close_reason"] == "returned" and realm.tunnels() == set()


def test_a_broker_that_has_moved_is_found_again(realm):
    session, token, _ = realm.open(3600)
    realm.broker.run(f"ip addr del {BROKER}/24 dev wan0")
    realm.broker.run(f"ip addr add {ELSEWHERE}/24 dev wan0")
    realm.broker_is_at(ELSEWHERE)
    realm.give_back(session, token)
    assert realm.tunnels() == set()


def test_a_grant_file_cut_in_half_costs_only_its_own_session(realm):
    kept, kept_token, _ = realm.open(3600)
    lost, lost_token, _ = realm.open(3600)
    realm.kill_gateway()
    realm.end("jitwgd")
    path = realm.state / "grants" / f"{lost}.json"
    text = path.read_bytes()
    path.write_bytes(text[: len(text) // 2])
    realm.start_gateway()
    wait_for(lambda: realm.tunnels() == {kept}, "the rest to be served")
    assert str(path) in realm.log("gateway") and "damaged" in realm.log("gateway")
    # With the broker back the grant comes again, whole.
    realm.start("jitwgd")
    wait_for(lambda: realm.tunnels() == {kept, lost}, "both", 40)
    assert realm.state_of(lost, lost_token)["state"] == "active" == realm.state_of(kept, kept_token)["state"]


def test_a_full_disk_opens_nothing_new_and_ends_what_is_over(realm):
    realm.kill_gateway()
    shutil.rmtree(realm.state)
    realm.state.mkdir(mode=0o700)
    realm.gw.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", str(realm.state)])
    realm.start_gateway()
    ending, ending_token, end = realm.open(12)
    given, given_token, _ = realm.open(3600)
    fill = realm.gw.run(["sh", "-c", f"cat /dev/zero > {realm.state}/fill"], check=False)
    assert "No space left" in fill.stderr

    document, refused, token = realm.request(target="net", duration=600)
    assert realm.post("/v1/statements", document)[0] == 200
    status, answer = realm.post(f"/v1/sessions/{refused}/activate", token=token)
    assert (status, answer["error"]["code"]) == (503, "not_confirmed") and "gw1" in answer["error"]["message"], answer
    assert "No space left" in realm.log("gateway")
    wait_for(lambda: realm.state_of(refused, token)["state"] == "closed", "nothing of it is left", 30)
    assert refused not in realm.tunnels()

    realm.wait_gone(ending, end)
    realm.give_back(given, given_token)
    assert realm.tunnels() == set()
    wait_for(lambda: realm.state_of(ending, ending_token)["state"] == "closed", "closed", 60)
    assert realm.state_of(ending, ending_token)["close_reason"] == "expired"

    realm.gw.run(["rm", f"{realm.state}/fill"])
    again, again_token, _ = realm.open(600)
    # What it could not write down while the disk was full, it has by now.
    wait_for(lambda: realm.gw.run(["test", "-e", f"{realm.state}/tombstones/{given}.json"], check=False).returncode == 0,
             "the tombstone", 60)  # fmt: skip
    realm.kill_gateway()
    realm.start_gateway()
    wait_for(lambda: realm.tunnels() == {again}, "exactly the live one")
