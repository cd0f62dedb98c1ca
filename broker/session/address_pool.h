// Which inner addresses a new session gets. Pure. Least recently used; an address rests an hour after its session's
// end; IPv6 never twice. The first host address of each pool is the gateway's own and is never given.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg {

// Every address ever given, with the end of the last session that had it.
struct AddressUse {
  std::map<IpAddress, WallTime> given;  // grows only
  // By a pool's first address: below that offset all were given. Found by looking, kept so that nobody looks again.
  mutable std::map<IpAddress, uint64_t> gapless = {};
};

// One address per pool, in the order of `pools`. pool_exhausted names the pool.
Result<std::vector<Prefix>> choose_addresses(const std::vector<Prefix>& pools, const AddressUse& use, WallTime now);

}  // namespace jitwg
