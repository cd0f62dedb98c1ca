#include "broker/gateway/ruleset.h"

#include <algorithm>
#include <string_view>

#include "broker/gateway/tunnel.h"

namespace jitwg::gateway {
namespace {

// Priority filter - 10: before the usual filter chains (0), Docker's and firewalld's (filter + 10),
// so that nothing is counted or logged there as let through that we drop. The number is not what
// protects: a drop in any chain of a hook is final, and an accept here only lets the packet go on
// to the others.
//
// Every packet from the tunnel is looked up, also of established flows: an element that goes, by us
// or by its timeout, stops them. Replies pass by the same element, looked up reversed, and only on
// flows that the tunnel's side began. Using `ct` makes the kernel reassemble fragments first; `meta
// l4proto` and `th` see past IPv6 extension headers.
constexpr std::string_view kText = R"(
add table inet jitwg
add set inet jitwg scope4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags timeout; size @EXACT@; counter; }
add set inet jitwg scope6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags timeout; size @EXACT@; counter; }
add set inet jitwg range4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval,timeout; size @RANGES@; counter; }
add set inet jitwg range6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags interval,timeout; size @RANGES@; counter; }
add set inet jitwg icmp4 { type ipv4_addr . ipv4_addr; flags timeout; size @EXACT@; counter; }
add set inet jitwg icmp6 { type ipv6_addr . ipv6_addr; flags timeout; size @EXACT@; counter; }
add set inet jitwg icmp_range4 { type ipv4_addr . ipv4_addr; flags interval,timeout; size @RANGES@; counter; }
add set inet jitwg icmp_range6 { type ipv6_addr . ipv6_addr; flags interval,timeout; size @RANGES@; counter; }
add set inet jitwg nat4 { type ipv4_addr; flags timeout; size @EXACT@; counter; }
add set inet jitwg nat6 { type ipv6_addr; flags timeout; size @EXACT@; counter; }
add set inet jitwg direct4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags timeout; size @EXACT@; counter; }
add set inet jitwg direct6 { type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags timeout; size @EXACT@; counter; }
add set inet jitwg self4 { type ipv4_addr . ipv4_addr; flags dynamic,timeout; size @EXACT@; }
add set inet jitwg self6 { type ipv6_addr . ipv6_addr; flags dynamic,timeout; size @EXACT@; }

add chain inet jitwg forward { type filter hook forward priority filter - 10; policy accept; }
add chain inet jitwg input { type filter hook input priority filter - 10; policy accept; }
add chain inet jitwg output { type filter hook output priority filter - 10; policy accept; }
add chain inet jitwg postrouting { type nat hook postrouting priority srcnat - 10; policy accept; }
add chain inet jitwg from_tunnel
add chain inet jitwg to_tunnel
add chain inet jitwg first
add chain inet jitwg errors

# No service of the gateway itself.
add rule inet jitwg input iifname "@IF@" counter drop
# Nor does it say anything itself: a router answers some packets before `forward` sees them (hop limit, no route,
# redirects between two people), and would tell its own addresses. Errors about live flows are needed (path MTU).
add rule inet jitwg output oifname "@IF@" ct state related jump errors
add rule inet jitwg output oifname "@IF@" counter drop
# Never from one person to another.
add rule inet jitwg forward iifname "@IF@" oifname "@IF@" counter drop
add rule inet jitwg forward iifname "@IF@" goto from_tunnel
add rule inet jitwg forward oifname "@IF@" goto to_tunnel
@POOLS@
# Of what could lead a packet on from a host in scope to one that is not.
add rule inet jitwg from_tunnel ip hdrlength > 5 counter drop
add rule inet jitwg from_tunnel exthdr rt exists counter drop
add rule inet jitwg from_tunnel ct state new jump first
add rule inet jitwg from_tunnel ip saddr . ip daddr . meta l4proto . th dport @scope4 accept
add rule inet jitwg from_tunnel ip6 saddr . ip6 daddr . meta l4proto . th dport @scope6 accept
add rule inet jitwg from_tunnel ip saddr . ip daddr . meta l4proto . th dport @range4 accept
add rule inet jitwg from_tunnel ip6 saddr . ip6 daddr . meta l4proto . th dport @range6 accept
add rule inet jitwg from_tunnel icmp type echo-request ip saddr . ip daddr @icmp4 accept
add rule inet jitwg from_tunnel icmpv6 type echo-request ip6 saddr . ip6 daddr @icmp6 accept
add rule inet jitwg from_tunnel icmp type echo-request ip saddr . ip daddr @icmp_range4 accept
add rule inet jitwg from_tunnel icmpv6 type echo-request ip6 saddr . ip6 daddr @icmp_range6 accept
add rule inet jitwg from_tunnel ct state related ip saddr . ct original ip saddr @self4 jump errors
add rule inet jitwg from_tunnel ct state related ip6 saddr . ct original ip6 saddr @self6 jump errors
add rule inet jitwg from_tunnel counter drop

