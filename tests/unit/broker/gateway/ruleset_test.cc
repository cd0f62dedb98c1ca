#include "broker/gateway/ruleset.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "broker/gateway/tunnel.h"
#include "broker/netfilter/table.h"
#include "tests/unit/broker/gateway/sample.h"

namespace jitwg::gateway {
namespace {

TEST(Ruleset, OnlyAnInterfaceNameGoesIn) {
  for (const char* bad : {"", "a b", "x\"; drop", "jitwg0123456789a", "wg0\n"})
    EXPECT_EQ(render_ruleset(bad, {}).error().code, Code::bad_config) << bad;
  const auto text = render_ruleset("jitwg0", sample::pools());
  ASSERT_TRUE(text);
  EXPECT_EQ(text->find('@' + std::string("IF")), std::string::npos);
  EXPECT_NE(text->find("forward ip6 daddr fd00:90::/64 counter drop\n"), std::string::npos);
}

// The kernel takes the text twice, and every kind of element that a tunnel can have.
TEST(Ruleset, TheKernelTakesItAndEveryElement) {
  if (geteuid() != 0) GTEST_SKIP() << "SKIPPED: needs root for a network namespace";
  ASSERT_EQ(unshare(CLONE_NEWNET), 0);
  const std::string text = *render_ruleset("jitwg0", sample::pools());
  for (int i = 0; i < 2; ++i) {
    const auto loaded = netfilter::load_ruleset(text);
    ASSERT_TRUE(loaded) << loaded.error().render();
  }
  auto table = netfilter::Table::open(kTable);
  ASSERT_TRUE(table);
  Grant grant =
      sample::grant(1, {"tcp 10.60.10.20:5432", "udp [fd00::1]:53", "tcp 10.60.0.0/16:22",
                        "tcp 10.60.10.0/24:20-30", "udp [fd00::/64]:1000-1010", "icmp 10.60.10.20",
                        "icmp fd00::9", "icmp 172.16.0.0/12", "icmp fd01::/64"});
  grant.nat = true;
  grant.jump_hosts = {
      {"jump1", {*IpAddress::parse("10.60.0.5"), *IpAddress::parse("fd00:60::5")}, {}}};
  const Tunnel tunnel = sample::open_tunnel(grant);
  const auto added = table->change({}, tunnel.elements);
  ASSERT_TRUE(added) << added.error().render();
  std::vector<Element> seen;
  for (const char* set : kSets) {
    const auto some = table->list(set);
    ASSERT_TRUE(some) << some.error().render();
    EXPECT_FALSE(some->empty()) << set;
    seen.insert(seen.end(), some->begin(), some->end());
  }
  Observed observed{{}, seen};
  observed.interface.peers.push_back({tunnel.key, tunnel.addresses, {}, {}});
  EXPECT_TRUE(plan({tunnel}, observed, sample::pools()).empty())
      << "what was added is what is listed";
}

}  // namespace
}  // namespace jitwg::gateway
