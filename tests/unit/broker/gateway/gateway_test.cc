#include "broker/gateway/gateway.h"

#include <gtest/gtest.h>

#include "broker/base/json.h"
#include "tests/support/fake_event_sink.h"
#include "tests/unit/broker/gateway/sample.h"

namespace jitwg::gateway {
namespace {

using namespace sample;
using node::Outcome;

class GatewayTest : public testing::Test {
 protected:
  using State = Outcome::State;

  std::vector<Outcome> converge(const std::vector<node::Wanted>& wanted) {
    return gateway_.converge(wanted, std::chrono::floor<Seconds>(instant_.wall));
  }
  Outcome one(const Grant& g, bool open) {
    return converge({{g, open, CloseReason::revoked}}).at(0);
  }
  void advance(Millis wall, Millis boot) {
    instant_.wall += wall;
    instant_.boot += boot;
    for (Element& element : kernel_.state.elements) element.remaining -= boot;
    std::erase_if(kernel_.state.elements,
                  [](const Element& e) { return e.remaining <= Millis(0); });
  }

  void use_peer(uint64_t rx, uint64_t tx, std::optional<WallTime> last_handshake) {
    auto& peer = kernel_.state.interface.peers.at(0);
    peer.rx = rx, peer.tx = tx, peer.last_handshake = last_handshake;
  }
  std::string usage_at_close() {
    const Outcome closed = one(grant(1), false);
    EXPECT_EQ(closed.state, State::closed);
    const json::object& e = closed.evidence.as_object();
    return render_json(e.at("last_handshake")) + "," + render_json(e.at("rx")) + "," + render_json(e.at("tx"));
  }

