#include "policy/decide.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "policy/matching.h"
#include "policy/nearest.h"

namespace jitwg {
namespace {

Verdict deny(Code code, std::string message, std::string hint = {}, std::string rule = {}) {
  Verdict verdict;
  verdict.denial = Error{code, std::move(message), std::move(hint)};
  verdict.rule = std::move(rule);
  return verdict;
}

// Gives one more place to a decider, moving others along if that helps (Kuhn's augmenting path).
struct Matcher {
  const std::vector<std::vector<bool>>& fits;  // [decider][place]
  std::vector<int> holder;                     // of each place, -1 = free

  bool place(size_t decider, std::vector<bool>& tried) {
    for (size_t p = 0; p < holder.size(); ++p) {
      if (!fits[decider][p] || tried[p]) continue;
      tried[p] = true;
      if (holder[p] < 0 || place(static_cast<size_t>(holder[p]), tried)) {
        holder[p] = static_cast<int>(decider);
        return true;
      }
    }
    return false;
  }
};

// "2 of group:a, person:b and 1 of oncall:c"
std::string describe(const std::vector<ApprovalPlace>& places) {
  std::string text;
  for (const ApprovalPlace& place : places) {
    text += (text.empty() ? "" : " and ") + std::to_string(place.count) + " of ";
    for (size_t i = 0; i < place.from.size(); ++i) text += (i == 0 ? "" : ", ") + place.from[i].str();
    if (place.from.empty()) text += "[rights] incident_open";
  }
  return text;
}

}  // namespace

std::string_view name(Verdict::Outcome outcome) {
  switch (outcome) {
    case Verdict::Outcome::allow: return "allow";
    case Verdict::Outcome::approval: return "approval";
    case Verdict::Outcome::deny: return "deny";
  }
  return "deny";
}

Access resolve(const Policy& policy, const Target& target, const std::string& person) {
  Access access{target.scope, std::nullopt, target.gateways, target.jump_hosts, target.names, target.nat};
  for (const std::string& host : target.jump_hosts)
    for (const IpAddress& address : policy.jump_hosts.at(host).addresses)
      access.scope.push_back({Protocol::tcp, Prefix::host(address), 22, 22});
  access.scope = normalise(std::move(access.scope));
  if (!target.jump_hosts.empty()) access.login = target.login == "{person}" ? person : target.login;
  return access;
}

ApprovalPlace opener_place(const Policy& policy, const Rule& rule) {
  if (!rule.opener_approvers.empty()) return {rule.opener_approvers, 1};
  const auto openers = policy.rights.find("incident_open");
  return {openers == policy.rights.end() ? std::vector<Member>{} : openers->second, 1};
}

Verdict decide(const Policy& policy, const Question& q) {
  const auto found = policy.targets.find(q.target);
  if (found == policy.targets.end())
    return deny(Code::unknown_target, "there is no target \"" + escape_for_terminal(q.target) + "\"",
                nearest(q.target, keys_of(policy.targets)));
  const Target& target = found->second;

  for (const DenyRule& rule : policy.denies)
    if (matches(policy, rule.who, rule.targets, q.person, target))
      return deny(Code::denied_by_rule, "the rule \"" + rule.name + "\" forbids it", "no approval can change that", rule.name);

  const Rule* chosen = nullptr;
  const Rule* closed = nullptr;  // would match at another hour
  for (const Rule& rule : policy.rules) {
    if (rule.during_incident != q.incident || !matches(policy, rule.who, rule.targets, q.person, target)) continue;
    if (rule.hours && !rule.hours->contain(q.at)) {
      if (!closed) closed = &rule;
      continue;
    }
    chosen = &rule;
    break;
  }
  if (!chosen && closed)
    return deny(Code::outside_hours, "the rule \"" + closed->name + "\" holds only " + closed->hours->str(), {}, closed->name);
  if (!chosen)
    return deny(Code::no_rule, "no rule lets " + q.person + " reach " + q.target + (q.incident ? " in an incident" : ""),
                "jitwg policy explain --person " + q.person + " --target " + q.target + " says why");

  const Seconds duration = q.duration.value_or(policy.duration);
  const Seconds most = chosen->max_duration.value_or(policy.max_duration);
  if (duration > most)
    return deny(Code::duration_over_limit,
                render_duration(duration) + " is longer than the " + render_duration(most) + " of the rule \"" + chosen->name + "\"",
                "ask for at most " + render_duration(most), chosen->name);
  if (duration < limits::kMinDuration)
    return deny(Code::bad_value, "a duration of " + render_duration(duration), "at least 10s", chosen->name);

  for (const std::string& host : target.jump_hosts)
    if (!policy.jump_hosts.contains(host))
      return deny(Code::bug, "the policy has no jump host \"" + host + "\", which " + q.target + " names", {}, chosen->name);

  Verdict verdict;
  verdict.rule = chosen->name;
  verdict.duration = duration;
  verdict.access = resolve(policy, target, q.person);
  verdict.keys = chosen->keys;
  verdict.approvals = chosen->approvals;
  if (q.incident && chosen->approvals.empty() && (q.opened_by.empty() || q.opened_by == q.person)) {
    if (chosen->opener_may_use) verdict.self_opened = true;
    else verdict.approvals = {opener_place(policy, *chosen)};
  }
  for (const ApprovalPlace& place : verdict.approvals) {
    const auto people = policy.people(place.from);
    verdict.approvers.insert(people.begin(), people.end());
  }
  verdict.approvers.erase(q.person);
  // Waiting for an approval that nobody can give would be a denial that nobody says.
  if (!approvals_filled(policy, verdict.approvals, verdict.approvers))
    return deny(Code::approvals_missing,
                "the rule \"" + chosen->name + "\" wants " + describe(verdict.approvals) + " to approve, and besides " + q.person +
                    (verdict.approvers.empty() ? " nobody is there" : " too few are there"),
                "whoever keeps the policy can name more approvers", chosen->name);
  verdict.outcome = verdict.approvals.empty() ? Verdict::Outcome::allow : Verdict::Outcome::approval;
  return verdict;
}

bool approvals_filled(const Policy& policy, const std::vector<ApprovalPlace>& places,
                      const std::set<std::string>& deciders) {
  std::vector<const ApprovalPlace*> seats;
  for (const ApprovalPlace& place : places)
    for (int i = 0; i < place.count; ++i) seats.push_back(&place);
  std::vector<std::vector<bool>> fits;
  for (const std::string& person : deciders) {
    auto& row = fits.emplace_back();
    for (const ApprovalPlace* seat : seats) row.push_back(policy.is_any(seat->from, person));
  }
  Matcher matcher{fits, std::vector<int>(seats.size(), -1)};
  size_t filled = 0;
  for (size_t d = 0; d < fits.size(); ++d) {
    std::vector<bool> tried(seats.size());
    if (filled < seats.size() && matcher.place(d, tried)) ++filled;
  }
  return filled == seats.size();
}

}  // namespace jitwg
