// A grant as the kernel is to hold it: one peer, and the set elements that let its packets through.
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/gateway/wireguard.h"
#include "broker/netfilter/element.h"
#include "broker/session/grant.h"

namespace jitwg::gateway {

using netfilter::Element;
using netfilter::Millis;

// The sets of the gateway's table. Exact tuples stand in hash sets, where one is found and deleted
// in microseconds; so do small ranges, tuple by tuple; wide ones in interval sets. ICMP echo has no
// port, so it has sets of its own. nat: inner addresses whose packets leave with the gateway's own; direct: but these.
inline constexpr const char* kSets[] = {"scope4", "scope6", "range4",      "range6",
                                        "icmp4",  "icmp6",  "icmp_range4", "icmp_range6",
                                        "nat4",   "nat6",   "direct4",     "direct6"};

// How many elements a set may hold. The kernel's own bound (`size`) is twice that, for an element
// that goes counts until its transaction is done, and one that expired until it is swept.
struct Capacity {
  size_t exact = 131'072;  // six each for limits::kSessionsPerNode; 100 to 200 bytes an element
  size_t ranges = 32'768;  // every change of an interval set copies it
  size_t of(std::string_view set) const { return set.find("range") == set.npos ? exact : ranges; }
};

struct Tunnel {
  SessionId session;
  wireguard::PublicKey key;
  std::vector<Prefix> addresses;  // sorted, one host each
  bool open = false;              // false: must be gone
  WallTime not_before;            // the older session keeps what two claim
  std::vector<Element> elements;  // sorted; empty when not open
  bool held = false;              // its peer is known to have been put in by us
};

// A reason to refuse a verified grant for good: a key that is none, an address outside `pools` or
// wider than one host, a scope that is empty or too long, a gateway entry with another key than
// ours.
Result<void> check_grant(const Grant& grant, const std::string& node,
                         const wireguard::PublicKey& own_key, const std::vector<Prefix>& pools);

// `remaining`: how long the session may live from now, at least 1 ms; 0 or less makes a tunnel that
// must be gone. Precondition: check_grant() passed, or at least the key parses (bad_key otherwise).
Result<Tunnel> make_tunnel(const Grant& grant, Millis remaining);

// Entries of one protocol that cover exactly the same and do not overlap: an interval set refuses
// overlaps.
Scope disjoint(const Scope& scope);

// Small ranges as the single tuples they stand for, wide ones as they are: up to kTuplesPerEntry
// hosts times ports each, and kTuplesPerGrant in all.
Scope expand(const Scope& disjoint);
constexpr size_t kTuplesPerEntry = 16;
constexpr size_t kTuplesPerGrant = 256;

}  // namespace jitwg::gateway
