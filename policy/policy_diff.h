// Who gains and who loses which access between two policies: by person and target, whatever the rules are called and in whatever
// order they stand. Pure. People who change alike share a change, so that a group's new member is one line and not a thousand.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policy/policy.h"

namespace jitwg {

struct FieldChange {
  std::string before, after;
  auto operator<=>(const FieldChange&) const = default;
};

struct AccessChange {
  enum class Direction { gains, loses, changes } direction = Direction::changes;
  bool incident = false;  // requests that name an incident; otherwise those that name none
  std::vector<std::string> people, targets;  // each of these people for each of these targets; sorted
  // outcome, approvals, opener, longest, keys, hours, scope, login, gateways, jump_hosts, names, nat, ssh, pools: those that differ.
  // An outcome is deny, approval or allow; with hours there is one for each rule that may decide, in their order.
  std::map<std::string, FieldChange> fields;
};

struct RightChange {
  std::string right;
  std::vector<std::string> gains, loses;
};

struct PolicyDiff {
  std::vector<AccessChange> access;  // gains, losses, then other changes
  std::vector<RightChange> rights;
  std::map<std::string, FieldChange> settings;  // "defaults.pending_for", "gateways.gw1", …; a part that is missing is empty
  bool none() const { return access.empty() && rights.empty() && settings.empty(); }
};

// Synced lists count as they stand in each.
PolicyDiff diff_policies(const Policy& before, const Policy& after);

}  // namespace jitwg
