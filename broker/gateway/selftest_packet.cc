#include "broker/gateway/selftest_packet.h"

#include <netinet/in.h>

namespace jitwg::gateway {
namespace {

constexpr size_t kMarkBytes = 8;
constexpr uint32_t kPersonsSequence = 1000, kServersSequence = 5000;
constexpr uint32_t kFirstBytes = 1 + kMarkBytes;  // a SYN counts as one

std::string big_endian(uint64_t value, size_t size) {
  std::string bytes(size, '\0');
  for (; size > 0; value >>= 8) bytes[--size] = static_cast<char>(value & 0xff);
  return bytes;
}

std::string bytes_of(const IpAddress& address) {
  return {reinterpret_cast<const char*>(address.bytes.data()), address.size()};
}

// RFC 1071.
std::string checksum(const std::string& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    sum += static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (i % 2 == 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return big_endian(~sum & 0xffff, 2);
}

// RFC 791, RFC 8200. The routing header has no stops left, and the options do nothing.
std::string ip_header(const Probe& probe, uint8_t protocol, size_t length) {
  const std::string addresses = bytes_of(probe.from) + bytes_of(probe.to);
  const size_t more = !probe.routed ? 0 : probe.from.family == 6 ? 8 : 4;
  if (probe.from.family == 6)
    return big_endian(0x60000000, 4) + big_endian(length + more, 2) + big_endian(probe.routed ? uint8_t{IPPROTO_ROUTING} : protocol, 1) +
           big_endian(probe.hops, 1) + addresses + (probe.routed ? big_endian(protocol, 1) + big_endian(0x00fd00, 3) + big_endian(0, 4) : "");
  std::string header = big_endian(probe.routed ? 0x4600 : 0x4500, 2) + big_endian(20 + more + length, 2) + big_endian(0, 4) +
                       big_endian(probe.hops, 1) + big_endian(protocol, 1) + big_endian(0, 2) + addresses +
                       (probe.routed ? big_endian(0x01010100, 4) : "");
  return header.replace(10, 2, checksum(header));
}

// `body`: with zeros where the checksum goes.
std::string packet(const Probe& probe, uint8_t protocol, std::string body, size_t checksum_at) {
  std::string pseudo = bytes_of(probe.from) + bytes_of(probe.to) + big_endian(body.size(), 4) + big_endian(protocol, 4);
  if (protocol == IPPROTO_ICMP) pseudo.clear();
  body.replace(checksum_at, 2, checksum(pseudo + body));
  return ip_header(probe, protocol, body.size()) + body;
}

std::string icmp(const Probe& probe, uint8_t type, const std::string& rest) {
  const std::string body = big_endian(type, 1) + big_endian(0, 3) + big_endian(probe.from_port, 2) + big_endian(0, 2) + rest;
  const uint8_t protocol = probe.from.family == 4 ? uint8_t{IPPROTO_ICMP} : uint8_t{IPPROTO_ICMPV6};
  return packet(probe, protocol, body, 2);
}

}  // namespace

std::string render(const Probe& probe, std::string_view mark) {
  const std::string ports = big_endian(probe.from_port, 2) + big_endian(probe.to_port, 2), rest(mark);
  const bool v4 = probe.from.family == 4;
  switch (probe.protocol) {
    case Protocol::icmp: {
      const uint8_t echo = v4 ? (probe.answer ? 0 : 8) : (probe.answer ? 129 : 128);
      return icmp(probe, probe.type.value_or(echo), rest);
    }
    case Protocol::udp:
      return packet(probe, IPPROTO_UDP, ports + big_endian(8 + rest.size(), 2) + big_endian(0, 2) + rest, 6);
    case Protocol::tcp: break;
  }
  uint32_t sequence = probe.answer ? kServersSequence : kPersonsSequence;
  uint32_t acknowledged = (probe.answer ? kPersonsSequence : kServersSequence) + kFirstBytes;
  uint16_t flags = 0x5010;  // 20 bytes of header; ACK
  if (probe.first) flags |= 0x02;
  if (probe.first && !probe.answer) flags = 0x5002, acknowledged = 0;
  if (!probe.first) sequence += kFirstBytes;
  return packet(probe, IPPROTO_TCP,
                ports + big_endian(sequence, 4) + big_endian(acknowledged, 4) + big_endian(flags, 2) + big_endian(0xffff, 2) +
                    big_endian(0, 4) + rest,
                16);
}

std::string render_error(const IpAddress& from, uint8_t type, const Probe& about, std::string_view mark) {
  return icmp({Protocol::icmp, from, about.from}, type, render(about, mark));
}

std::optional<Sighting> parse_sighting(std::string_view packet) {
  if (packet.empty()) return std::nullopt;
  const bool v4 = packet[0] >> 4 == 4;
  const size_t size = v4 ? 4 : 16, at = v4 ? 12 : 8;
  if (packet.size() < at + 2 * size + kMarkBytes) return std::nullopt;
  Sighting seen{{v4 ? 4 : 6, {}}, {v4 ? 4 : 6, {}}, std::string(packet.substr(packet.size() - kMarkBytes))};
  packet.copy(reinterpret_cast<char*>(seen.from.bytes.data()), size, at);
  packet.copy(reinterpret_cast<char*>(seen.to.bytes.data()), size, at + size);
  return seen;
}

}  // namespace jitwg::gateway
