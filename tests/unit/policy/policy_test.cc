#include <gtest/gtest.h>

#include "broker/base/encoding.h"
#include "broker/os/file.h"
#include "policy/decide.h"
#include "policy/incident.h"

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

TEST(Policy, ARuleDemandsHardwareKeys) {
  const auto keys = [](const std::string& line) {
    const Policy p = *load_policy(with("approvers = [\"group:security\"]\n", "approvers = [\"group:security\"]\n" + line), "p.toml");
    return decide(p, {"alice", "db-prod", {}, monday_noon()}).keys;
  };
  EXPECT_EQ(keys(""), KeyDemand::any);
  EXPECT_EQ(keys("keys = \"sk\"\n"), KeyDemand::sk);
  EXPECT_EQ(keys("keys = \"verify-required\"\n"), KeyDemand::verify_required);
}

TEST(Policy, WhoOpenedAnIncidentDoesNotUseItAlone) {
  const auto ask = [](const Policy& p, std::string opener) {
    return decide(p, {"bob", "db-prod", {}, monday_noon(), true, std::move(opener)});
  };
  const Policy may = *load_policy(sample(), "p.toml");
  EXPECT_EQ(ask(may, "carol").outcome, Verdict::Outcome::allow);
  EXPECT_FALSE(ask(may, "carol").self_opened);
  EXPECT_EQ(ask(may, "bob").outcome, Verdict::Outcome::allow);
  EXPECT_TRUE(ask(may, "bob").self_opened);
  EXPECT_TRUE(ask(may, "").self_opened);  // unknown: as if it were the person

  const std::string flag = "opener_may_use = true ";
  const Policy other = *load_policy(with(flag, "#"), "p.toml");
  EXPECT_EQ(ask(other, "carol").outcome, Verdict::Outcome::allow);
  for (const char* opener : {"bob", ""}) {
    EXPECT_EQ(ask(other, opener).outcome, Verdict::Outcome::approval);
    EXPECT_EQ(ask(other, opener).approvers, std::set<std::string>{"carol"});  // who could have opened it as well
    EXPECT_FALSE(ask(other, opener).self_opened);
  }
  const Policy named = *load_policy(with(flag, "approvers = [\"person:erin\", \"person:bob\"] #"), "p.toml");
  EXPECT_EQ(ask(named, "bob").approvers, std::set<std::string>{"erin"});
  const Policy nobody = *load_policy(with(flag, "approvers = [\"person:bob\"] #"), "p.toml");
  EXPECT_EQ(ask(nobody, "bob").denial->code, Code::approvals_missing);
  EXPECT_EQ(ask(nobody, "carol").outcome, Verdict::Outcome::allow);
  EXPECT_NE(problem(with("approvals = 1 ", "approvals = 0 ")).find("approvers, though no approval is needed"), std::string::npos);
}

TEST(Policy, AnApprovalThatNobodyCanGiveIsADenialAtOnce) {
  const Policy p = *load_policy(with("security = [\"carol\"]", "security = [\"carol\", \"alice\"]"), "p.toml");
  Policy two = p;
  two.rules[0].approvals[0].count = 2;
  EXPECT_EQ(decide(p, {"alice", "db-prod", {}, monday_noon()}).outcome, Verdict::Outcome::approval);
  EXPECT_EQ(decide(two, {"bob", "db-prod", {}, monday_noon()}).outcome, Verdict::Outcome::approval);
  const Verdict alone = decide(two, {"alice", "db-prod", {}, monday_noon()});
  ASSERT_TRUE(alone.denial);
  EXPECT_EQ(alone.denial->code, Code::approvals_missing);
  EXPECT_NE(alone.denial->message.find("wants 2 of group:security to approve, and besides alice too few are there"), std::string::npos)
      << alone.denial->message;
}

TEST(Incidents, NameWhatExistsAndEndInTime) {
  const Policy p = *load_policy(sample(), "p.toml");
  EXPECT_TRUE(check_incident_names(p, {"db-prod", "label:prod"}));
  EXPECT_EQ(check_incident_names(p, {}).error().code, Code::unknown_target);
  EXPECT_EQ(check_incident_names(p, {"db-prof"}).error().hint, "did you mean \"db-prod\"?");
  EXPECT_EQ(check_incident_names(p, {"label:prot"}).error().hint, "did you mean \"prod\"?");
  EXPECT_EQ(check_incident_names(p, {"prod"}).error().code, Code::unknown_target);
  EXPECT_TRUE(incident_covers(p, {"label:prod"}, "db-prod"));
  EXPECT_FALSE(incident_covers(p, {"label:prod"}, "mgmt"));
  EXPECT_FALSE(incident_covers(p, {"label:prod", "nowhere"}, "nowhere"));
  const WallTime at = monday_noon();
  using std::chrono::hours;
  EXPECT_TRUE(check_incident_end(p, at, at + hours(8)));
  EXPECT_EQ(check_incident_end(p, at, at + hours(8) + Seconds(1)).error().code, Code::duration_over_limit);
  EXPECT_EQ(check_incident_end(p, at, at).error().code, Code::bad_time);
}

