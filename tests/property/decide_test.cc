// decide() against a second implementation, written from the words of DESIGN §6 and as naive as can be, over random policies that
// go through their text: so the reader is tested, too. And diff_policies() against decide(). JITWG_SEED=N repeats a run.
#include "policy/decide.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <random>

#include "broker/base/encoding.h"
#include "policy/policy_diff.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg {
namespace {

using Names = std::vector<std::string>;

const WallTime kMonday = *parse_time("2026-03-02T00:00:00Z");

struct Place {
  Names from;
  int count = 1;
};

struct ModelRule {
  std::string name;
  Names who, targets, approvers;
  std::vector<Place> places;  // written as a list; otherwise as `count` of `approvers`
  int count = 0;
  bool as_list = false, incident = false, opener_may_use = false;
  int max_minutes = 0;  // 0: the default's
  int hours = 0;        // 0: always; 1: Mon-Fri 08:00-17:00; 2: Sat,Sun 22:00-06:00
  std::string keys;
};

struct ModelTarget {
  std::string name;
  Names labels;
  bool jump = false, own_login = false, nat = false;
  int port = 0;
};

// A policy before it is text.
struct Model {
  std::map<std::string, Names> groups, oncall;
  std::map<std::string, int> list_age;  // "groups.g1": comes from a file of so many hours
  std::vector<ModelTarget> targets;
  std::vector<ModelRule> rules, denies;
  Names openers;
  int default_max = 90;
};

struct Answer {
  std::string outcome, code, rule, keys;
  std::set<std::string> approvers;
  Names scope;
  std::string login;
  bool self_opened = false, nat = false;
  bool operator==(const Answer&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Answer& a) {
  out << a.outcome << " " << a.code << " by " << a.rule << " keys " << a.keys << " login " << a.login << (a.self_opened ? " self" : "");
  for (const auto& person : a.approvers) out << " " << person;
  for (const auto& entry : a.scope) out << " [" << entry << "]";
  return out;
}

// --- the naive one ---

Names people_named(const Model& m, const std::string& text) {
  const std::string kind = text.substr(0, text.find(':')), name = text.substr(text.find(':') + 1);
  if (kind == "person") return {name};
  const std::string title = (kind == "group" ? "groups." : "oncall.") + name;
  if (const auto age = m.list_age.find(title); age != m.list_age.end() && age->second >= 26) return {};
  return kind == "group" ? m.groups.at(name) : m.oncall.at(name);
}

bool has(const Names& names, const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); }

bool is_one_of(const Model& m, const Names& members, const std::string& person) {
  for (const std::string& text : members)
    if (has(people_named(m, text), person)) return true;
  return false;
}

bool is_target_of(const Names& selectors, const ModelTarget& target) {
  for (const std::string& text : selectors)
    if (text == target.name || (text.starts_with("label:") && has(target.labels, text.substr(6)))) return true;
  return false;
}

bool in_hours(int hours, WallTime at) {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(at - kMonday).count();
  const auto day = minutes / 1440 % 7, minute = minutes % 1440;  // 0 = Monday
  if (hours == 1) return day < 5 && minute >= 8 * 60 && minute < 17 * 60;
  if (hours == 2) return ((day == 5 || day == 6) && minute >= 22 * 60) || ((day == 6 || day == 0) && minute < 6 * 60);
  return true;
}

// Can every place get a person of its own?
bool can_fill(const Model& m, std::vector<Place> places, const std::set<std::string>& people) {
  while (!places.empty() && places.back().count == 0) places.pop_back();
  if (places.empty()) return true;
  --places.back().count;
  for (const std::string& person : people)
    if (is_one_of(m, places.back().from, person)) {
      std::set<std::string> others = people;
      others.erase(person);
      if (can_fill(m, places, others)) return true;
    }
  return false;
}

Answer naive(const Model& m, const Question& q) {
  const auto denied = [](std::string code, std::string rule = {}) {
    Answer a;
    a.outcome = "deny";
    a.code = std::move(code);
    a.rule = std::move(rule);
    return a;
  };
  const ModelTarget* target = nullptr;
  for (const ModelTarget& one : m.targets)
    if (one.name == q.target) target = &one;
  if (!target) return denied("unknown_target");
  for (const ModelRule& deny : m.denies)
    if (is_one_of(m, deny.who, q.person) && is_target_of(deny.targets, *target)) return denied("denied_by_rule", deny.name);
  const ModelRule* chosen = nullptr;
  std::string other_hours;
  for (const ModelRule& rule : m.rules) {
    if (chosen || rule.incident != q.incident || !is_one_of(m, rule.who, q.person) || !is_target_of(rule.targets, *target)) continue;
    if (in_hours(rule.hours, q.at)) chosen = &rule;
    else if (other_hours.empty()) other_hours = rule.name;
  }
  if (!chosen) return other_hours.empty() ? denied("no_rule") : denied("outside_hours", other_hours);
  const auto asked = q.duration ? q.duration->count() : 3600;
  if (asked > 60 * (chosen->max_minutes ? chosen->max_minutes : m.default_max)) return denied("duration_over_limit", chosen->name);
  if (asked < 10) return denied("bad_value", chosen->name);

  Answer a;
  a.rule = chosen->name;
  a.keys = chosen->keys.empty() ? "any" : chosen->keys;
  std::vector<Place> places = chosen->places;
  if (!chosen->as_list && chosen->count > 0) places = {{chosen->approvers, chosen->count}};
  if (chosen->incident && places.empty() && (q.opened_by.empty() || q.opened_by == q.person)) {
    if (chosen->opener_may_use) a.self_opened = true;
    else places = {{chosen->approvers.empty() ? m.openers : chosen->approvers, 1}};
  }
  for (const Place& place : places)
    for (const std::string& text : place.from)
      for (const std::string& person : people_named(m, text))
        if (person != q.person) a.approvers.insert(person);
  if (!can_fill(m, places, a.approvers)) return denied("approvals_missing", chosen->name);
  a.outcome = places.empty() ? "allow" : "approval";
  a.scope = {"tcp 10.60.10.20:" + std::to_string(target->port)};
  if (target->jump) a.scope.push_back("tcp 10.60.0.5:22");
  std::sort(a.scope.begin(), a.scope.end());
  if (target->jump) a.login = target->own_login ? q.person : "ops";
  a.nat = target->nat;
  return a;
}

// --- the real one ---

Answer real(const Policy& policy, const Question& q) {
  const Verdict v = decide(policy, q);
  Answer a;
  a.outcome = std::string(name(v.outcome));
  a.rule = v.rule;
  a.code = v.denial ? std::string(name(v.denial->code)) : "";
  EXPECT_EQ(v.denial.has_value(), v.outcome == Verdict::Outcome::deny);
  if (v.denial) {
    EXPECT_FALSE(v.denial->message.empty());
    return a;
  }
  a.keys = std::string(name(v.keys));
  a.approvers = v.approvers;
  a.scope = render_scope(v.access.scope);
  a.login = v.access.login.value_or("");
  a.self_opened = v.self_opened;
  a.nat = v.access.nat;
  return a;
}

class Random {
 public:
  explicit Random(uint64_t seed) : random_(seed) {}
  int number(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }
  bool chance(int percent) { return number(100) < percent; }
  template <typename T>
  const T& one(const std::vector<T>& list) { return list[static_cast<size_t>(number(static_cast<int>(list.size())))]; }

