// What makes a policy that loads mean something else than its author thinks.
#include <algorithm>

#include "broker/base/encoding.h"
#include "policy/check_policy.h"
#include "policy/decide.h"
#include "policy/matching.h"

namespace jitwg {
namespace {

using Bits = std::vector<bool>;

// Somebody whom `m` stands for is always one of `who`. Of a synced list that is certain only by its own name.
bool covers(const Policy& p, const std::vector<Member>& who, const Member& m) {
  for (const Member& one : who)
    if (one.kind == m.kind && one.name == m.name) return true;
  if (is_synced(p, {m})) return false;
  const auto people = p.people({m});
  const auto is_there = [&](const std::string& person) {
    return std::any_of(who.begin(), who.end(), [&](const Member& one) { return !is_synced(p, {one}) && p.is_member(one, person); });
  };
  return std::all_of(people.begin(), people.end(), is_there);
}

bool covers(const Policy& p, const std::vector<Member>& who, const std::vector<Member>& others) {
  return std::all_of(others.begin(), others.end(), [&](const Member& m) { return covers(p, who, m); });
}

class Warner {
 public:
  explicit Warner(const Policy& policy) : p_(policy) {}

  std::vector<PolicyProblem> run() {
    check_names();
    check_reach();
    for (const Rule& rule : p_.rules) check_approvers(rule);
    if (p_.duration > p_.max_duration)
      add(1, "[defaults] duration is longer than max_duration: a request without --for is denied", "a shorter duration");
    return std::move(found_);
  }

 private:
  void add(int line, const std::string& message, const std::string& hint) {
    found_.push_back({line, 1, printable(message), printable(hint)});
  }

  void check_names() {
    std::map<std::string, int> first;
    const auto check = [&](const std::string& name, int line) {
      const auto [it, fresh] = first.emplace(name, line);
      if (!fresh)
        add(line, "the name \"" + name + "\" is that of the rule in line " + std::to_string(it->second) + ", too",
            "give each a name of its own: it is what people are told");
    };
    for (const Rule& rule : p_.rules) check(rule.name, rule.line);
    for (const DenyRule& deny : p_.denies) check(deny.name, deny.line);
  }

  Bits targets_of(const std::vector<TargetSelector>& selectors) const {
    Bits bits;
    for (const auto& [unused, target] : p_.targets) bits.push_back(selects(selectors, target));
    return bits;
  }

  static bool holds(const Bits& wide, const Bits& narrow) {
    for (size_t i = 0; i < wide.size(); ++i)
      if (narrow[i] && !wide[i]) return false;
    return true;
  }

  // A rule that an earlier one, or a deny, decides for everybody and everything.
  void check_reach() {
    std::vector<Bits> reach, denied;
    for (const DenyRule& deny : p_.denies) denied.push_back(targets_of(deny.targets));
    for (const Rule& rule : p_.rules) reach.push_back(targets_of(rule.targets));
    for (size_t i = 0; i < p_.rules.size(); ++i) {
      const Rule& rule = p_.rules[i];
      const auto deny = std::find_if(p_.denies.begin(), p_.denies.end(), [&](const DenyRule& one) {
        return holds(denied[static_cast<size_t>(&one - p_.denies.data())], reach[i]) && covers(p_, one.who, rule.who);
      });
      if (deny != p_.denies.end()) {
        add(rule.line, "the rule \"" + rule.name + "\" never applies: \"" + deny->name + "\" denies all of it", "a deny always wins");
        continue;
      }
      for (size_t j = 0; j < i; ++j) {
        const Rule& earlier = p_.rules[j];
        const bool always = !earlier.hours || (rule.hours && rule.hours->str() == earlier.hours->str());
        if (earlier.during_incident != rule.during_incident || !always || !holds(reach[j], reach[i]) || !covers(p_, earlier.who, rule.who)) continue;
        add(rule.line, "the rule \"" + rule.name + "\" is never reached: \"" + earlier.name + "\" in line " + std::to_string(earlier.line) +
                           " decides all of it",
            "the first rule that matches decides: put the narrower one first");
        break;
      }
    }
  }

  // Nobody approves their own request, so a place that only the requester could fill stays empty.
  void check_approvers(const Rule& rule) {
    size_t places = 0;
    for (const ApprovalPlace& place : rule.approvals) places += static_cast<size_t>(place.count);
    std::set<std::string> people, scarce;  // a place for which there are more people than places is filled without anybody
    for (const ApprovalPlace& place : rule.approvals) {
      if (is_synced(p_, place.from)) return;
      const auto here = p_.people(place.from);
      people.insert(here.begin(), here.end());
      if (here.size() <= places) scarce.insert(here.begin(), here.end());
    }
    std::string alone;
    for (const std::string& person : scarce) {
      if (!p_.is_any(rule.who, person)) continue;
      people.erase(person);
      if (!approvals_filled(p_, rule.approvals, people)) alone += (alone.empty() ? "" : ", ") + person;
      people.insert(person);
    }
    if (!alone.empty())
      add(rule.line, "the rule \"" + rule.name + "\": nobody could approve a request of " + alone, "nobody approves their own: name more approvers");
  }

  const Policy& p_;
  std::vector<PolicyProblem> found_;
};

}  // namespace

PolicyReading check_policy(std::string_view toml) {
  PolicyReading reading = read_whole_policy(toml, true);
  if (!reading.policy) return reading;
  reading.warnings = Warner(*reading.policy).run();
  order(reading.warnings);
  return reading;
}

}  // namespace jitwg