  FakeKernel kernel_;
  FakeEventSink events_;
  Instant instant_{kNow, BootTime(Millis(5'000'000))};
  Gateway gateway_{{"gw1", key(0), pools()}, kernel_, events_, [this] { return instant_; }};
};

TEST_F(GatewayTest, OpenThenClose) {
  EXPECT_EQ(one(grant(1), true).state, State::open);
  EXPECT_EQ(kernel_.state.interface.peers.size(), 1u);
  ASSERT_EQ(kernel_.state.elements.size(), 1u);
  EXPECT_EQ(kernel_.state.elements[0].comment, id(1).str());
  EXPECT_EQ(kernel_.state.elements[0].remaining, Millis(1800'000));

  kernel_.steps.clear();
  kernel_.flows = {*IpAddress::parse("10.90.0.1"), *IpAddress::parse("fd00:90::1")};
  const Outcome closed = one(grant(1), false);
  EXPECT_EQ(closed.state, State::closed);
  EXPECT_EQ(render_json(closed.evidence), R"({"peer":false,"elements":0,"flows":0,"last_handshake":null,"rx":0,"tx":0})");
  EXPECT_EQ(kernel_.steps, "ep");  // elements before the peer
  EXPECT_TRUE(kernel_.state.interface.peers.empty() && kernel_.state.elements.empty());
  EXPECT_TRUE(kernel_.flows.empty());
}

TEST_F(GatewayTest, CutTakesTheElementsOfOpenSessionsAtOnce) {
  converge({{grant(1), true, {}}, {grant(2), true, {}}, {grant(3), true, {}}});
  Grant robber = grant(4);  // refused: its elements would be session 3's
  robber.address = grant(3).address;
  std::erase_if(kernel_.state.elements,
                [](const Element& e) { return e.comment == id(1).str(); });  // expired just now
  gateway_.cut({{grant(1), false, {}}, {grant(2), false, {}}, {robber, false, {}}});
  ASSERT_EQ(kernel_.state.elements.size(), 1u);
  EXPECT_EQ(kernel_.state.elements[0].comment, id(3).str());
  EXPECT_EQ(kernel_.state.interface.peers.size(), 3u) << "the rest is the converge's, and the proof";
  const auto outcomes = converge({{grant(1), false, {}}, {grant(2), false, {}}, {grant(3), true, {}}});
  EXPECT_EQ(outcomes[0].state, State::closed);
  EXPECT_EQ(outcomes[1].state, State::closed);
  EXPECT_EQ(outcomes[2].state, State::open);
}

TEST_F(GatewayTest, AddOpensWithoutALook) {
  const auto add = [&](const Grant& g) {
    return gateway_.add({{g, true, {}}}, std::chrono::floor<Seconds>(instant_.wall));
  };
  EXPECT_FALSE(add(grant(1))) << "before the first look";
  one(grant(1), true);
  const auto outcomes = add(grant(2));
  ASSERT_TRUE(outcomes);
  EXPECT_EQ(outcomes->at(0).state, State::open);
  EXPECT_EQ(kernel_.state.interface.peers.size(), 2u);
  EXPECT_EQ(events_.events.size(), 2u);
  Grant taken = grant(3), same_key = grant(4), elsewhere = grant(5);
  taken.address = grant(2).address;
  same_key.wg_public_key = key(1).str();
  elsewhere.gateway.name = "gw2";
  for (const Grant& g : {taken, same_key, elsewhere}) {
    const size_t before = kernel_.state.interface.peers.size();
    EXPECT_FALSE(add(g));
    EXPECT_EQ(kernel_.state.interface.peers.size(), before);
    EXPECT_EQ(converge({{grant(1), true, {}}, {grant(2), true, {}}, {g, true, {}}})[2].state, State::refused);
  }
  kernel_.refuse_elements = true;
  EXPECT_FALSE(add(grant(6)));
  kernel_.refuse_elements = false;
  EXPECT_FALSE(add(grant(6))) << "not before a look";
}

TEST_F(GatewayTest, EvidenceTellsHowTheTunnelWasUsedAfterSeveralAttemptsToo) {
  one(grant(1), true);
  use_peer(1000, 2000, kNow + Seconds(60));
  kernel_.stuck_flows = {*IpAddress::parse("10.90.0.1")};
  EXPECT_EQ(one(grant(1), false).state, State::unfinished);
  EXPECT_TRUE(kernel_.state.interface.peers.empty());  // and its figures with it
  kernel_.stuck_flows.clear();
  EXPECT_EQ(usage_at_close(), R"(")" + render_time(kNow + Seconds(60)) + R"(",1000,2000)");
  EXPECT_NE(events_.events.back().text.find("received 1000, sent 2000 bytes"), std::string::npos);
}

TEST_F(GatewayTest, APeerThatVanishedLeavesTheFiguresLastSeen) {
  one(grant(1), true);
  use_peer(1000, 2000, kNow + Seconds(60));
  one(grant(1), true);
  kernel_.state.interface.peers.clear();
  one(grant(1), true);  // put in anew, counting from zero
  use_peer(30, 40, std::nullopt);
  one(grant(1), true);
  kernel_.state.interface.peers.clear();
  EXPECT_EQ(usage_at_close(), R"(")" + render_time(kNow + Seconds(60)) + R"(",1030,2040)");
}

TEST_F(GatewayTest, APeerPutInAnewBetweenTwoLooksCountsOn) {
  one(grant(1), true);
  use_peer(1000, 2000, kNow + Seconds(60));
  one(grant(1), true);
  use_peer(30, 40, kNow + Seconds(90));
  EXPECT_EQ(usage_at_close(), R"(")" + render_time(kNow + Seconds(90)) + R"(",1030,2040)");
}

TEST_F(GatewayTest, TheFirstPacketIsToldOnceAndOnlyLookedForUntilThen) {
  gateway_.look_for_first_packets();
  EXPECT_EQ(kernel_.listings, 0);
  converge({{grant(1), true, {}}, {grant(2), true, {}}});
  gateway_.look_for_first_packets();
  EXPECT_EQ(events_.count(EventName::tunnel_first_packet), 0u);
  kernel_.state.elements.at(1).packets = 3;
  kernel_.broken = true;
  gateway_.look_for_first_packets();
  kernel_.broken = false;
  for (int i = 0; i < 3; ++i) gateway_.look_for_first_packets();
  ASSERT_EQ(events_.count(EventName::tunnel_first_packet), 1u);
  const Event& event = events_.events.back();
  EXPECT_EQ(event.session->str(), kernel_.state.elements.at(1).comment);
  EXPECT_EQ(event.person, "alice");
  EXPECT_EQ(event.target, "db-prod");
  EXPECT_EQ(event.node, "gw1");
  kernel_.state.elements.at(1).packets = 0;  // put in anew
  kernel_.state.elements.at(0).packets = 1;
  converge({{grant(1), true, {}}, {grant(2), true, {}}});  // a full look sees them, too
  kernel_.state.elements.at(1).packets = 9;
  gateway_.look_for_first_packets();
  EXPECT_EQ(events_.count(EventName::tunnel_first_packet), 2u);
  const int so_far = kernel_.listings;
  gateway_.look_for_first_packets();
  EXPECT_EQ(kernel_.listings, so_far) << "nobody is waited for";
}

TEST_F(GatewayTest, AFirstPacketJustBeforeTheCloseIsTold) {
  one(grant(1), true);
  kernel_.state.elements.at(0).packets = 1;
  one(grant(1), false);
  std::vector<EventName> told;
  for (const Event& event : events_.events) told.push_back(event.name);
  EXPECT_EQ(told, (std::vector{EventName::tunnel_opened, EventName::tunnel_first_packet, EventName::tunnel_closed}));
  one(grant(2), true);
  one(grant(2), false);  // never used
  const int so_far = kernel_.listings;
  gateway_.look_for_first_packets();
  EXPECT_EQ(kernel_.listings, so_far);
}

TEST_F(GatewayTest, ARestartTellsNoFirstPacketTwiceAndMissesNone) {
  converge({{grant(1), true, {}}, {grant(2), true, {}}});
  kernel_.state.elements.at(0).packets = 1;
  const std::string used = kernel_.state.elements.at(0).comment;
  gateway_.look_for_first_packets();
  Gateway next({"gw1", key(0), pools()}, kernel_, events_, [this] { return instant_; });
  next.converge({{grant(1), true, {}}, {grant(2), true, {}}}, kNow);
  for (Element& element : kernel_.state.elements) ++element.packets;
  next.look_for_first_packets();
  ASSERT_EQ(events_.count(EventName::tunnel_first_packet), 2u);
  EXPECT_NE(events_.events.back().session->str(), used);
}

TEST_F(GatewayTest, AForeignPeersKeyIsRefusedAndThePeerOutlivesTheClose) {
  const wireguard::Peer foreign{key(1), prefixes({"192.168.7.0/24"}), {}, kNow, 500, 600};
  kernel_.state.interface.peers = {foreign};
  const Outcome refused = one(grant(1), true);
  EXPECT_EQ(refused.state, State::refused);
  EXPECT_EQ(refused.refusal, Code::address_taken);
  EXPECT_EQ(usage_at_close(), "null,null,null");  // not the foreign peer's
  EXPECT_EQ(kernel_.state.interface.peers, std::vector{foreign});
  EXPECT_TRUE(events_.events.empty() && kernel_.state.elements.empty());
}

TEST_F(GatewayTest, AnAddressThatSomebodyTakesBetweenLookAndChangeComesToTheSession) {
  const auto steal = [&] {
    for (auto& peer : kernel_.state.interface.peers) std::erase(peer.allowed_ips, grant(1).address[0]);
    std::erase_if(kernel_.state.interface.peers, [](const auto& peer) { return peer.key == key(70); });
    kernel_.state.interface.peers.push_back({key(70), {grant(1).address[0]}, {}, {}});
  };
  kernel_.before_adding = steal;
  EXPECT_EQ(one(grant(1), true).state, State::open);
  for (const auto& peer : kernel_.state.interface.peers)
    EXPECT_EQ(peer.allowed_ips, peer.key == key(1) ? grant(1).address : std::vector<Prefix>()) << peer.key.str();
  one(grant(1), false);
  kernel_.before_adding = nullptr;
  kernel_.after_adding = steal;  // as often as it is put right
  EXPECT_EQ(one(grant(2), true).state, State::open) << "nobody takes from this one";
  EXPECT_EQ(one(grant(1), true).state, State::unfinished) << "what is not read back is not open";
  kernel_.after_adding = nullptr;
  EXPECT_EQ(one(grant(1), true).state, State::open);
  EXPECT_EQ(kernel_.state.interface.peers.size(), 1u) << "and the thief is gone";
}

TEST_F(GatewayTest, OurPeerBentElsewhereStaysOurs) {
  one(grant(1), true);
  kernel_.state.interface.peers.at(0).allowed_ips = prefixes({"192.168.7.1"});
  EXPECT_EQ(one(grant(1), true).state, State::open);
  EXPECT_EQ(kernel_.state.interface.peers.at(0).allowed_ips, grant(1).address);
  kernel_.state.interface.peers.at(0).allowed_ips = prefixes({"192.168.7.1"});
  EXPECT_EQ(one(grant(1), false).state, State::closed);
  EXPECT_TRUE(kernel_.state.interface.peers.empty());
}

TEST_F(GatewayTest, FiguresThatNobodySawAreNull) {
  EXPECT_EQ(usage_at_close(), "null,null,null");  // closed in mid-close by the process before
  EXPECT_EQ(render_json(gateway_.evidence_of_absence(id(2))),
            R"({"peer":false,"elements":0,"flows":0,"last_handshake":null,"rx":null,"tx":null})");
}

TEST_F(GatewayTest, AFlowtableOnTheInterfaceStopsAllAndEndsNone) {
  EXPECT_EQ(one(grant(1), true).state, State::open);
  kernel_.flows = {*IpAddress::parse("10.90.0.1")};
  kernel_.state.bypass = "flowtable f of table t";
  EXPECT_EQ(one(grant(1), true).state, State::unfinished);
  EXPECT_TRUE(kernel_.state.interface.peers.empty() && kernel_.state.elements.empty() && kernel_.flows.empty());
  EXPECT_FALSE(gateway_.add({{grant(2), true, {}}}, kNow)) << "nor at once";
  EXPECT_EQ(one(grant(3), false).state, State::closed) << "an end is an end";
  kernel_.state.bypass.clear();
  EXPECT_EQ(one(grant(1), true).state, State::open);
  EXPECT_EQ(kernel_.state.interface.peers.size(), 1u);
  EXPECT_EQ(events_.count(EventName::tunnel_closed), 0u);
}

TEST_F(GatewayTest, ASessionThatHasNoRoomIsRefusedAlsoAtOnce) {
  Gateway small({"gw1", key(0), pools(), {1, 1}}, kernel_, events_, [this] { return instant_; });
  EXPECT_EQ(small.converge({{grant(1), true, {}}}, kNow).at(0).state, State::open);
  EXPECT_FALSE(small.add({{grant(2), true, {}}}, kNow)) << "the full look says why";
  const auto outcomes = small.converge({{grant(1), true, {}}, {grant(2), true, {}}}, kNow);
  EXPECT_EQ(outcomes.at(0).state, State::open);
  EXPECT_EQ(outcomes.at(1).state, State::refused);
  EXPECT_EQ(outcomes.at(1).refusal, Code::gateway_full);
}

TEST_F(GatewayTest, EventsAreToldOnce) {
  for (int i = 0; i < 3; ++i) one(grant(1), true);
  for (int i = 0; i < 3; ++i) one(grant(1), false);
  ASSERT_EQ(events_.events.size(), 2u);
  EXPECT_EQ(events_.events[0].name, EventName::tunnel_opened);
  EXPECT_EQ(events_.events[1].name, EventName::tunnel_closed);
  for (const Event& event : events_.events) {
    EXPECT_EQ(event.session, id(1));
    EXPECT_EQ(event.person, "alice");
    EXPECT_EQ(event.node, "gw1");
  }
}

TEST_F(GatewayTest, ARestartTellsNothingTwice) {
  one(grant(1), true);
  Gateway next({"gw1", key(0), pools()}, kernel_, events_, [this] { return instant_; });
  EXPECT_EQ(next.converge({{grant(1), true, {}}}, kNow).at(0).state, State::open);
  EXPECT_EQ(events_.count(EventName::tunnel_opened), 1u);
  EXPECT_EQ(next.converge({{grant(1), false, {}}}, kNow).at(0).state, State::closed);
  EXPECT_EQ(events_.count(EventName::tunnel_closed), 1u);
}

TEST_F(GatewayTest, TimeoutIsMillisecondsToTheEndAndNeverMoreThanTheWindow) {
  instant_.wall = kNow + Millis(250);
  one(grant(1), true);
  EXPECT_EQ(kernel_.state.elements.at(0).remaining, Millis(1799'750));
  instant_.wall = kNow - Seconds(20);  // this node's clock is behind the signer's
  one(grant(2), true);
  EXPECT_EQ(kernel_.state.elements.at(0).remaining, Millis(1800'000));
}

TEST_F(GatewayTest, WallClockSetBackDoesNotLengthen) {
  const node::Wanted want{grant(1), true, {}, instant_.boot + Seconds(1800)};
  converge({want});
  advance(Seconds(-86400), Seconds(1799));
  EXPECT_EQ(converge({want}).at(0).state, State::open);
  EXPECT_EQ(kernel_.state.elements.at(0).remaining, Millis(1000));
  advance(Seconds(1), Seconds(1));
  // Over by the boot clock: gone. Nothing is reported until it is no longer wanted.
  EXPECT_EQ(converge({want}).at(0).state, State::unfinished);
  EXPECT_TRUE(kernel_.state.elements.empty() && kernel_.state.interface.peers.empty());
}

TEST_F(GatewayTest, WallClockSetForwardShortens) {
  one(grant(1), true);
  advance(Seconds(600), Seconds(0));
  EXPECT_EQ(one(grant(1), true).state, State::open);
  EXPECT_EQ(kernel_.state.elements.at(0).remaining, Millis(1200'000));
}

TEST_F(GatewayTest, NothingIsClosedWithoutEvidence) {
  one(grant(1), true);
  kernel_.refuse_peers = true;
  EXPECT_EQ(one(grant(1), false).state, State::unfinished);
  EXPECT_TRUE(kernel_.state.elements.empty());  // cut all the same
  kernel_.refuse_peers = false;
  kernel_.stuck_flows = {*IpAddress::parse("10.90.0.1")};
  EXPECT_EQ(one(grant(1), false).state, State::unfinished);
  kernel_.stuck_flows.clear();
  EXPECT_EQ(one(grant(1), false).state, State::closed);

  one(grant(2), true);
  kernel_.broken = true;
  EXPECT_EQ(one(grant(2), false).state, State::unfinished);
  kernel_.broken = false;
  kernel_.refuse_elements = true;
  EXPECT_EQ(one(grant(2), false).state, State::unfinished);
  EXPECT_TRUE(kernel_.state.interface.peers.empty());  // the peer goes, whatever the sets do
  EXPECT_EQ(events_.count(EventName::tunnel_closed), 1u);
}

TEST_F(GatewayTest, NothingIsOpenUnlessReadBack) {
  kernel_.refuse_elements = true;
  EXPECT_EQ(one(grant(1), true).state, State::unfinished);
  EXPECT_EQ(events_.events.size(), 0u);
  kernel_.refuse_elements = false;
  EXPECT_EQ(one(grant(1), true).state, State::open);
}

TEST_F(GatewayTest, AnElementThatExpiresMeanwhileIsNoTrouble) {
  one(grant(1, {"tcp 10.60.10.20:1-3", "tcp 10.60.10.21:9"}), true);
  kernel_.drifts = 2;
  EXPECT_EQ(one(grant(1), false).state, State::closed);
}

TEST_F(GatewayTest, AbsenceIsReadBackToo) {
  EXPECT_TRUE(gateway_.evidence_of_absence(id(1)).is_null());  // nothing was ever looked at
  one(grant(1), true);
  EXPECT_TRUE(gateway_.evidence_of_absence(id(1)).is_null());
  EXPECT_FALSE(gateway_.evidence_of_absence(id(2)).is_null());
  converge({});
  const int before = kernel_.listings;
  for (int n = 1; n < 100; ++n) EXPECT_FALSE(gateway_.evidence_of_absence(id(n)).is_null());
  EXPECT_EQ(kernel_.listings, before + 1) << "one look for all";
  kernel_.stuck_flows = {*IpAddress::parse("10.90.0.9")};
  converge({});
  EXPECT_TRUE(gateway_.evidence_of_absence(id(1)).is_null());
  kernel_.stuck_flows.clear();
  converge({});
  kernel_.broken = true;
  EXPECT_TRUE(gateway_.evidence_of_absence(id(2)).is_null());
}

TEST_F(GatewayTest, RefusedGrantsAreKeptOut) {
  Grant outside = grant(2), thief = grant(3);
  outside.address = prefixes({"10.91.0.1"});
  thief.address = grant(1).address;
  thief.not_before += Seconds(1);
  Grant keyless = grant(4);
  keyless.wg_public_key = "no key";
  const auto outcomes =
      converge({{grant(1), true, {}}, {outside, true, {}}, {thief, true, {}}, {keyless, true, {}}});
  EXPECT_EQ(outcomes[0].state, State::open);
  EXPECT_EQ(outcomes[1].state, State::refused);
  EXPECT_EQ(outcomes[1].refusal, Code::bad_value);
  EXPECT_EQ(outcomes[2].state, State::refused);
  EXPECT_EQ(outcomes[2].refusal, Code::address_taken);
  EXPECT_EQ(outcomes[3].refusal, Code::bad_key);
  EXPECT_EQ(kernel_.state.interface.peers.size(), 1u);
  // Nor does closing the thief cut the flows of the session that has the address.
  kernel_.flows = {*IpAddress::parse("10.90.0.1")};
  const auto again = converge({{grant(1), true, {}}, {thief, false, {}}, {keyless, false, {}}});
  EXPECT_EQ(again[1].state, State::closed);
  EXPECT_EQ(again[2].state, State::closed);
  EXPECT_EQ(kernel_.flows.size(), 1u);
}

}  // namespace
}  // namespace jitwg::gateway
