// The self-test must notice whatever happens to the chains: each rule is broken here in every way that text allows.
#include "broker/gateway/selftest.h"

#include <gtest/gtest.h>
#include <unistd.h>

// g++ 12 with sanitizers warns of libstdc++'s own code.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <regex>
#include <set>
#include <thread>

#include "broker/gateway/ruleset.h"
#include "tests/unit/broker/gateway/sample.h"

namespace jitwg::gateway {
namespace {

using doctor::Finding;

constexpr const char* kInterface = "jitwg7";

class SelfTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "SKIPPED: needs root for a network namespace";
    if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "SKIPPED: needs /dev/net/tun";
  }
  const std::string text_ = *render_ruleset(kInterface, sample::pools());

  // What it says of these chains: "" when all is well.
  static std::string problems(const std::string& text, bool ipv6 = true) {
    const auto findings = run_selftest(text, kInterface, sample::pools(), ipv6);
    if (!findings) return findings.error().render();
    std::string all;
    for (const Finding& finding : *findings)
      if (finding.level != Finding::Level::ok) all += finding.what + ": " + finding.text + "\n";
    return all;
  }

  // Each must be noticed. Six at a time, each thread in a network of its own: they mostly wait. The plain chains go along, so
  // that nothing passes for noticed that was only late.
  struct Broken {
    std::string what, text;
  };
  void expect_noticed(std::vector<Broken> all) {
    for (size_t i = 0; i < all.size(); i += 20) all.insert(all.begin() + static_cast<std::ptrdiff_t>(i), {"", text_});
    constexpr size_t kAtOnce = 6;
    std::vector<std::string> said(all.size());
    std::vector<std::thread> threads;
    for (size_t first = 0; first < kAtOnce; ++first)
      threads.emplace_back([&, first] {
        for (size_t i = first; i < all.size(); i += kAtOnce) said[i] = problems(all[i].text);
      });
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < all.size(); ++i)
      if (all[i].what.empty())
        EXPECT_EQ(said[i], "");
      else
        EXPECT_NE(said[i], "") << all[i].what;
  }
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1) lines.push_back(text.substr(at, end - at));
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// The line without one of its parts, or with another in its place.
std::set<std::string> broken(const std::string& line) {
  static const std::pair<std::regex, const char*> kChanges[] = {
      {std::regex(" accept$"), " drop"},
      {std::regex(" (counter )?drop$"), " accept"},
      {std::regex("(masquerade|accept)$"), "continue"},
      {std::regex("jump errors$"), "accept"},
      {std::regex("jump errors$"), "drop"},
      {std::regex("goto \\w+$"), "accept"},
      {std::regex("goto \\w+$"), "drop"},
      {std::regex("(iifname|oifname) \"[^\"]+\" "), ""},
      {std::regex("ct direction reply "), ""},
      {std::regex("ct state (related|new) "), ""},
      {std::regex("ip6? saddr \\. ct original ip6? saddr @self\\d "), ""},
      {std::regex("ct state related "), "ct state established "},
      {std::regex("(icmp|icmpv6) type (\\{[^}]*\\}|[a-z-]+) "), ""},
      {std::regex("th dport"), "th sport"},
      {std::regex("th sport"), "th dport"},
      {std::regex("ip saddr \\. ip daddr"), "ip daddr . ip saddr"},
      {std::regex("ip daddr \\. ip saddr"), "ip saddr . ip daddr"},
      {std::regex("ip6 saddr \\. ip6 daddr"), "ip6 daddr . ip6 saddr"},
      {std::regex("ip6 daddr \\. ip6 saddr"), "ip6 saddr . ip6 daddr"},
      {std::regex("@scope"), "@range"},
      {std::regex("@range"), "@scope"},
      {std::regex("@icmp(\\d)"), "@icmp_range$1"},
      {std::regex("@icmp_range"), "@icmp"},
      {std::regex("@nat(\\d)"), "!= @nat$1"},
      {std::regex("policy accept"), "policy drop"},
      {std::regex("flags timeout;"), ""},
      {std::regex("interval,timeout"), "interval"},
      {std::regex("\\{ [a-z-]+, "), "{ "},        // the first of several
      {std::regex(", [a-z-]+ \\}"), " }"},        // the last of them
      {std::regex(", [a-z-]+, "), ", "},          // one between
  };
  std::set<std::string> all;
  for (const auto& [what, by] : kChanges)
    for (std::sregex_iterator match(line.begin(), line.end(), what), end; match != end; ++match)
      all.insert(std::string(match->prefix()) + match->format(by) + std::string(match->suffix()));
  all.erase(line);
  return all;
}

