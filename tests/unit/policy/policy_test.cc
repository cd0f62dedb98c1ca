#include <gtest/gtest.h>

#include "broker/base/encoding.h"
#include "broker/os/file.h"
#include "policy/decide.h"

namespace jitwg {
namespace {

std::string key() { return ssh::PrivateKey::generate().public_key().str(); }
std::string wg_key() {
  std::string k = random_bytes(32);
  k[31] = static_cast<char>(k[31] & 0x3f);
  return base64_encode(k);
}

// DESIGN §6's policy with keys filled in.
std::string sample() {
  std::string text = *read_file(JITWG_SOURCE_DIR "/tests/policy/good/design.toml", 1 << 20);
  for (size_t at; (at = text.find("@WG@")) != std::string::npos;) text.replace(at, 4, wg_key());
  for (size_t at; (at = text.find("@KEY@")) != std::string::npos;) text.replace(at, 5, key());
  return text;
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = sample();
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string problem(const std::string& text) {
  const auto p = load_policy(text, "p.toml");
  return p ? "ok" : p.error().render();
}

WallTime monday_noon() { return *parse_time("2026-03-02T09:00:00Z"); }

TEST(Policy, TheDesignsOwnLoads) { EXPECT_EQ(problem(sample()), "ok"); }

TEST(Policy, DecidesAsWritten) {
  const Policy p = *load_policy(sample(), "p.toml");
  const auto ask = [&](const char* who, const char* what, const char* how_long = "60m", bool incident = false) {
    return decide(p, {who, what, *parse_duration(how_long), monday_noon(), incident});
  };
  const Verdict v = ask("alice", "db-prod");
  EXPECT_EQ(v.outcome, Verdict::Outcome::approval);
  EXPECT_EQ(v.approvers, std::set<std::string>{"carol"});
  EXPECT_EQ(render_scope(v.access.scope), (std::vector<std::string>{"tcp 10.60.0.5:22", "tcp 10.60.10.20:5432"}));
  EXPECT_EQ(v.access.login, "alice");
  EXPECT_EQ(v.access.names, (HostNames{{"db1.prod.example", *IpAddress::parse("10.60.10.20")}}));
  EXPECT_FALSE(v.access.nat);
  EXPECT_EQ(ask("alice", "db-prod", "91m").denial->code, Code::duration_over_limit);
  EXPECT_EQ(ask("alice", "db-prof").denial->code, Code::unknown_target);
  EXPECT_EQ(ask("alice", "db-prof").denial->hint, "did you mean \"db-prod\"?");
  EXPECT_EQ(ask("dave", "db-prod").denial->code, Code::denied_by_rule);
  EXPECT_EQ(ask("erin", "db-prod").denial->code, Code::no_rule);
  EXPECT_EQ(ask("bob", "db-prod", "60m", true).outcome, Verdict::Outcome::allow);
  EXPECT_EQ(ask("alice", "db-prod", "60m", true).denial->code, Code::no_rule);  // not on call
  EXPECT_EQ(ask("alice", "mgmt").outcome, Verdict::Outcome::approval);
  EXPECT_EQ(decide(p, {"alice", "mgmt", {}, *parse_time("2026-03-01T09:00:00Z"), false}).denial->code, Code::outside_hours);
  EXPECT_FALSE(ask("alice", "mgmt").access.login);
}

TEST(Policy, ApproverIsNeverTheRequester) {
  const Policy p = *load_policy(with("security = [\"carol\"]", "security = [\"carol\", \"alice\"]"), "p.toml");
  EXPECT_EQ(decide(p, {"alice", "db-prod", {}, monday_noon(), false}).approvers, std::set<std::string>{"carol"});
}

TEST(Policy, ErrorsNameLineReasonAndRemedy) {
  EXPECT_NE(problem("version = 1\nrealm = ").find("p.toml:2:"), std::string::npos);
  const struct { const char *from, *to, *says; } kCases[] = {
      {"version = 1", "version = 2", "version must be 1"},
      {"version = 1", "versoin = 1", "version"},
      {"realm = ", "ream = \"x\"\nrealm = ", "unknown key \"ream\" (did you mean \"realm\"?"},
      {"gateways = [\"gw1\"]", "gateways = [\"gw9\"]", "there is no gateway \"gw9\" (did you mean \"gw1\"?"},
      {"jump_hosts = [\"jump1\"]", "jump_hosts = [\"jump7\"]", "there is no jump host"},
      {"who = [\"group:platform\"]", "who = [\"group:platfrom\"]", "there is no group \"platfrom\" (did you mean \"platform\"?"},
      {"who = [\"group:platform\"]", "who = [\"platform\"]", "names nobody"},
      {"targets = [\"label:database\"]", "targets = [\"label:databse\"]", "no target has the label"},
      {"approvals = 1 ", "approvals = \"one\" ", "approvals must be"},
      {"tcp 10.60.10.20:5432", "tcp 10.60.10.20", "no port"},
      {"tcp 10.60.10.20:5432", "tcp 10.90.1.1:5432", "reaches into the pool"},
      {"duration = \"60m\"", "duration = 60", "\"duration\" must be"},
      {"Europe/Istanbul", "Europe/Ankara", "unknown time zone"},
      {"expect = \"approval\"", "expect = \"allow\"", "expected allow, got approval"},
      {"approvers = [\"carol\"]                  #", "approvers = [\"bob\"] #", "other approvers: carol"},
      {"during = \"incident\"", "during = \"night\"", "during = \"incident\""},
      {"192.0.2.10:51820", "gw.example:51820", "no address:port"},
      {"\"db1.prod.example\" =", "\"db1.prod.example bank.example\" =", "is no host name"},
      {"\"db1.prod.example\" =", "\"DB1\" =", "is no host name"},
      {"\"db1.prod.example\" =", "\"localhost\" =", "is no host name"},
      {"= \"10.60.10.20\" }", "= \"10.60.10.21\" }", "names 10.60.10.21, which the scope does not reach"},
      {"= \"10.60.10.20\" }", "= \"db2\" }", "names: "},
      {"= \"10.60.10.20\" }", "= 7 }", "names: "},
      {"[targets.mgmt]\n", "[targets.mgmt]\nnames = { \"db1.prod.example\" = \"10.60.10.21\" }\n",
       "db1.prod.example is 10.60.10.21 here and 10.60.10.20 in targets.db-prod"},
      {"[targets.mgmt]\n", "[targets.mgmt]\nnat = \"yes\"\n", "nat"},
  };
  for (const auto& c : kCases) {
    const std::string said = problem(with(c.from, c.to));
    EXPECT_NE(said.find(c.says), std::string::npos) << c.from << " -> " << c.to << ": " << said;
    EXPECT_EQ(said.rfind("bad_policy: p.toml:", 0), 0u) << said;
  }
}

std::string with_second_gateway(const std::string& line) {
  return with("[jump_hosts.jump1]", "[gateways.gw2]\nendpoint = \"192.0.2.11:51820\"\nwireguard_key = \"" + wg_key() +
                                        "\"\nnode_key = \"" + key() + "\"\n" + line + "\n[jump_hosts.jump1]");
}

TEST(Policy, AGatewaysOwnPoolsReplaceTheDefaultOnes) {
  const Policy p = *load_policy(with_second_gateway("pools = [\"10.91.0.0/16\"]"), "p.toml");
  EXPECT_EQ(p.gateways.at("gw1").pools, (std::vector{*Prefix::parse("10.90.0.0/16"), *Prefix::parse("fd00:90::/64")}));
  EXPECT_EQ(p.gateways.at("gw2").pools, std::vector{*Prefix::parse("10.91.0.0/16")});
  EXPECT_EQ(problem(with_second_gateway("")), "ok");                               // shares the default
  EXPECT_EQ(problem(with_second_gateway("pools = [\"10.90.0.0/16\"]")), "ok");     // shares half of the families
  // Without default pools every gateway needs its own.
  EXPECT_NE(problem(with("pools = [\"10.90.0.0/16\", \"fd00:90::/64\"]", "")).find("gateways.gw1: no address pool"), std::string::npos);
  EXPECT_EQ(problem([] {
              std::string text = with("pools = [\"10.90.0.0/16\", \"fd00:90::/64\"]", "");
              return text.insert(text.find("endpoint ="), "pools = [\"10.90.0.0/16\"]\n");
            }()),
            "ok");
}

TEST(Policy, PoolsThatWouldSendAnswersTheWrongWayAreRefused) {
  const struct { const char *line, *says; } kCases[] = {
      {"pools = [\"10.90.128.0/17\"]", "overlaps 10.90.0.0/16 of gateways.gw1"},
      {"pools = [\"10.0.0.0/8\"]", "overlaps 10.90.0.0/16 of gateways.gw1"},
      {"pools = [\"10.91.0.0/16\", \"10.91.0.0/16\"]", "is there twice"},
      {"pools = [\"10.60.10.0/24\"]", "reaches into the pool 10.60.10.0/24"},
      {"pools = [\"10.91.0.1/16\"]", "host bits"},
      {"pools = []", "no address pool"},
  };
  for (const auto& c : kCases) {
    const std::string said = problem(with_second_gateway(c.line));
    EXPECT_NE(said.find(c.says), std::string::npos) << c.line << ": " << said;
  }
}

TEST(Policy, NamesReachJumpHostsAndAgreeBetweenTargets) {
  EXPECT_EQ(problem(with("\"10.60.10.20\" }", "\"10.60.10.20\", \"jump1.example\" = \"10.60.0.5\" }")), "ok");
  EXPECT_EQ(problem(with("[targets.mgmt]\n", "[targets.mgmt]\nnames = { \"db1.prod.example\" = \"10.60.10.20\" }\n")), "ok");
  EXPECT_TRUE(load_policy(with("[targets.mgmt]\n", "[targets.mgmt]\nnat = true\n"), "p.toml")->targets.at("mgmt").nat);
}

TEST(Policy, PlacesAreFilledByDistinctPeople) {
  Policy p;
  p.groups = {{"a", {"x", "y"}}, {"b", {"y", "z"}}};
  const Member a{Member::Kind::group, "a"}, b{Member::Kind::group, "b"};
  const std::vector<ApprovalPlace> places = {{{a}, 1}, {{b}, 1}};
  EXPECT_FALSE(approvals_filled(p, places, {"y"}));
  EXPECT_TRUE(approvals_filled(p, places, {"x", "y"}));
  EXPECT_TRUE(approvals_filled(p, places, {"y", "z"}));
  EXPECT_FALSE(approvals_filled(p, places, {"x", "w"}));
  EXPECT_FALSE(approvals_filled(p, {{{a}, 2}}, {"x", "z"}));
  EXPECT_TRUE(approvals_filled(p, {}, {}));
}

TEST(HoursOfTheWeek, ZonesMidnightAndDaylightSaving) {
  const auto in = [](const char* hours, const char* at) { return Hours::parse(hours)->contain(*parse_time(at)); };
  EXPECT_TRUE(in("Mon-Fri 07:00-19:00 Europe/Istanbul", "2026-03-02T04:00:00Z"));
  EXPECT_FALSE(in("Mon-Fri 07:00-19:00 Europe/Istanbul", "2026-03-02T03:59:59Z"));
  EXPECT_FALSE(in("Mon-Fri 07:00-19:00 Europe/Istanbul", "2026-03-02T16:00:00Z"));
  EXPECT_TRUE(in("Fri 22:00-06:00 UTC", "2026-03-07T05:59:59Z"));    // Saturday morning, begun on Friday
  EXPECT_FALSE(in("Fri 22:00-06:00 UTC", "2026-03-06T05:00:00Z"));
  EXPECT_TRUE(in("Fri-Mon 00:00-24:00 UTC", "2026-03-01T12:00:00Z"));  // over the week's end
  EXPECT_TRUE(in("Mon-Sun 09:00-10:00 Europe/Berlin", "2026-03-28T08:30:00Z"));
  EXPECT_TRUE(in("Mon-Sun 09:00-10:00 Europe/Berlin", "2026-03-29T07:30:00Z"));  // summer time since this night
  for (const char* bad : {"", "Mon", "Mon 7:00-19:00 UTC", "Mon 07:00-07:00 UTC", "Mon 24:00-25:00 UTC", "Mun 07:00-08:00 UTC",
                          "Mon 07:00-08:60 UTC", "Mon 07:00-08:00 Mars/Base"})
    EXPECT_FALSE(Hours::parse(bad)) << bad;
}

TEST(Explain, SaysRuleByRuleWhy) {
  const Policy p = *load_policy(sample(), "p.toml");
  std::string text;
  for (const auto& line : explain(p, {"dave", "db-prod", {}, monday_noon(), false})) text += line + "\n";
  EXPECT_NE(text.find("deny \"contractors never reach prod\": matches, and a deny always wins"), std::string::npos) << text;
  EXPECT_NE(text.find("result: deny"), std::string::npos) << text;
  text.clear();
  for (const auto& line : explain(p, {"alice", "db-prod", {}, monday_noon(), false})) text += line + "\n";
  EXPECT_NE(text.find("matches, and decides"), std::string::npos) << text;
  EXPECT_NE(text.find("approvers: carol"), std::string::npos) << text;
  EXPECT_NE(text.find("gateway: gw1, address from 10.90.0.0/16"), std::string::npos) << text;
}

}  // namespace
}  // namespace jitwg
