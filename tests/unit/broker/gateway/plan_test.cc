#include "broker/gateway/plan.h"

#include <gtest/gtest.h>

#include "tests/unit/broker/gateway/sample.h"

namespace jitwg::gateway {
namespace {

using namespace sample;

// The kernel as it is once exactly `tunnels` are open.
Observed kernel_with(const std::vector<Tunnel>& tunnels) {
  Observed observed;
  for (const Tunnel& tunnel : tunnels) {
    observed.interface.peers.push_back({tunnel.key, tunnel.addresses, {}, {}});
    observed.elements.insert(observed.elements.end(), tunnel.elements.begin(),
                             tunnel.elements.end());
  }
  return observed;
}

TEST(Plan, OpensOneSession) {
  const Tunnel tunnel = open_tunnel(grant(1));
  const Plan p = plan({tunnel}, {}, pools());
  ASSERT_EQ(p.add_peers.size(), 1u);
  EXPECT_EQ(p.add_peers[0].key, key(1));
  EXPECT_EQ(p.add_peers[0].allowed_ips, tunnel.addresses);
  EXPECT_EQ(p.add_elements, tunnel.elements);
  EXPECT_TRUE(p.remove_peers.empty() && p.remove_elements.empty());
}

TEST(Plan, NatIsForTheTargetAndNeverForAJumpHost) {
  Grant g = grant(1, {"tcp 10.60.0.0/16:22",
                      "tcp 10.60.0.5:22"});  // the target's own scope covers the jump host
  const size_t without = open_tunnel(g).elements.size();
  g.jump_hosts = {{"jump1", {*IpAddress::parse("10.60.0.5"), *IpAddress::parse("fd00:60::5")}, {}},
                  {"jump2", {*IpAddress::parse("10.60.0.5")}, {}}};  // two names of one machine
  EXPECT_EQ(open_tunnel(g).elements.size(), without) << "without nat nothing of it";
  g.nat = true;
  std::map<std::string, std::string> found;
  for (const Element& element : open_tunnel(g).elements) {
    found[element.set] = element.key;
    EXPECT_EQ(element.comment, id(1).str());
    EXPECT_EQ(element.remaining, Millis(1800'000));
  }
  using netfilter::Key;
  const IpAddress four = *IpAddress::parse("10.90.0.1"), six = *IpAddress::parse("fd00:90::1");
  EXPECT_EQ(found["nat4"], Key().address(four).bytes());
  EXPECT_EQ(found["nat6"], Key().address(six).bytes());
  EXPECT_EQ(
      found["direct4"],
      Key().address(four).address(*IpAddress::parse("10.60.0.5")).protocol(6).port(22).bytes());
  EXPECT_EQ(
      found["direct6"],
      Key().address(six).address(*IpAddress::parse("fd00:60::5")).protocol(6).port(22).bytes());
  EXPECT_EQ(open_tunnel(g).elements.size(), without + 4);
  EXPECT_TRUE(closed_tunnel(g).elements.empty());
}

TEST(Plan, NothingToDo) {
  const Tunnel tunnel = open_tunnel(grant(1));
  EXPECT_TRUE(plan({tunnel}, kernel_with({tunnel}), pools()).empty());
  EXPECT_TRUE(plan({closed_tunnel(grant(1))}, {}, pools()).empty());
  // A person who roams is no change.
  Observed roamed = kernel_with({tunnel});
  roamed.interface.peers[0].endpoint = *Endpoint::parse("198.51.100.7:40000");
  roamed.interface.peers[0].last_handshake = kNow;
  roamed.interface.peers[0].rx = 7;
  EXPECT_TRUE(plan({tunnel}, roamed, pools()).empty());
}

TEST(Plan, ClosesOneAndLeavesTheOther) {
  const Tunnel one = open_tunnel(grant(1)), two = open_tunnel(grant(2));
  const Plan p = plan({closed_tunnel(grant(1)), two}, kernel_with({one, two}), pools());
  EXPECT_EQ(p.remove_elements, one.elements);
  EXPECT_EQ(p.remove_peers, std::vector{key(1)});
  EXPECT_TRUE(p.add_peers.empty() && p.add_elements.empty() && p.replace_elements.empty());
}

TEST(Plan, PastTheChainsNobodyIsServed) {
  const Tunnel tunnel = open_tunnel(grant(1));
  Observed observed = kernel_with({tunnel});
  observed.bypass = "flowtable f of table t";
  const Plan p = plan({tunnel}, observed, pools());
  EXPECT_EQ(p.remove_elements, tunnel.elements);
  EXPECT_EQ(p.remove_peers, std::vector{key(1)});
  EXPECT_TRUE(p.add_peers.empty() && p.add_elements.empty() && p.refused.empty());
}

TEST(Plan, WhatNobodyNamesGoes) {
  const Plan p = plan({}, kernel_with({open_tunnel(grant(1))}), pools());
  EXPECT_EQ(p.remove_elements.size(), 1u);
  EXPECT_EQ(p.remove_peers.size(), 1u);
}

TEST(Plan, ForeignPeersAreLeftAlone) {
  Observed observed;
  observed.interface.peers = {
      {key(70), prefixes({"192.168.7.0/24"}), {}, {}},
      {key(71), prefixes({"0.0.0.0/0"}), {}, {}},  // covers the pool, is not inside it
      {key(72), {}, {}, {}}};
  EXPECT_TRUE(plan({}, observed, pools()).empty());
  // Inside the pool nobody else has addresses; and a peer that we have put in is ours wherever it is.
  observed.interface.peers = {{key(73), prefixes({"10.90.7.0/24"}), {}, {}},
                              {key(1), prefixes({"192.168.7.1"}), {}, {}}};
  Tunnel held = closed_tunnel(grant(1));
  held.held = true;
  EXPECT_EQ(plan({held}, observed, pools()).remove_peers.size(), 2u);
}

TEST(Plan, AForeignPeersKeyMakesNoSessionAndIsNotTouched) {
  for (const char* address : {"192.168.7.0/24", "0.0.0.0/0", "10.0.0.0/8"}) {
    Observed observed;
    observed.interface.peers = {{key(1), prefixes({address}), {}, {}}};
    const Plan p = plan({open_tunnel(grant(1)), open_tunnel(grant(2))}, observed, pools());
    ASSERT_TRUE(p.refused.contains(id(1))) << address;
    EXPECT_EQ(p.refused.at(id(1)).code, Code::address_taken);
    EXPECT_TRUE(p.remove_peers.empty()) << address;
    EXPECT_EQ(p.add_peers.size(), 1u);
    EXPECT_TRUE(plan({closed_tunnel(grant(1))}, observed, pools()).empty()) << address;
  }
  // Robbed of its address, our own is mended all the same.
  Observed robbed;
  robbed.interface.peers = {{key(1), {}, {}, {}}};
  EXPECT_EQ(plan({open_tunnel(grant(1))}, robbed, pools()).remove_peers, std::vector{key(1)});
}

TEST(Plan, MovedAddressIsMendedByRemoveAndAdd) {
  const Tunnel tunnel = open_tunnel(grant(1));
  Observed observed = kernel_with({tunnel});
  observed.interface.peers[0].allowed_ips = prefixes({"10.90.0.99"});
  const Plan p = plan({tunnel}, observed, pools());
  EXPECT_EQ(p.remove_peers, std::vector{key(1)});
  ASSERT_EQ(p.add_peers.size(), 1u);
  EXPECT_EQ(p.add_peers[0].allowed_ips, tunnel.addresses);
}

TEST(Plan, AddressHeldByAnotherSessionIsRefused) {
  Grant second = grant(2);
  second.address = grant(1).address;
  second.not_before = kNow - Seconds(10);  // older by its own word, but the kernel has the first
  const Tunnel one = open_tunnel(grant(1)), two = open_tunnel(second);
  const Plan p = plan({one, two}, kernel_with({one}), pools());
  ASSERT_TRUE(p.refused.contains(id(2)));
  EXPECT_EQ(p.refused.at(id(2)).code, Code::address_taken);
  EXPECT_TRUE(p.empty());
  // Neither in the kernel: the older one has it.
  EXPECT_TRUE(plan({one, two}, {}, pools()).refused.contains(id(1)));
}

TEST(Plan, KeyHeldByAnotherSessionIsRefusedEvenIfThatIsClosed) {
  Grant second = grant(2);
  second.wg_public_key = grant(1).wg_public_key;
  const Plan p = plan({closed_tunnel(grant(1)), open_tunnel(second)}, {}, pools());
  ASSERT_TRUE(p.refused.contains(id(2)));
  EXPECT_EQ(p.refused.at(id(2)).code, Code::address_taken);
  EXPECT_TRUE(p.empty());
}

TEST(Plan, AddressOfAClosedSessionMayBeGivenAgain) {
  Grant second = grant(2);
  second.address = grant(1).address;
  const Tunnel two = open_tunnel(second);
  const Plan p =
      plan({closed_tunnel(grant(1)), two}, kernel_with({open_tunnel(grant(1))}), pools());
  EXPECT_TRUE(p.refused.empty());
  EXPECT_EQ(p.remove_peers, std::vector{key(1)});
  EXPECT_EQ(p.add_peers.size(), 1u);
  // Same tuple, other session: taken away and given anew, never inherited.
  EXPECT_EQ(p.remove_elements.size(), 1u);
  EXPECT_EQ(p.remove_elements[0].comment, id(1).str());
}

TEST(Plan, EndTooLateIsShortenedInPlaceEndTooSoonIsKept) {
  const Tunnel tunnel = open_tunnel(grant(1));
  Observed observed = kernel_with({tunnel});
  observed.elements[0].remaining = tunnel.elements[0].remaining + Millis(501);
  Plan p = plan({tunnel}, observed, pools());
  EXPECT_EQ(p.replace_elements, tunnel.elements);
  EXPECT_TRUE(p.remove_elements.empty() && p.add_elements.empty() && p.remove_peers.empty());
  observed.elements[0].remaining = netfilter::kForever - Millis(1000);
  EXPECT_EQ(plan({tunnel}, observed, pools()).replace_elements.size(), 1u);
  observed.elements[0].remaining = Millis(10);
  EXPECT_TRUE(plan({tunnel}, observed, pools()).empty());
}

TEST(Plan, ThoseThatAreInStayAndTheNewestAreRefusedWhenASetIsFull) {
  std::vector<Tunnel> tunnels;
  for (int n = 1; n <= 4; ++n) {
    Grant g = grant(n, {"tcp 10.60.10.20:1", "tcp 10.60.10.20:2", "tcp 10.60.0.0/16:22"});
    g.not_before = kNow - Seconds(n);  // the higher, the older
    tunnels.push_back(open_tunnel(g));
  }
  const auto refused = [&](const Observed& observed, size_t exact, size_t ranges) {
    const Plan p = plan(tunnels, observed, pools(), {exact, ranges});
    for (const auto& [session, error] : p.refused) {
      EXPECT_EQ(error.code, Code::gateway_full);
      EXPECT_NE(error.message.find(exact < 8 ? "set scope4" : "set range4"), std::string::npos) << error.message;
    }
    EXPECT_EQ(p.add_peers.size() + p.refused.size() + observed.interface.peers.size(), 4u);
    std::set<SessionId> ids;
    for (const auto& entry : p.refused) ids.insert(entry.first);
    return ids;
  };
  EXPECT_EQ(refused({}, 8, 4), std::set<SessionId>{});
  EXPECT_EQ(refused({}, 7, 4), std::set{id(1)});
  EXPECT_EQ(refused({}, 8, 2), (std::set{id(1), id(2)}));
  EXPECT_EQ(refused(kernel_with({tunnels[0]}), 7, 4), std::set{id(2)}) << "1 is in already";
  // Who has no element in a full set finds room beside it.
  tunnels.push_back(open_tunnel(grant(5, {"icmp 10.60.10.20"})));
  EXPECT_TRUE(plan(tunnels, {}, pools(), {8, 0}).refused.contains(id(4)));
  EXPECT_FALSE(plan(tunnels, {}, pools(), {8, 0}).refused.contains(id(5)));
}

TEST(Tunnel, ElementsGoToTheirSets) {
  const Tunnel tunnel =
      open_tunnel(grant(1, {"tcp 10.60.10.20:5432", "udp [fd00::1]:53", "tcp 10.60.10.0/24:22",
                            "udp 10.60.10.20:1000-1016", "icmp 10.60.10.20", "icmp fd00::/64"}));
  std::multiset<std::string> sets;
  for (const Element& element : tunnel.elements) {
    sets.insert(element.set);
    EXPECT_EQ(element.key_end.empty(), element.set.find("range") == std::string::npos)
        << element.set;
    EXPECT_EQ(element.comment, id(1).str());
    EXPECT_EQ(element.remaining, Millis(1800'000));
  }
  // The inner address of the entry's family only: one element an entry.
  EXPECT_EQ(sets, (std::multiset<std::string>{"icmp4", "icmp_range6", "range4", "range4", "scope4",
                                              "scope6"}));
}

TEST(Tunnel, SmallRangesAreExactTuples) {
  const auto texts = [](const std::vector<std::string>& scope) {
    std::vector<std::string> each;
    for (const ScopeEntry& entry : expand(disjoint(*parse_scope(scope)))) each.push_back(render_scope({entry}).at(0));
    return each;
  };
  EXPECT_EQ(texts({"tcp 10.60.10.254/31:443-444"}),
            (std::vector<std::string>{"tcp 10.60.10.254:443", "tcp 10.60.10.255:443", "tcp 10.60.10.254:444",
                                      "tcp 10.60.10.255:444"}));
  EXPECT_EQ(texts({"udp [fd00::f0]:65520-65535"}).size(), 16u);
  EXPECT_EQ(texts({"udp [fd00::f0]:65520-65535"}).back(), "udp [fd00::f0]:65535");
  EXPECT_EQ(texts({"icmp 10.60.10.16/28"}).size(), 16u);
  EXPECT_EQ(texts({"icmp fd00::fff0/124"}).back(), "icmp fd00::ffff");
  for (const char* wide : {"tcp 10.60.10.20:1-17", "tcp 10.60.10.16/28:1-2", "icmp 10.60.10.0/27", "tcp [fd00::/64]:22",
                           "tcp 0.0.0.0/0:1-65535", "icmp ::/0"})
    EXPECT_EQ(texts({wide}).size(), 1u) << wide;
  // What a wider entry takes away from a small one is in it once.
  EXPECT_EQ(texts({"tcp 10.60.10.0/24:20-22", "tcp 10.60.10.4/30:22-23"}).size(), 1u + 4u);
}

TEST(Tunnel, ExpandingAddsLittleToTheLongestScopeAndCoversTheSame) {
  Scope scope;
  for (uint8_t i = 0; i < 128; ++i)
    scope.push_back({Protocol::tcp, *Prefix::parse("10.60." + std::to_string(i) + ".16/30"), 1, 4});
  const Scope expanded = expand(disjoint(scope));
  EXPECT_EQ(expanded.size(), kTuplesPerGrant + 128 - kTuplesPerGrant / 16);
  Grant g = grant(1);
  g.scope = scope;
  std::set<std::string> keys;
  for (const Element& element : open_tunnel(g).elements) EXPECT_TRUE(keys.insert(element.set + element.key).second);
  for (const ScopeEntry& entry : scope)
    for (uint64_t host = 0; host < 4; ++host)
      for (uint16_t port = 1; port <= 4; ++port) {
        const IpAddress to = entry.destination.address.plus(host);
        EXPECT_EQ(std::count_if(expanded.begin(), expanded.end(),
                                [&](const ScopeEntry& e) {
                                  return e.destination.contains(to) && e.first_port <= port && port <= e.last_port;
                                }),
                  1);
      }
}

TEST(Tunnel, OverlappingEntriesBecomeDisjoint) {
  // Covered by a wider one: gone. Half covered: only the rest stays. Same prefix: ports are not
  // told twice.
  EXPECT_EQ(render_scope(disjoint(*parse_scope({"tcp 10.60.10.0/24:20-30", "tcp 10.60.10.5:22"}))),
            std::vector<std::string>{"tcp 10.60.10.0/24:20-30"});
  EXPECT_EQ(
      render_scope(disjoint(*parse_scope({"tcp 10.60.0.0/16:25-40", "tcp 10.60.10.0/24:20-50"}))),
      (std::vector<std::string>{"tcp 10.60.0.0/16:25-40", "tcp 10.60.10.0/24:20-24,41-50"}));
  EXPECT_EQ(render_scope(disjoint(*parse_scope({"tcp 0.0.0.0/0:1-65535", "udp 10.0.0.1:1-65535"}))),
            (std::vector<std::string>{"tcp 0.0.0.0/0:1-65535", "udp 10.0.0.1:1-65535"}));
}

TEST(Tunnel, CheckGrantRefuses) {
  const auto check = [](const Grant& g) {
    const auto result = check_grant(g, "gw1", key(0), pools());
    return result ? Code::bug : result.error().code;
  };
  ASSERT_TRUE(check_grant(grant(1), "gw1", key(0), pools()));
  Grant g = grant(1);
  g.gateway.name = "gw2";
  EXPECT_EQ(check(g), Code::wrong_node);
  g = grant(1);
  g.gateway.wireguard_key = key(5).str();
  EXPECT_EQ(check(g), Code::wrong_node);
  g = grant(1);
  g.wg_public_key = "short";
  EXPECT_EQ(check(g), Code::bad_key);
  g.wg_public_key = base64_encode(std::string(32, '\0'));
  EXPECT_EQ(check(g), Code::bad_key);
  g = grant(1);
  g.address = prefixes({"10.91.0.1"});
  EXPECT_EQ(check(g), Code::bad_value);
  g.address = prefixes({"10.90.0.0/24"});
  EXPECT_EQ(check(g), Code::bad_value);
  g.address = prefixes({"10.90.0.1", "10.60.10.20"});
  EXPECT_EQ(check(g), Code::bad_value);
  g.address.clear();
  EXPECT_EQ(check(g), Code::bad_value);
  g = grant(1);
  g.scope.clear();
  EXPECT_EQ(check(g), Code::bad_value);
  g = grant(1);
  g.not_after = g.not_before;
  EXPECT_EQ(check(g), Code::bad_time);
}

}  // namespace
}  // namespace jitwg::gateway
