// The chains and sets of `inet jitwg`, as nft(8) text, for a table that is not there.
#pragma once

#include <string>
#include <vector>

#include "broker/base/address.h"

namespace jitwg::gateway {

inline constexpr const char* kTable = "jitwg";

// `pools`: packets with these addresses pass by `interface` or not at all.
// bad_config: `interface` is no interface name of letters, digits, '.', '_', '-' (15 at most).
Result<std::string> render_ruleset(const std::string& interface, const std::vector<Prefix>& pools);

}  // namespace jitwg::gateway
