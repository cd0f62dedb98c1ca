// What decide() and explain() both ask of a rule.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "policy/policy.h"

namespace jitwg {

inline bool selects(const TargetSelector& selector, const Target& target) {
  return selector.is_label ? target.labels.contains(selector.name) : selector.name == target.name;
}

inline bool selects(const std::vector<TargetSelector>& selectors, const Target& target) {
  return std::any_of(selectors.begin(), selectors.end(), [&](const auto& s) { return selects(s, target); });
}

inline bool matches(const Policy& policy, const std::vector<Member>& who, const std::vector<TargetSelector>& targets,
                    std::string_view person, const Target& target) {
  return policy.is_any(who, person) && selects(targets, target);
}

}  // namespace jitwg
