// Link and routes of one interface, by rtnetlink (libnl-route).
#pragma once

#include <string>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"

namespace jitwg::gateway {

Result<bool> link_exists(const std::string& interface);
Result<void> set_link_up(const std::string& interface);
// A route to each of `pools` in the main table. One that leads here already is fine; one that leads
// elsewhere is not touched, and is an error (bad_config).
Result<void> add_routes(const std::string& interface, const std::vector<Prefix>& pools);

}  // namespace jitwg::gateway
