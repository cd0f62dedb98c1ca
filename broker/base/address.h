// IP addresses and prefixes as values. Text forms: inet_ntop(3) spelling only, so that one address has
// one spelling and comparing text is comparing addresses.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"

namespace jitwg {

struct IpAddress {
  int family = 4;                    // 4 or 6
  std::array<uint8_t, 16> bytes{};   // network order; the first 4 or all 16 count

  // Refuses scope IDs, IPv4-mapped IPv6, leading zeros and any other second spelling.
  static Result<IpAddress> parse(std::string_view text);
  std::string str() const;
  int bits() const { return family == 4 ? 32 : 128; }
  size_t size() const { return family == 4 ? 4 : 16; }
  // The address `offset` further on; wraps never: past the end is all ones plus carry lost.
  IpAddress plus(uint64_t offset) const;
  auto operator<=>(const IpAddress&) const = default;
};

struct Prefix {
  IpAddress address;  // host bits zero
  int length = 0;

  // "10.0.0.0/8", or a bare address (one host). Set host bits are bad_value, not rounded.
  static Result<Prefix> parse(std::string_view text);
  static Prefix host(IpAddress address) { return {address, address.bits()}; }
  bool is_host() const { return length == address.bits(); }
  bool contains(const IpAddress& other) const;
  bool contains(const Prefix& other) const;
  std::string str() const;        // always with the length
  std::string str_short() const;  // a single host without it
  auto operator<=>(const Prefix&) const = default;
};
// The fewest prefixes that hold exactly first … last, ascending. bad_value: two families, or first after last.
Result<std::vector<Prefix>> prefixes_of_range(const IpAddress& first, const IpAddress& last);

// "192.0.2.10:51820" or "[2001:db8::1]:51820".
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  static Result<Endpoint> parse(std::string_view text);
  std::string str() const;
  auto operator<=>(const Endpoint&) const = default;
};

}  // namespace jitwg
