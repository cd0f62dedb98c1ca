// The chains and sets of `inet jitwg`, as nft(8) text. Safe to load again: sets keep their
// elements.
#pragma once

#include <string>

#include "broker/base/error.h"

namespace jitwg::gateway {

inline constexpr const char* kTable = "jitwg";

// bad_config: `interface` is no interface name of letters, digits, '.', '_', '-' (15 at most).
Result<std::string> render_ruleset(const std::string& interface);

}  // namespace jitwg::gateway
