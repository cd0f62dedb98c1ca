// What the gateway asks of the machine: everything it can observe and change, so that tests can
// stand in for it.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "broker/gateway/plan.h"

namespace jitwg::gateway {

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual Result<Observed> observe() = 0;
  virtual Result<std::vector<Element>> list_elements() = 0;  // a part of it, for less
  // One transaction. wrong_state: drifted meanwhile; observe and plan again.
  virtual Result<void> change_elements(const std::vector<Element>& remove,
                                       const std::vector<Element>& add) = 0;
  virtual Result<void> change_peers(const std::vector<wireguard::PublicKey>& remove,
                                    const std::vector<wireguard::Peer>& add) = 0;
  // Deletes the conntrack entries of all pool addresses but `live`, and reads back how many are
  // left, by address.
  virtual Result<std::map<IpAddress, size_t>> cut_flows(const std::vector<Prefix>& pools,
                                                        const std::set<IpAddress>& live) = 0;
};

}  // namespace jitwg::gateway
