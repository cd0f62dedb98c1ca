// What the self-test sends through the chains, and what must come of it. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/gateway/selftest_network.h"
#include "broker/session/grant.h"

namespace jitwg::gateway {

// One packet.
struct Case {
  std::string name;
  Side side;  // where it comes in
  std::string packet;
  std::string mark;
  struct Arrival {
    Side side;
    IpAddress from, to;
    bool operator==(const Arrival&) const = default;
  };
  std::optional<Arrival> arrives;  // unset: it is dropped
};
using Cases = std::vector<Case>;

struct SelfTestPlan {
  // The first grant is the one that ends; the others stay, and show that the chains still work.
  std::vector<Grant> grants;
  struct Route {
    Side side;
    Prefix prefix;
  };
  std::vector<Route> routes;
  std::vector<IpAddress> gateway;  // addresses on the inside
  Cases requests, answers;         // while the first grant lives, in this order
  Cases again;                     // its established flows go on
  Cases over;                      // and do not, once its elements are gone
};
// People have addresses of the first pool of each family.
SelfTestPlan plan_selftest(const std::vector<Prefix>& pools, bool ipv6);

}  // namespace jitwg::gateway