  std::string person() { return "p" + std::to_string(number(6)); }
  std::string member() {
    const int kind = number(10);
    return kind < 5 ? "group:g" + std::to_string(number(3)) : kind < 8 ? "oncall:o" + std::to_string(number(2)) : "person:" + person();
  }
  Names some(int most, const std::function<std::string()>& make) {
    std::set<std::string> names;
    for (int i = 1 + number(most); i > 0; --i) names.insert(make());
    return {names.begin(), names.end()};
  }
  Names members() { return some(3, [&] { return member(); }); }
  Names selectors(const Model& m) {
    return some(2, [&]() -> std::string {
      if (chance(50)) return one(m.targets).name;
      const ModelTarget& target = one(m.targets);
      return target.labels.empty() ? target.name : "label:" + one(target.labels);
    });
  }

  ModelRule rule(const Model& m, int n) {
    ModelRule rule{.name = "rule " + std::to_string(n), .who = members(), .targets = selectors(m)};
    rule.incident = chance(35);
    rule.max_minutes = chance(30) ? 1 + number(240) : 0;
    rule.hours = chance(30) ? 1 + number(2) : 0;
    rule.keys = chance(20) ? (chance(50) ? "sk" : "verify-required") : "";
    rule.as_list = chance(30);
    if (rule.as_list)
      for (int i = 1 + number(3); i > 0; --i) rule.places.push_back({members(), 1 + number(2)});
    else rule.count = chance(50) ? 0 : 1 + number(2);
    if (rule.incident && !rule.as_list && rule.count == 0) rule.opener_may_use = chance(40);
    if (rule.count > 0 || (rule.incident && !rule.as_list && !rule.opener_may_use && chance(50))) rule.approvers = members();
    return rule;
  }