class Lists : public testing::Test {
 protected:
  static std::string text(const std::string& test = "groups = { security = [\"carol\"] }") {
    std::string text = with("security = [\"carol\"]", "security = { file = \"lists/security\", max_age = \"26h\" }");
    return text.insert(text.find("expect = "), test + "\n");
  }
  static Verdict verdict(const Policy& p) { return decide(p, {"alice", "db-prod", {}, monday_noon()}); }
  static SyncedFiles files(const std::string& bytes) {
    return {{"lists/security", SyncedFile{bytes, monday_noon() - std::chrono::hours(25)}}};
  }
};

TEST_F(Lists, AreWhatTheFileSaysUntilItIsStale) {
  Policy p = *load_policy(text(), "p.toml");
  EXPECT_EQ(verdict(p).denial->code, Code::approvals_missing);  // nothing taken yet
  EXPECT_EQ(p.digest, p.file_sha256);
  take_lists(p, files("# synced\n  carol\r\nerin # on leave\n\n"), monday_noon());
  EXPECT_EQ(verdict(p).approvers, (std::set<std::string>{"carol", "erin"}));
  EXPECT_EQ(p.lists[0].problem, "");
  EXPECT_EQ(p.stale_at(), monday_noon() + std::chrono::hours(1));
  EXPECT_EQ(p.digest, sha256_hex(p.file_sha256 + "  policy.toml\n" + sha256_hex("carol\nerin\n") + "  groups.security\n"));
  take_lists(p, files("carol\nerin"), *p.stale_at());
  EXPECT_NE(p.lists[0].problem.find("lists/security: it was last written at"), std::string::npos) << p.lists[0].problem;
  EXPECT_EQ(verdict(p).denial->code, Code::approvals_missing);
  EXPECT_FALSE(p.stale_at());
}

TEST_F(Lists, ThatAreBadAreEmptyAndSaySo) {
  const struct { SyncedFiles files; const char* says; } kCases[] = {
      {{}, "is missing"},
      {{{"lists/security", fail(Code::unsafe_file, "may be written by others")}}, "may be written by others"},
      {files("carol\nev\x1b[2Jil\n"), "line 2: \"ev\\u{1b}[2Jil\" is no plain name"},
      {files("carol erin\n"), "line 1"},
      {files(std::string("car\0ol\n", 7)), "line 1"},
      {files("carol\n" + std::string(1 << 20, '#')), "over 1048576 bytes"},
  };
  for (const auto& c : kCases) {
    Policy p = *load_policy(text(), "p.toml");
    take_lists(p, c.files, monday_noon());
    EXPECT_NE(p.lists[0].problem.find(c.says), std::string::npos) << p.lists[0].problem;
    EXPECT_TRUE(p.groups.at("security").empty());
    const auto why = explain(p, {"alice", "db-prod", {}, monday_noon()});
    EXPECT_NE(std::find(why.begin(), why.end(), "list: " + p.lists[0].problem), why.end());
  }
}

TEST_F(Lists, DoNotDecideWhetherAPolicyLoads) {
  EXPECT_NE(problem(text("")).find("expected approval, got deny"), std::string::npos);
  EXPECT_NE(problem(text("groups = { platform = [\"carol\"] }")).find("does not come from a file"), std::string::npos);
}

TEST(Policy, ErrorsNameLineReasonAndRemedy) {
  EXPECT_NE(problem("version = 1\nrealm = ").find("p.toml:2:"), std::string::npos);
  EXPECT_NE(problem("version = 1\n[[= 1]]\n").find("p.toml:2:"), std::string::npos);  // ended a debug build
  const struct { const char *from, *to, *says; } kCases[] = {
      {"version = 1", "version = 2", "version must be 1"},
      {"version = 1", "versoin = 1", "version"},
      {"realm = ", "ream = \"x\"\nrealm = ", "unknown key \"ream\" (did you mean \"realm\"?"},
      {"gateways = [\"gw1\"]", "gateways = [\"gw9\"]", "there is no gateway \"gw9\" (did you mean \"gw1\"?"},
      {"jump_hosts = [\"jump1\"]", "jump_hosts = [\"jump7\"]", "there is no jump host"},
      {"who = [\"group:platform\"]", "who = [\"group:platfrom\"]", "there is no group \"platfrom\" (did you mean \"platform\"?"},
      {"who = [\"group:platform\"]", "who = [\"platform\"]", "names nobody"},
      {"targets = [\"label:database\"]", "targets = [\"label:databse\"]", "no target has the label"},
      {"approvals = 1 ", "approvals = \"one\" ", "\"approvals\" must be"},
      {"tcp 10.60.10.20:5432", "tcp 10.60.10.20", "no port"},
      {"tcp 10.60.10.20:5432", "tcp 10.90.1.1:5432", "reaches into the pool"},
      {"duration = \"60m\"", "duration = 60", "\"duration\" must be"},
      {"Europe/Istanbul", "Europe/Ankara", "unknown time zone"},
      {"expect = \"approval\"", "expect = \"allow\"", "expected allow, got approval"},
      {"approvers = [\"carol\"]                  #", "approvers = [\"bob\"] #", "other approvers: carol"},
      {"during = \"incident\"", "during = \"night\"", "\"during\" cannot be \"night\" (write incident)"},
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
