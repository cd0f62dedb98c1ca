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

std::optional<std::string> failure_of(const Policy& policy, const PolicyTest& test) {
  std::optional<Policy> copy;
  if (!policy.lists.empty()) copy = policy;
  for (const SyncedList& list : policy.lists) {
    const auto& brought = list.oncall ? test.oncall : test.groups;
    const auto found = brought.find(list.name);
    (list.oncall ? copy->oncall : copy->groups)[list.name] = found == brought.end() ? std::set<std::string>() : found->second;
  }
  // Who opened the incident is a question of its own: left out of a test, it was somebody else.
  const std::string opener = test.opened_by.empty() ? "(somebody else)" : test.opened_by;
  const Verdict verdict = decide(copy ? *copy : policy, {test.person, test.target, test.duration, test.at, test.incident, opener});
  if (name(verdict.outcome) != test.expect)
    return "expected " + test.expect + ", got " + std::string(name(verdict.outcome)) +
           (verdict.denial ? " (" + verdict.denial->message + ")" : "");
  if (test.approvers && std::set<std::string>(test.approvers->begin(), test.approvers->end()) != verdict.approvers) {
    std::string got;
    for (const std::string& person : verdict.approvers) got += (got.empty() ? "" : ", ") + person;
    return "other approvers: " + (got.empty() ? "nobody" : got);
  }
  return std::nullopt;
}

Error PolicyProblem::error(std::string_view where) const {
  return {Code::bad_policy, std::string(where) + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + message, hint};
}

}  // namespace jitwg
