#include "broker/base/address.h"

#include <arpa/inet.h>

#include <cstring>

#include "broker/base/number.h"

namespace jitwg {

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  const auto bad = [&] {
    return fail(Code::bad_value, "\"" + copy.substr(0, 60) + "\" is no IP address");
  };
  IpAddress a;
  a.family = copy.find(':') == std::string::npos ? 4 : 6;
  if (copy.size() > 45 || copy.find('\0') != std::string::npos ||
      inet_pton(a.family == 4 ? AF_INET : AF_INET6, copy.c_str(), a.bytes.data()) != 1)
    return bad();
  constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (a.family == 6 && std::memcmp(a.bytes.data(), kMapped, 12) == 0) return bad();
  if (a.str() != copy)
    return fail(Code::bad_value, "\"" + copy + "\" is not the usual spelling", "write " + a.str());
  return a;
}

std::string IpAddress::str() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), text, sizeof text);
  return text;
}

IpAddress IpAddress::plus(uint64_t offset) const {
  IpAddress sum = *this;
  for (size_t i = size(); i-- > 0 && offset > 0;) {
    offset += sum.bytes[i];
    sum.bytes[i] = static_cast<uint8_t>(offset);
    offset >>= 8;
  }
  return sum;
}

bool Prefix::contains(const IpAddress& other) const {
  if (other.family != address.family) return false;
  for (int bit = 0; bit < length; ++bit) {
    const size_t byte = static_cast<size_t>(bit) / 8;
    const int mask = 0x80 >> (bit % 8);
    if ((address.bytes[byte] ^ other.bytes[byte]) & mask) return false;
  }
  return true;
}

bool Prefix::contains(const Prefix& other) const {
  return other.length >= length && contains(other.address);
}

Result<Prefix> Prefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  JITWG_ASSIGN(IpAddress address, IpAddress::parse(text.substr(0, slash)));
  Prefix p{address, address.bits()};
  if (slash != std::string_view::npos) {
    const auto length = parse_number<int>(text.substr(slash + 1));
    if (!length || *length < 0 || *length > address.bits())
      return fail(Code::bad_value, "\"" + std::string(text) + "\" has no proper prefix length");
    p.length = *length;
  }
  for (int bit = p.length; bit < address.bits(); ++bit)
    if (address.bytes[static_cast<size_t>(bit) / 8] & (0x80 >> (bit % 8)))
      return fail(Code::bad_value, "\"" + std::string(text) + "\" has host bits set",
                  "write the network's own address");
  return p;
}

Result<std::vector<Prefix>> prefixes_of_range(const IpAddress& first, const IpAddress& last) {
  if (first.family != last.family || last < first)
    return fail(Code::bad_value, first.str() + "-" + last.str() + " is no range of addresses", "write the lower address first");
  std::vector<Prefix> prefixes;
  for (IpAddress next = first;;) {
    // The widest prefix that begins here and does not go beyond.
    Prefix widest = Prefix::host(next);
    IpAddress end = next;
    for (int bit = next.bits() - 1; bit >= 0; --bit) {
      const size_t byte = static_cast<size_t>(bit) / 8;
      const auto mask = static_cast<uint8_t>(0x80 >> (bit % 8));
      if (next.bytes[byte] & mask) break;
      IpAddress further = end;
      further.bytes[byte] |= mask;
      if (last < further) break;
      end = further;
      widest.length = bit;
    }
    prefixes.push_back(widest);
    if (end == last) return prefixes;
    next = end.plus(1);
  }
}

std::string Prefix::str() const { return address.str() + "/" + std::to_string(length); }

std::string Prefix::str_short() const { return is_host() ? address.str() : str(); }

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::bad_value, "\"" + std::string(text.substr(0, 80)) + "\" is no address:port",
                "write 192.0.2.10:51820 or [2001:db8::1]:51820");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto port = parse_number<uint16_t>(text.substr(colon + 1));
  const auto address = IpAddress::parse(host);
  if (!port || *port == 0 || !address || bracketed != (address->family == 6)) return bad();
  return Endpoint{*address, *port};
}

std::string Endpoint::str() const {
  const std::string host = address.family == 6 ? "[" + address.str() + "]" : address.str();
  return host + ":" + std::to_string(port);
}

}  // namespace jitwg
