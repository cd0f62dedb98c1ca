// What a session may reach: protocol, prefix, port range. Policy writes "tcp 10.60.10.0/24:22,443",
// "udp [fd00::1]:53", "tcp 10.0.0.1-10.0.0.9:1000-1010", "icmp 10.60.10.20". A range of addresses is read as the fewest
// prefixes that make it up: those are what is approved, granted and shown.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/address.h"

namespace jitwg {

enum class Protocol : uint8_t { tcp, udp, icmp };  // icmp: echo, of the address' family

struct ScopeEntry {
  Protocol protocol = Protocol::tcp;
  Prefix destination;
  uint16_t first_port = 0;  // both 0 for icmp
  uint16_t last_port = 0;

  bool is_single() const { return destination.is_host() && first_port == last_port; }
  auto operator<=>(const ScopeEntry&) const = default;
};

// One policy string gives one entry for each prefix and port or port range. Port 0, ports with icmp, no ports without:
// bad_value.
Result<std::vector<ScopeEntry>> parse_scope_entry(std::string_view text);
// Sorted, and no two entries that are more than one port of one host overlap: the kernel refuses overlapping intervals, so
// what another entry reaches already is left out of the narrower one.
using Scope = std::vector<ScopeEntry>;
// bad_value, as above; too_large: more entries than any target may have.
Result<Scope> parse_scope(const std::vector<std::string>& texts);
Scope normalise(Scope scope);
// Canonical text: entries with the same protocol and destination share a string, ports ascending,
// strings sorted. Two scopes are equal exactly when their texts are.
std::vector<std::string> render_scope(const Scope& scope);

std::string_view name(Protocol protocol);

}  // namespace jitwg
