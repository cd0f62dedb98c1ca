// WireGuard in the kernel, by generic netlink (linux/wireguard.h, libnl-genl-3). One socket an
// operation; an answer is waited for at most 5 s. Needs CAP_NET_ADMIN over the network namespace.
#pragma once

#include <string>
#include <vector>

#include "broker/gateway/wireguard.h"

namespace jitwg::wireguard {

// Asking is enough to make the kernel load its module, if it has one.
Result<bool> kernel_has_wireguard();

class Netlink final : public Transport {
 public:
  explicit Netlink(std::string interface) : interface_(std::move(interface)) {}

  Result<Interface> get() override;
  Result<void> configure(const PrivateKey& key, uint16_t listen_port) override;
  Result<void> change(const std::vector<PublicKey>& remove, const std::vector<Peer>& add) override;

 private:
  std::string interface_;
};

}  // namespace jitwg::wireguard
