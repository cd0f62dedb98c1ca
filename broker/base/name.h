// Names of people, targets, nodes, rules' groups: plain ASCII, so that no two look alike.
#pragma once

#include <string_view>

#include "broker/base/limits.h"

namespace jitwg {

// Letters, digits, "._@-", starting with a letter or digit, at most limits::kNameBytes.
constexpr bool is_name(std::string_view text) {
  if (text.empty() || text.size() > limits::kNameBytes) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '@' && c != '-'))) return false;
  }
  return true;
}

}  // namespace jitwg
