// Connection tracking entries of inner addresses (libnetfilter_conntrack). Needs CAP_NET_ADMIN.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"

namespace jitwg::gateway {

// Deletes every entry whose original source or destination is an address of `pools` and not `live`,
// then lists again: how many are left, by address (absent = none).
Result<std::map<IpAddress, size_t>> cut_flows(const std::vector<Prefix>& pools,
                                              const std::set<IpAddress>& live);

}  // namespace jitwg::gateway