add rule inet jitwg to_tunnel ct direction reply ip daddr . ip saddr . meta l4proto . th sport @scope4 accept
add rule inet jitwg to_tunnel ct direction reply ip6 daddr . ip6 saddr . meta l4proto . th sport @scope6 accept
add rule inet jitwg to_tunnel ct direction reply ip daddr . ip saddr . meta l4proto . th sport @range4 accept
add rule inet jitwg to_tunnel ct direction reply ip6 daddr . ip6 saddr . meta l4proto . th sport @range6 accept
add rule inet jitwg to_tunnel ct direction reply icmp type echo-reply ip daddr . ip saddr @icmp4 accept
add rule inet jitwg to_tunnel ct direction reply icmpv6 type echo-reply ip6 daddr . ip6 saddr @icmp6 accept
add rule inet jitwg to_tunnel ct direction reply icmp type echo-reply ip daddr . ip saddr @icmp_range4 accept
add rule inet jitwg to_tunnel ct direction reply icmpv6 type echo-reply ip6 daddr . ip6 saddr @icmp_range6 accept
add rule inet jitwg to_tunnel ct state related jump errors
add rule inet jitwg to_tunnel counter drop

# A person's machine may send errors, but about no other person's flow. No expression compares two fields of a packet, so
# pairs of an address and itself are learnt from first packets, whose source WireGuard vouches for.
add rule inet jitwg first add @self4 { ip saddr . ct original ip saddr timeout 1d }
add rule inet jitwg first add @self6 { ip6 saddr . ct original ip6 saddr timeout 1d }

# An ICMP error (path MTU, port closed) belongs to the flow that it quotes: that flow's own tuple must be live.
add rule inet jitwg errors icmp type { destination-unreachable, time-exceeded, parameter-problem } ct original ip saddr . ct original ip daddr . ct original protocol . ct original proto-dst @scope4 accept
add rule inet jitwg errors icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } ct original ip6 saddr . ct original ip6 daddr . ct original protocol . ct original proto-dst @scope6 accept
add rule inet jitwg errors icmp type { destination-unreachable, time-exceeded, parameter-problem } ct original ip saddr . ct original ip daddr . ct original protocol . ct original proto-dst @range4 accept
add rule inet jitwg errors icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } ct original ip6 saddr . ct original ip6 daddr . ct original protocol . ct original proto-dst @range6 accept
add rule inet jitwg errors icmp type { destination-unreachable, time-exceeded, parameter-problem } ct original protocol 1 ct original ip saddr . ct original ip daddr @icmp4 accept
add rule inet jitwg errors icmp type { destination-unreachable, time-exceeded, parameter-problem } ct original protocol 1 ct original ip saddr . ct original ip daddr @icmp_range4 accept
add rule inet jitwg errors icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } ct original protocol 58 ct original ip6 saddr . ct original ip6 daddr @icmp6 accept
add rule inet jitwg errors icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } ct original protocol 58 ct original ip6 saddr . ct original ip6 daddr @icmp_range6 accept

# Targets with `nat = true` see an address of the gateway. Only what `forward` let through comes here, and of each flow
# the first packet alone: the rest follows it, and ends in `forward`.
add rule inet jitwg postrouting iifname "@IF@" ip saddr . ip daddr . meta l4proto . th dport @direct4 accept
add rule inet jitwg postrouting iifname "@IF@" ip6 saddr . ip6 daddr . meta l4proto . th dport @direct6 accept
add rule inet jitwg postrouting iifname "@IF@" ip saddr @nat4 masquerade
add rule inet jitwg postrouting iifname "@IF@" ip6 saddr @nat6 masquerade
)";

// Inner addresses come and go by the tunnel alone, whatever becomes of its name or of the routes.
constexpr std::string_view kPoolText = R"(add rule inet jitwg input iifname != "lo" @IP@ saddr @POOL@ counter drop
add rule inet jitwg forward @IP@ saddr @POOL@ counter drop
add rule inet jitwg forward @IP@ daddr @POOL@ counter drop
)";

void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size())
    text.replace(at, what.size(), by);
}

}  // namespace

Result<std::string> render_ruleset(const std::string& interface, const std::vector<Prefix>& pools) {
  const bool clean = std::all_of(interface.begin(), interface.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (interface.empty() || interface.size() > 15 || !clean)
    return fail(Code::bad_config, "'" + interface + "' is no name for an interface");
  std::string pool_rules, text(kText);
  for (const Prefix& pool : pools) {
    std::string rules(kPoolText);
    replace_all(rules, "@IP@", pool.address.family == 4 ? "ip" : "ip6");
    replace_all(rules, "@POOL@", pool.str());
    pool_rules += rules;
  }
  constexpr Capacity kCapacity;
  replace_all(text, "@POOLS@", pool_rules);
  replace_all(text, "@EXACT@", std::to_string(2 * kCapacity.exact));
  replace_all(text, "@RANGES@", std::to_string(2 * kCapacity.ranges));
  replace_all(text, "@IF@", interface);
  return text;
}

}  // namespace jitwg::gateway
