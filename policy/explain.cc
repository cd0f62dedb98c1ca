#include "broker/base/encoding.h"
#include "policy/decide.h"
#include "policy/matching.h"

namespace jitwg {
namespace {

std::string join(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text.empty() ? "nobody" : text;
}

std::string why_not(const Policy& policy, const Question& q, const Target& target, const Rule& rule) {
  if (rule.during_incident != q.incident)
    return rule.during_incident ? "applies only in an incident" : "does not apply in an incident";
  if (!policy.is_any(rule.who, q.person)) return q.person + " is not among its people";
  if (!selects(rule.targets, target)) return target.name + " is not among its targets";
  if (rule.hours && !rule.hours->contain(q.at)) return "holds only " + rule.hours->str();
  return {};
}

}  // namespace

std::vector<std::string> explain(const Policy& policy, const Question& q) {
  std::vector<std::string> lines;
  const Verdict verdict = decide(policy, q);
  if (const auto found = policy.targets.find(q.target); found != policy.targets.end()) {
    const Target& target = found->second;
    for (const DenyRule& rule : policy.denies) {
      const bool hit = matches(policy, rule.who, rule.targets, q.person, target);
      lines.push_back("deny \"" + rule.name + "\": " +
                      (hit ? "matches, and a deny always wins"
                           : policy.is_any(rule.who, q.person) ? target.name + " is not among its targets"
                                                                : q.person + " is not among its people"));
    }
    bool decided = false;
    for (const Rule& rule : policy.rules) {
      const std::string reason = why_not(policy, q, target, rule);
      lines.push_back("rule \"" + rule.name + "\": " +
                      (decided && reason.empty() ? "would match, but an earlier rule decided"
                       : reason.empty()          ? "matches" + std::string(decided ? "" : ", and decides")
                                                 : reason));
      decided = decided || reason.empty();
    }
  }
  for (const SyncedList& list : policy.lists)
    if (!list.problem.empty()) lines.push_back("list: " + list.problem);
  std::string result = "result: " + std::string(name(verdict.outcome));
  if (verdict.denial) {
    result += ": " + verdict.denial->message;
    if (!verdict.denial->hint.empty()) result += " (" + verdict.denial->hint + ")";
  } else {
    result += " for " + render_duration(verdict.duration);
  }
  lines.push_back(result);
  if (verdict.outcome == Verdict::Outcome::approval) lines.push_back("approvers: " + join(verdict.approvers));
  if (verdict.self_opened) lines.push_back("opener: may use the incident that they opened; it is counted and must be reviewed");
  if (verdict.keys != KeyDemand::any) lines.push_back("keys: " + std::string(name(verdict.keys)) + ", of the requester and of every approver");
  if (!verdict.denial)
    for (const std::string& entry : render_scope(verdict.access.scope)) lines.push_back("scope: " + entry);
  for (const std::string& name : verdict.access.gateways)
    for (const Prefix& pool : policy.gateways.at(name).pools)
      lines.push_back("gateway: " + name + ", address from " + pool.str());
  for (const auto& [host, address] : verdict.access.names) lines.push_back("name: " + host + " is " + address.str());
  if (verdict.access.nat) lines.push_back("nat: the target sees the gateway's address");
  if (verdict.access.login) lines.push_back("login: " + *verdict.access.login);
  return lines;
}

}  // namespace jitwg