  Model model() {
    Model m;
    const auto lists = [&](std::map<std::string, Names>& into, const std::string& section, const std::string& letter, int count) {
      for (int i = 0; i < count; ++i) {
        const std::string name = letter + std::to_string(i);
        into[name] = some(4, [&] { return person(); });
        if (chance(25)) m.list_age[section + name] = number(40);
      }
    };
    lists(m.groups, "groups.", "g", 3);
    lists(m.oncall, "oncall.", "o", 2);
    for (int i = 0; i < 4; ++i) {
      ModelTarget target{.name = "t" + std::to_string(i)};
      if (chance(80)) target.labels = some(2, [&] { return "l" + std::to_string(number(3)); });
      target.jump = chance(50);
      target.own_login = chance(70);
      target.nat = chance(20);
      target.port = 1000 + number(3);
      m.targets.push_back(std::move(target));
    }
    for (int i = 0, count = 1 + number(7); i < count; ++i) m.rules.push_back(rule(m, i));
    for (int i = number(3); i > 0; --i) m.denies.push_back({.name = "deny " + std::to_string(i), .who = {member()}, .targets = selectors(m)});
    m.openers = chance(80) ? members() : Names();
    m.default_max = 1 + number(180);
    return m;
  }

  // One thing of it is another.
  Model changed(Model m) {
    switch (number(9)) {
      case 0: m.rules.push_back(rule(m, 99)); break;
      case 1: m.rules.erase(m.rules.begin() + number(static_cast<int>(m.rules.size()))); break;
      case 2: std::swap(m.rules.front(), m.rules.back()); break;
      case 3: m.groups["g0"] = some(4, [&] { return person(); }); break;
      case 4: m.oncall["o1"] = some(4, [&] { return person(); }); break;
      case 5: m.targets[0].port += 1; break;
      case 6: m.denies.push_back({.name = "new deny", .who = {member()}, .targets = selectors(m)}); break;
      case 7: m.rules[0].keys = m.rules[0].keys.empty() ? "sk" : ""; break;
      case 8: m.targets[1].jump = !m.targets[1].jump; break;
    }
    return m;
  }

  Question question() {
    Question q{person(), "t" + std::to_string(number(chance(5) ? 6 : 4)), std::nullopt, kMonday + Seconds(number(14 * 86400)), chance(40)};
    if (chance(80)) q.duration = Seconds(chance(10) ? number(20) : number(4 * 3600));
    if (chance(70)) q.opened_by = chance(50) ? q.person : person();
    return q;
  }

