// Whole IP packets for the self-test, with right checksums, each with a mark at its end by which it is known again. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "broker/base/address.h"
#include "broker/base/scope.h"

namespace jitwg::gateway {

struct Probe {
  Protocol protocol = Protocol::tcp;
  IpAddress from, to;
  uint16_t from_port = 0, to_port = 0;  // ICMP: from_port is the identifier
  bool first = true;                    // TCP: SYN
  bool answer = false;                  // TCP: of a server; ICMP: an echo reply
  std::optional<uint8_t> type = {};     // ICMP: another than echo
  uint8_t hops = 64;
  bool routed = false;  // IPv4: has options; IPv6: a routing header
};

// `mark`: 8 bytes.
std::string render(const Probe& probe, std::string_view mark);
// An ICMP message of this type about `about`, which it quotes whole, to whom that came from.
std::string render_error(const IpAddress& from, uint8_t type, const Probe& about, std::string_view mark);

struct Sighting {
  IpAddress from, to;
  std::string mark;
};
std::optional<Sighting> parse_sighting(std::string_view packet);

}  // namespace jitwg::gateway
