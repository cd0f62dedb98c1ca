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

// "did you mean …" out of a map's keys; empty when nothing is near (edit distance ≤ 2).
template <typename Map>
std::string nearest(std::string_view word, const Map& known) {
  std::string best;
  size_t least = 3;
  for (const auto& [candidate, unused] : known) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1)});
        diagonal = above;
      }
    }
    if (row.back() < least) {
      least = row.back();
      best = candidate;
    }
  }
  return best.empty() ? std::string() : "did you mean \"" + best + "\"?";
}

}  // namespace jitwg
