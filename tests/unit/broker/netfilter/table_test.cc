// The real kernel, in a network namespace of this process' own. Needs root; otherwise says SKIPPED.
#include "broker/netfilter/table.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace jitwg::netfilter {
namespace {

constexpr const char* kText = R"(
add table inet jitwg_test
add set inet jitwg_test hash4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags timeout; counter; }
add set inet jitwg_test hash6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags timeout; counter; }
add set inet jitwg_test range4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval,timeout; counter; }
add set inet jitwg_test range6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags interval,timeout; counter; }
add set inet jitwg_test uids { type uid . ipv4_addr; flags timeout; counter; }
add set inet jitwg_test small { type ipv4_addr; flags timeout; size 1; counter; }
)";

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

std::string tuple(const IpAddress& from, const IpAddress& to, uint16_t port) {
  return Key().address(from).address(to).protocol(IPPROTO_TCP).port(port).bytes();
}

class TableTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "SKIPPED: needs root for a network namespace";
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "a network namespace for the test";
    const auto loaded = load_ruleset(kText);
    ASSERT_TRUE(loaded) << loaded.error().render();
    auto opened = Table::open("jitwg_test");
    ASSERT_TRUE(opened) << opened.error().render();
    table_.emplace(std::move(*opened));
  }

  std::vector<Element> list(const std::string& set) {
    auto elements = table_->list(set);
    EXPECT_TRUE(elements) << elements.error().render();
    if (!elements) return {};
    std::sort(elements->begin(), elements->end());
    return *elements;
  }

  // The same element, with an end within a second of the one asked for.
  static void expect_same(const Element& seen, const Element& wanted) {
    Element copy = seen;
    copy.remaining = wanted.remaining;
    EXPECT_EQ(copy, wanted);
    EXPECT_LE(seen.remaining, wanted.remaining);
    EXPECT_GE(seen.remaining, wanted.remaining - Millis(1000));
  }

  std::optional<Table> table_;
};

