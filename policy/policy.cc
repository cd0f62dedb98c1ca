#include "policy/policy.h"

#include <algorithm>

#include "policy/decide.h"

namespace jitwg {

TargetSelector TargetSelector::parse(std::string_view text) {
  const bool label = text.starts_with("label:");
  return {label, std::string(label ? text.substr(6) : text)};
}

std::string Member::str() const {
  return (kind == Kind::group ? "group:" : kind == Kind::oncall ? "oncall:" : "person:") + name;
}

std::string_view name(KeyDemand keys) {
  switch (keys) {
    case KeyDemand::any: return "any";
    case KeyDemand::sk: return "sk";
    case KeyDemand::verify_required: return "verify-required";
  }
  return "any";
}

bool Policy::is_member(const Member& member, std::string_view person) const {
  const auto in = [&](const auto& table) {
    const auto it = table.find(member.name);
    return it != table.end() && it->second.contains(std::string(person));
  };
  switch (member.kind) {
    case Member::Kind::group: return in(groups);
    case Member::Kind::oncall: return in(oncall);
    case Member::Kind::person: return member.name == person;
  }
  return false;
}

bool Policy::is_any(const std::vector<Member>& members, std::string_view person) const {
  return std::any_of(members.begin(), members.end(), [&](const Member& m) { return is_member(m, person); });
}

bool Policy::has_right(std::string_view right, std::string_view person) const {
  const auto it = rights.find(std::string(right));
  return it != rights.end() && is_any(it->second, person);
}

std::set<std::string> Policy::people(const std::vector<Member>& members) const {
  std::set<std::string> all;
  for (const Member& member : members) {
    if (member.kind == Member::Kind::person) all.insert(member.name);
    const auto& table = member.kind == Member::Kind::oncall ? oncall : groups;
    if (member.kind != Member::Kind::person)
      if (const auto it = table.find(member.name); it != table.end()) all.insert(it->second.begin(), it->second.end());
  }
  return all;
}

std::vector<std::string> failing_tests(const Policy& policy, std::string_view where) {
  std::vector<std::string> failures;
  std::optional<Policy> copy;
  if (!policy.lists.empty()) copy = policy;
  for (const PolicyTest& test : policy.tests) {
    if (copy)
      for (const SyncedList& list : copy->lists) {
        const auto& brought = list.oncall ? test.oncall : test.groups;
        const auto found = brought.find(list.name);
        (list.oncall ? copy->oncall : copy->groups)[list.name] = found == brought.end() ? std::set<std::string>() : found->second;
      }
    // Who opened the incident is a question of its own: left out of a test, it was somebody else.
    const std::string opener = test.opened_by.empty() ? "(somebody else)" : test.opened_by;
    const Verdict verdict = decide(copy ? *copy : policy, {test.person, test.target, test.duration, test.at, test.incident, opener});
    const std::string line = std::string(where) + ":" + std::to_string(test.line) + ": test (" + test.person + " to " +
                             test.target + "): ";
    if (name(verdict.outcome) != test.expect)
      failures.push_back(line + "expected " + test.expect + ", got " + std::string(name(verdict.outcome)) +
                         (verdict.denial ? " (" + verdict.denial->message + ")" : ""));
    else if (test.approvers &&
             std::set<std::string>(test.approvers->begin(), test.approvers->end()) != verdict.approvers) {
      std::string got;
      for (const std::string& person : verdict.approvers) got += (got.empty() ? "" : ", ") + person;
      failures.push_back(line + "other approvers: " + (got.empty() ? "nobody" : got));
    }
  }
  return failures;
}

Result<Policy> load_policy(std::string_view toml, std::string_view where) {
  JITWG_ASSIGN(Policy policy, parse_policy(toml, where));
  const auto failures = failing_tests(policy, where);
  if (!failures.empty())
    return fail(Code::bad_policy,
                failures.front() + (failures.size() > 1 ? ", and " + std::to_string(failures.size() - 1) + " more" : ""),
                "mend the rule or the test; the running policy stays");
  return policy;
}

}  // namespace jitwg
