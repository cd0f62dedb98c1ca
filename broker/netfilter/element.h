// One element of an nftables set, and how its key is laid out (nft(8) "SETS", concatenations): each
// field in the order of the set's type, padded with zeros to four bytes. Pure.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

#include "broker/base/address.h"

namespace jitwg::netfilter {

using Millis = std::chrono::milliseconds;
// What list() reports for an element that no timeout ends. Ours always have one.
constexpr Millis kForever = Millis::max();

struct Element {
  std::string set;
  std::string key;      // built by Key
  std::string key_end;  // interval sets: the last key, inclusive, also when equal to `key`; hash
                        // sets: empty
  std::string comment;  // at most 128 bytes, seen in `nft list set`
  Millis remaining{0};  // adding: the timeout, more than 0; listing: what is left of it
  uint64_t packets = 0;  // listing, of a set with counters: what it has matched

  auto operator<=>(const Element&) const = default;
};

// Builds a key field by field: Key().address(a).address(b).protocol(IPPROTO_TCP).port(22).bytes()
class Key {
 public:
  Key& address(const IpAddress& address);  // ip saddr, ip6 daddr …
  Key& protocol(uint8_t number);           // meta l4proto
  Key& port(uint16_t port);                // th dport, network order
  Key& uid(uint32_t uid);                  // meta skuid, host order
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace jitwg::netfilter