 private:
  std::mt19937_64 random_;
};

std::string list_of(const Names& names) {
  std::string text = "[";
  for (const std::string& one : names) text += (text == "[" ? "\"" : ", \"") + one + "\"";
  return text + "]";
}

struct Texts {
  std::string node_key = ssh::PrivateKey::generate().public_key().str(), jump_key = ssh::PrivateKey::generate().public_key().str(),
              host_key = ssh::PrivateKey::generate().public_key().str();
  std::string wireguard = [] {
    std::string key = random_bytes(32);
    key[31] = static_cast<char>(key[31] & 0x3f);
    return base64_encode(key);
  }();

  std::string policy(const Model& m) const {
    std::string t = "version = 1\nrealm = \"r\"\n[defaults]\nduration = \"60m\"\nmax_duration = \"" + std::to_string(m.default_max) +
                    "m\"\npools = [\"10.90.0.0/16\"]\n";
    const auto lists = [&](const std::map<std::string, Names>& all, const std::string& section) {
      t += "[" + section + "]\n";
      for (const auto& [name, people] : all)
        t += name + " = " + (m.list_age.contains(section + "." + name) ? "{ file = \"" + name + "\", max_age = \"26h\" }" : list_of(people)) + "\n";
    };
    lists(m.groups, "groups");
    lists(m.oncall, "oncall");
    t += "[gateways.gw1]\nendpoint = \"192.0.2.10:51820\"\nwireguard_key = \"" + wireguard + "\"\nnode_key = \"" + node_key + "\"\n";
    t += "[jump_hosts.jump1]\naddresses = [\"10.60.0.5\"]\nhost_keys = [\"" + host_key + "\"]\nnode_key = \"" + jump_key + "\"\n";
    for (const ModelTarget& target : m.targets)
      t += "[targets." + target.name + "]\ngateways = [\"gw1\"]\nscope = [\"tcp 10.60.10.20:" + std::to_string(target.port) + "\"]\nlabels = " +
           list_of(target.labels) + "\nnat = " + (target.nat ? "true" : "false") + "\n" +
           (target.jump ? std::string("jump_hosts = [\"jump1\"]\nlogin = \"") + (target.own_login ? "{person}" : "ops") + "\"\n" : "");
    for (const ModelRule& rule : m.rules) t += rule_text(rule);
    for (const ModelRule& deny : m.denies)
      t += "[[deny]]\nname = \"" + deny.name + "\"\nwho = " + list_of(deny.who) + "\ntargets = " + list_of(deny.targets) + "\n";
    if (!m.openers.empty()) t += "[rights]\nincident_open = " + list_of(m.openers) + "\n";
    return t;
  }

  static std::string rule_text(const ModelRule& rule) {
    std::string t = "[[rule]]\nname = \"" + rule.name + "\"\nwho = " + list_of(rule.who) + "\ntargets = " + list_of(rule.targets) + "\napprovals = ";
    if (rule.as_list) {
      std::string places;
      for (const Place& place : rule.places)
        places += (places.empty() ? "" : ", ") + ("{ from = " + (place.from.size() == 1 ? "\"" + place.from[0] + "\"" : list_of(place.from)) +
                                                  ", count = " + std::to_string(place.count) + " }");
      t += "[" + places + "]\n";
    } else {
      t += std::to_string(rule.count) + "\n";
    }
    if (!rule.approvers.empty()) t += "approvers = " + list_of(rule.approvers) + "\n";
    if (rule.incident) t += "during = \"incident\"\n";
    if (rule.opener_may_use) t += "opener_may_use = true\n";
    if (rule.max_minutes) t += "max_duration = \"" + std::to_string(rule.max_minutes) + "m\"\n";
    if (rule.hours) t += std::string("hours = \"") + (rule.hours == 1 ? "Mon-Fri 08:00-17:00 UTC" : "Sat,Sun 22:00-06:00 UTC") + "\"\n";
    if (!rule.keys.empty()) t += "keys = \"" + rule.keys + "\"\n";
    return t;
  }

