// What the gateway's doctor makes of what it saw. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/address.h"
#include "broker/doctor/finding.h"

namespace jitwg::gateway {

// nftables as `nft -s -t list ruleset` prints it, as far as it matters here.
struct Chain {
  std::string table;  // "inet jitwg"
  std::string name;   // "forward"
  std::string hook;  // "type filter hook forward priority filter; policy accept;", base chains only
  std::vector<std::string> rules;  // in order
};
struct Flowtable {
  std::string table, name, devices;
};
struct Nftables {
  std::vector<Chain> chains;
  std::vector<Flowtable> flowtables;
};
Nftables parse_nftables(std::string_view listing);

// `expected`: what the gateway loads (ruleset.h). A rule or chain too many, too few or altered is a
// problem.
doctor::Finding check_table(const Nftables& seen, std::string_view expected);
// Others' base chains on prerouting, forward and input that drop the tunnel's packets, the answers
// to it or WireGuard's own, leave them untracked or offload them: a
// flowtable takes its devices' packets past all chains. Followed by their text through jumps: a rule
// that accepts and names `interface`, one of `pools` or `port` counts as knowing them.
doctor::Findings check_foreign_chains(const Nftables& seen, const std::string& interface,
                                      const std::vector<Prefix>& pools, uint16_t port);
// A flow that is offloaded passes no chain any more, so nothing ends it.
doctor::Finding check_flowtables(const Nftables& seen, const std::string& interface);

// /proc/sys/net/…, trimmed; "" where it cannot be read.
doctor::Finding check_forwarding(const std::string& what, const std::string& sysctl,
                                 const std::string& value);
// Interface (or "all") -> rp_filter.
doctor::Finding check_rp_filter(const std::map<std::string, int>& values);
// Interface -> MTU, of every other link that carries packets.
doctor::Finding check_mtu(const std::string& interface, int mtu, std::optional<int> configured,
                          const std::map<std::string, int>& others);

}  // namespace jitwg::gateway
