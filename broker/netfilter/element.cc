#include "broker/netfilter/element.h"

namespace jitwg::netfilter {

Key& Key::address(const IpAddress& address) {
  bytes_.append(reinterpret_cast<const char*>(address.bytes.data()), address.size());
  return *this;
}

Key& Key::protocol(uint8_t number) {
  bytes_.push_back(static_cast<char>(number));
  bytes_.append(3, '\0');
  return *this;
}

Key& Key::port(uint16_t port) {
  bytes_.push_back(static_cast<char>(port >> 8));
  bytes_.push_back(static_cast<char>(port & 0xff));
  bytes_.append(2, '\0');
  return *this;
}

Key& Key::uid(uint32_t uid) {
  bytes_.append(reinterpret_cast<const char*>(&uid), sizeof uid);
  return *this;
}

}  // namespace jitwg::netfilter