TEST_F(TableTest, AListingTellsHowManyPacketsMatched) {
  ASSERT_EQ(system("ip link set lo up"), 0);
  ASSERT_TRUE(load_ruleset(
      "add chain inet jitwg_test out { type filter hook output priority 0; }\n"
      "add rule inet jitwg_test out ip saddr . ip daddr . meta l4proto . th dport @hash4\n"
      "add rule inet jitwg_test out ip saddr . ip daddr . meta l4proto . th dport @range4\n"));
  const IpAddress lo = ip("127.0.0.1");
  const auto key = [&](uint16_t port) { return Key().address(lo).address(lo).protocol(IPPROTO_UDP).port(port).bytes(); };
  ASSERT_TRUE(table_->change({}, {{"hash4", key(4000), "", "one", Millis(60'000)},
                                  {"hash4", key(4001), "", "two", Millis(60'000)},
                                  {"range4", key(4000), key(4009), "all", Millis(60'000)}}));
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(4000);
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(::sendto(socket.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 1);
  const auto hashed = list("hash4"), ranged = list("range4");
  ASSERT_EQ(hashed.size(), 2u);
  EXPECT_EQ(hashed[0].packets, 3u);
  EXPECT_EQ(hashed[1].packets, 0u);
  ASSERT_EQ(ranged.size(), 1u);
  EXPECT_EQ(ranged[0].packets, 3u);
}

TEST_F(TableTest, AddListRemoveInEveryKindOfSet) {
  const std::vector<Element> elements = {
      {"hash4", tuple(ip("10.90.0.1"), ip("10.60.10.20"), 5432), "", "s1", Millis(60000)},
      {"hash6", tuple(ip("fd00:90::1"), ip("fd00::20"), 5432), "", "s1", Millis(60000)},
      {"range4", tuple(ip("10.90.0.1"), ip("10.60.10.0"), 22),
       tuple(ip("10.90.0.1"), ip("10.60.10.255"), 80), "s1", Millis(60000)},
      {"range6", tuple(ip("fd00:90::1"), ip("fd00::"), 22),
       tuple(ip("fd00:90::1"), ip("fd00::ffff"), 22), "s1", Millis(60000)},
      {"uids", Key().uid(1000).address(ip("10.60.10.20")).bytes(), "", "s1", Millis(60000)},
  };
  auto changed = table_->change({}, elements);
  ASSERT_TRUE(changed) << changed.error().render();
  for (const Element& element : elements) {
    const auto seen = list(element.set);
    ASSERT_EQ(seen.size(), 1u) << element.set;
    expect_same(seen[0], element);
  }
  // A text loaded again leaves the elements alone.
  ASSERT_TRUE(load_ruleset(kText));
  EXPECT_EQ(list("range6").size(), 1u);

  changed = table_->change(elements, {});
  ASSERT_TRUE(changed) << changed.error().render();
  for (const Element& element : elements) EXPECT_TRUE(list(element.set).empty()) << element.set;
}

TEST_F(TableTest, ThousandElementsInOneTransaction) {
  std::vector<Element> elements;
  for (uint16_t i = 1; i <= 1000; ++i) {
    elements.push_back(
        {"hash4", tuple(ip("10.90.0.1"), ip("10.60.10.20"), i), "", "many", Millis(60000)});
    elements.push_back({"range6", tuple(ip("fd00:90::").plus(i), ip("fd00::"), 22),
                        tuple(ip("fd00:90::").plus(i), ip("fd00::ff"), 22), "many", Millis(60000)});
  }
  auto changed = table_->change({}, elements);
  ASSERT_TRUE(changed) << changed.error().render();
  EXPECT_EQ(list("hash4").size(), 1000u);
  EXPECT_EQ(list("range6").size(), 1000u);
  changed = table_->change(elements, {});
  ASSERT_TRUE(changed) << changed.error().render();
  EXPECT_TRUE(list("hash4").empty());
  EXPECT_TRUE(list("range6").empty());
}

TEST_F(TableTest, OneRefusedElementChangesNothing) {
  const Element held{"hash4", tuple(ip("10.90.0.1"), ip("10.60.10.20"), 1), "", "held",
                     Millis(60000)};
  const Element other{"hash4", tuple(ip("10.90.0.1"), ip("10.60.10.20"), 2), "", "other",
                      Millis(60000)};
  ASSERT_TRUE(table_->change({}, {held}));

  EXPECT_EQ(table_->change({}, {other, held}).error().code, Code::wrong_state);
  ASSERT_EQ(list("hash4").size(), 1u);
  EXPECT_EQ(table_->change({held, other}, {}).error().code, Code::wrong_state);
  ASSERT_EQ(list("hash4").size(), 1u);
  // And the socket is none the worse for it.
  EXPECT_TRUE(table_->change({held}, {other}));
  EXPECT_EQ(list("hash4").at(0).comment, "other");
}

TEST_F(TableTest, ReplacedInOneTransaction) {
  for (const char* set : {"hash4", "range4"}) {
    Element element{set, tuple(ip("10.90.0.1"), ip("10.60.10.20"), 1), "", "s", Millis(600000)};
    if (std::string(set) == "range4") element.key_end = element.key;
    ASSERT_TRUE(table_->change({}, {element}));
    Element sooner = element;
    sooner.remaining = Millis(5000);
    const auto changed = table_->change({element}, {sooner});
    ASSERT_TRUE(changed) << set << changed.error().render();
    const auto seen = list(set);
    ASSERT_EQ(seen.size(), 1u);
    expect_same(seen[0], sooner);
  }
}

TEST_F(TableTest, TheKernelEndsAnElementByItself) {
  const Element hash{"hash4", tuple(ip("10.90.0.1"), ip("10.60.10.20"), 1), "", "s", Millis(300)};
  const Element range{"range4", hash.key, hash.key, "s", Millis(300)};
  ASSERT_TRUE(table_->change({}, {hash, range}));
  EXPECT_EQ(list("hash4").size(), 1u);
  // The kernel's own clock is what is tested: wait for it, at most 2 s.
  for (int i = 0; i < 100 && !(list("hash4").empty() && list("range4").empty()); ++i)
    poll(nullptr, 0, 20);
  EXPECT_TRUE(list("hash4").empty());
  EXPECT_TRUE(list("range4").empty());
}

TEST_F(TableTest, MissingSetAndBadTextSayWhy) {
  EXPECT_EQ(table_->list("nothing").error().code, Code::wrong_state);
  const auto loaded = load_ruleset("add rule inet jitwg_test nowhere accept");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::system);
  EXPECT_NE(loaded.error().message.find("nowhere"), std::string::npos) << loaded.error().message;
}

TEST_F(TableTest, ListedChainsTellOtherRulesNotOtherElements) {
  const std::string rules =
      "add chain inet jitwg_test c { type filter hook forward priority 0; }\n"
      "add chain inet jitwg_test sub\n"
      "add rule inet jitwg_test c counter drop\n";
  ASSERT_TRUE(load_ruleset(rules));
  const auto print = [] { return list_chains("jitwg_test").value_or("none"); };
  const std::string before = print();
  ASSERT_NE(before, "none");
  ASSERT_TRUE(load_ruleset(
      "add table inet another\nadd chain inet another c\n"
      "add element inet jitwg_test hash4 { 10.0.0.1 . 10.0.0.2 . tcp . 22 timeout 9s }"));
  EXPECT_EQ(print(), before);
  for (const char* change :
       {"add rule inet jitwg_test c accept", "insert rule inet jitwg_test sub accept",
        "flush chain inet jitwg_test c", "add rule inet jitwg_test c counter drop",
        "add chain inet jitwg_test c { policy drop; }", "add chain inet jitwg_test more",
        "delete chain inet jitwg_test more; delete chain inet jitwg_test sub"}) {
    const std::string last = print();
    ASSERT_TRUE(load_ruleset(change)) << change;
    EXPECT_NE(print(), last) << change;
    EXPECT_NE(print(), before) << change;
  }
  ASSERT_TRUE(load_ruleset("add table inet jitwg_test { flags dormant; }"));
  EXPECT_NE(print(), before);
  ASSERT_TRUE(load_ruleset("delete table inet jitwg_test"));
  EXPECT_FALSE(list_chains("jitwg_test"));
}

TEST_F(TableTest, AFullSetIsSaidAndTakesNothing) {
  const auto small = [](const char* address) { return Element{"small", Key().address(ip(address)).bytes(), "", "a", Millis(60'000)}; };
  const auto refused = table_->change({}, {small("10.0.0.1"), small("10.0.0.2")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::system);
  EXPECT_NE(refused.error().message.find("a set is full"), std::string::npos) << refused.error().render();
  EXPECT_TRUE(list("small").empty());
}

TEST_F(TableTest, FindsFlowtablesOnAnInterface) {
  EXPECT_EQ(table_->find_flowtable("lo").value(), "");
  const auto made = load_ruleset("add table ip fast\nadd flowtable ip fast f { hook ingress priority 0; devices = { lo }; }\n");
  if (!made) GTEST_SKIP() << "SKIPPED: this kernel has no flowtables";
  EXPECT_EQ(table_->find_flowtable("lo").value(), "flowtable f of table fast");
  EXPECT_EQ(table_->find_flowtable("jitwg0").value(), "");
}

TEST_F(TableTest, NewsTellOthersChangesOfThisTableOnly) {
  EXPECT_FALSE(table_->take_news());
  ASSERT_TRUE(table_->change({}, {{.set = "hash4",
                                   .key = tuple(ip("10.0.0.1"), ip("10.0.0.2"), 22),
                                   .comment = "x",
                                   .remaining = Millis(9000)}}));
  EXPECT_FALSE(table_->take_news()) << "our own";
  ASSERT_TRUE(load_ruleset("add table inet another\nadd table ip jitwg_test"));
  EXPECT_FALSE(table_->take_news());
  ASSERT_TRUE(load_ruleset("flush set inet jitwg_test hash4"));
  EXPECT_TRUE(table_->take_news());
  EXPECT_FALSE(table_->take_news());
  ASSERT_TRUE(load_ruleset("flush ruleset"));
  EXPECT_TRUE(table_->take_news());
}

}  // namespace
}  // namespace jitwg::netfilter