  // Nothing: it asks for more approvals than there are people, which no policy may.
  std::optional<Policy> load(const Model& m) const {
    auto policy = load_policy(this->policy(m), "p.toml");
    if (!policy) {
      EXPECT_NE(policy.error().message.find("more approvals than people"), std::string::npos) << policy.error().render() << "\n" << this->policy(m);
      return std::nullopt;
    }
    SyncedFiles files;
    for (const auto& [title, hours] : m.list_age) {
      const std::string name = title.substr(7);
      std::string bytes;
      for (const std::string& person : title.starts_with("groups.") ? m.groups.at(name) : m.oncall.at(name)) bytes += person + "\n";
      files.emplace(name, SyncedFile{bytes, kMonday - std::chrono::hours(hours)});
    }
    take_lists(*policy, files, kMonday);
    return std::move(*policy);
  }
};

class Decide : public testing::Test {
 protected:
  static uint64_t seed() {
    const char* text = std::getenv("JITWG_SEED");
    return text ? std::strtoull(text, nullptr, 10) : std::random_device{}();
  }
  const uint64_t seed_ = seed();
  Random random{seed_};
  Texts texts;
  void SetUp() override { std::printf("JITWG_SEED=%llu\n", static_cast<unsigned long long>(seed_)); }
};

TEST_F(Decide, AgreesWithTheNaiveOne) {
  std::map<std::string, int> seen;
  for (int round = 0; round < 400; ++round) {
    const Model model = random.model();
    const auto policy = texts.load(model);
    ++seen[policy ? "loaded" : "refused"];
    for (int i = 0; policy && i < 60; ++i) {
      const Question q = random.question();
      const Answer expected = naive(model, q);
      ASSERT_EQ(real(*policy, q), expected) << q.person << " to " << q.target << " at " << render_time(q.at) << (q.incident ? " incident by " : "")
                                           << q.opened_by << "\n" << texts.policy(model);
      ++seen[expected.outcome == "deny" ? expected.code : expected.outcome];
      seen["self_opened"] += expected.self_opened;
    }
  }
  // A generator that never gets somewhere tests nothing there.
  EXPECT_GT(seen["loaded"], 100);
  for (const char* outcome : {"allow", "approval", "denied_by_rule", "no_rule", "outside_hours", "duration_over_limit", "bad_value",
                              "approvals_missing", "unknown_target", "self_opened"})
    EXPECT_GT(seen[outcome], 10) << outcome;
}

TEST_F(Decide, AMatchingDenyAlwaysWins) {
  int turned = 0;
  for (int round = 0; round < 200; ++round) {
    Model model = random.model();
    const std::string person = random.person();
    const auto before = texts.load(model);
    model.denies.insert(model.denies.begin() + random.number(static_cast<int>(model.denies.size()) + 1),
                        {.name = "no", .who = {"person:" + person}, .targets = {model.targets[0].name}});
    const auto after = texts.load(model);
    if (!before || !after) continue;
    for (int i = 0; i < 20; ++i) {
      Question q = random.question();
      q.person = person;
      q.target = model.targets[0].name;
      EXPECT_EQ(real(*after, q).code, "denied_by_rule");
      turned += real(*before, q).outcome != "deny";
    }
  }
  EXPECT_GT(turned, 10);
}

TEST_F(Decide, AskingForLessNeverTurnsAllowIntoDeny) {
  int narrowed = 0;
  for (int round = 0; round < 300; ++round) {
    const auto policy = texts.load(random.model());
    for (int i = 0; policy && i < 20; ++i) {
      Question q = random.question();
      q.duration = Seconds(10 + random.number(5 * 3600));
      const Answer wide = real(*policy, q);
      q.duration = Seconds(10 + random.number(static_cast<int>(q.duration->count()) - 9));
      if (wide.outcome == "deny") continue;
      ++narrowed;
      EXPECT_EQ(real(*policy, q), wide);
    }
  }
  EXPECT_GT(narrowed, 100);
}

// What no file can say, but memory could hold: parts that are missing where something refers to them.
TEST_F(Decide, AnEvaluationErrorIsADenial) {
  int denied = 0;
  for (int round = 0; round < 300; ++round) {
    auto policy = texts.load(random.model());
    if (!policy) continue;
    const Policy whole = *policy;
    if (random.chance(70)) policy->jump_hosts.clear();
    if (random.chance(30)) policy->groups.clear();
    if (random.chance(30)) policy->oncall.erase("o0");
    if (random.chance(30)) policy->rights.clear();
    for (int i = 0; i < 20; ++i) {
      const Question q = random.question();
      const Answer broken = real(*policy, q);
      if (broken.outcome == "deny") {
        denied += broken.code == "bug";
        continue;
      }
      EXPECT_NE(policy->targets.at(q.target).jump_hosts.empty(), !broken.login.empty());
      EXPECT_TRUE(policy->jump_hosts.contains("jump1") || broken.login.empty());
    }
  }
  EXPECT_GT(denied, 20);
}

TEST_F(Decide, PlacesAreFilledAsByTrying) {
  int filled = 0;
  for (int round = 0; round < 500; ++round) {
    const Model model = random.model();
    const auto policy = texts.load(model);
    for (size_t i = 0; policy && i < model.rules.size(); ++i) {
      std::set<std::string> deciders;
      for (int n = random.number(5); n > 0; --n) deciders.insert(random.person());
      const ModelRule& rule = model.rules[i];
      const std::vector<Place> places = rule.as_list ? rule.places : std::vector<Place>{{rule.approvers, rule.count}};
      const bool expected = can_fill(model, places, deciders);
      EXPECT_EQ(approvals_filled(*policy, policy->rules[i].approvals, deciders), expected) << texts.policy(model);
      filled += expected && !policy->rules[i].approvals.empty();
    }
  }
  EXPECT_GT(filled, 50);
}

// A pair that the diff does not name gets the same answers from both policies; a gain was denied before, a loss is now.
TEST_F(Decide, TheDiffNamesWhatDiffers) {
  int named = 0, same = 0;
  for (int round = 0; round < 250; ++round) {
    const Model old_model = random.model(), new_model = random.changed(old_model);
    const auto before = texts.load(old_model), after = texts.load(new_model);
    if (!before || !after) continue;
    using Pair = std::tuple<std::string, std::string, bool>;
    std::map<Pair, AccessChange::Direction> changes;
    for (const AccessChange& change : diff_policies(*before, *after).access)
      for (const std::string& person : change.people)
        for (const std::string& target : change.targets)
          EXPECT_TRUE(changes.emplace(Pair{person, target, change.incident}, change.direction).second) << "twice: " << person << " " << target;
    EXPECT_TRUE(diff_policies(*before, *before).none());
    for (int i = 0; i < 100; ++i) {
      Question q = random.question();
      if (!q.duration) q.duration = Seconds(60);
      Answer was = real(*before, q), is = real(*after, q);
      was.rule = is.rule = {};
      if (was.outcome == "deny") was.code = {};
      if (is.outcome == "deny") is.code = {};
      const auto found = changes.find({q.person, q.target, q.incident});
      if (found == changes.end()) {
        ASSERT_EQ(was, is) << q.person << " to " << q.target << (q.incident ? " in an incident by " : " ") << q.opened_by << " at "
                           << render_time(q.at) << "\n" << texts.policy(old_model) << "\n--- after\n" << texts.policy(new_model);
        ++same;
        continue;
      }
      EXPECT_TRUE(found->second != AccessChange::Direction::gains || was.outcome == "deny");
      EXPECT_TRUE(found->second != AccessChange::Direction::loses || is.outcome == "deny");
      named += !(was == is);
    }
  }
  EXPECT_GT(named, 100);
  EXPECT_GT(same, 1000);
}

}  // namespace
}  // namespace jitwg
