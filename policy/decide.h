// The decision: pure, by broker, signer and `jitwg policy explain` alike. Default deny; any deny rule wins; an error is a
// denial, and named.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "policy/statement.h"

namespace jitwg {

struct Question {
  std::string person;
  std::string target;
  std::optional<Seconds> duration;  // default: policy's
  WallTime at;
  bool incident = false;  // names an open incident that covers the target
  std::string opened_by = {};  // who opened that incident; unknown (empty) counts as the person who asks
};

struct Verdict {
  enum class Outcome { allow, approval, deny };
  Outcome outcome = Outcome::deny;
  std::optional<Error> denial;          // set exactly with deny
  std::string rule;                     // the rule that decided; empty when none did
  Seconds duration{};                   // with allow and approval: what is granted at most
  Access access;                        // likewise: the target as this person would reach it
  std::vector<ApprovalPlace> approvals; // with approval
  std::set<std::string> approvers;      // with approval: who could fill a place, never the person
  KeyDemand keys = KeyDemand::any;      // demanded of the requester's and of every approver's signature
  bool self_opened = false;             // with allow: the person opened the incident, and the rule lets them use it
};
std::string_view name(Verdict::Outcome outcome);

// The target as this person would reach it: with the jump hosts' SSH.
Access resolve(const Policy& policy, const Target& target, const std::string& person);

Verdict decide(const Policy& policy, const Question& question);

// Who approves for the one who opened an incident, under a rule that needs no approval otherwise: somebody whom the rule names,
// or else who could have opened it as well.
ApprovalPlace opener_place(const Policy& policy, const Rule& rule);

// Do these distinct people fill every place, each filling one? (bipartite matching)
bool approvals_filled(const Policy& policy, const std::vector<ApprovalPlace>& places,
                      const std::set<std::string>& deciders);

// Rule by rule, why: lines for people.
std::vector<std::string> explain(const Policy& policy, const Question& question);

}  // namespace jitwg