// Changes that let nothing more or less through.
bool is_the_same(const std::string& from, const std::string& to) {
  // The chain itself asks for an ICMP error, and for the flow that it quotes: only what is `related` has one.
  if (std::regex_replace(from, std::regex("ct state related (.*jump errors)"), "$1") == to) return true;
  // Accepted by this chain are errors about live flows: those go on without it.
  if (std::regex_replace(from, std::regex("(output )oifname \\S+ (ct state related )"), "$1$2") == to) return true;
  // Which address a packet from elsewhere leaves with, if its sender claims to be a person: it was let through before.
  return std::regex_replace(from, std::regex("(postrouting )iifname \\S+ "), "$1") == to;
}

TEST_F(SelfTest, ThePlainChainsPass) {
  EXPECT_EQ(problems(text_), "");
  EXPECT_EQ(problems(text_, false), "");
}

TEST_F(SelfTest, NoticesEachRuleThatIsGone) {
  const std::vector<std::string> lines = lines_of(text_);
  std::vector<Broken> all;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].starts_with("add rule ")) continue;
    std::vector<std::string> without = lines;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    all.push_back({"without: " + lines[i], joined(without)});
  }
  EXPECT_GT(all.size(), 30u);
  expect_noticed(std::move(all));
}

TEST_F(SelfTest, NoticesEachRuleThatIsChanged) {
  std::vector<std::string> lines = lines_of(text_);
  std::vector<Broken> all;
  for (std::string& line : lines) {
    if (!line.starts_with("add ")) continue;
    const std::string whole = line;
    for (const std::string& other : broken(whole)) {
      if (is_the_same(whole, other)) continue;
      line = other;
      all.push_back({whole + "\nas: " + other, joined(lines)});
    }
    line = whole;
  }
  EXPECT_GT(all.size(), 150u);
  expect_noticed(std::move(all));
}

TEST_F(SelfTest, NoticesWhatIsPutInFront) {
  std::vector<Broken> all;
  for (const char* chain : {"forward", "from_tunnel", "to_tunnel"})
    for (const char* rule : {"ct state established accept", "ct state related accept", "ct state established,related accept",
                             "meta l4proto icmp accept", "meta l4proto icmpv6 accept", "accept", "drop", "ct state invalid accept",
                             "tcp flags syn drop"}) {
      const std::string start = std::string("insert rule inet jitwg ") + chain + " ";
      all.push_back({start + rule, text_ + start + rule + "\n"});
    }
  for (const std::string rule : {"input accept", "input drop", "postrouting masquerade"})
    all.push_back({rule, text_ + "insert rule inet jitwg " + rule + "\n"});
  expect_noticed(std::move(all));
}

TEST_F(SelfTest, SaysWhatWasExpectedAndWhatCame) {
  const std::string said = problems(text_ + "insert rule inet jitwg forward ct state established accept\n");
  EXPECT_NE(said.find("IPv4 tcp host: established, and over: must be dropped, but came out of the inside from 10.90.0.1 to 198.18.0.2\n"),
            said.npos) << said;
  EXPECT_NE(problems(text_ + "insert rule inet jitwg forward ip6 daddr ::/0 drop\n").find("IPv6 udp segment: in scope: must come out of the inside"),
            std::string::npos);
}

TEST_F(SelfTest, AnEndlessElementIsNoticed) {
  // As if sets had no timeouts: the kernel refuses elements that have one.
  const std::string text = std::regex_replace(text_, std::regex("flags timeout;"), "");
  EXPECT_NE(problems(text).find("nftables change of jitwg"), std::string::npos);
}

}  // namespace
}  // namespace jitwg::gateway
