// The real machine: WireGuard through a transport, nftables through the table, conntrack through
// its own socket.
#pragma once

#include <memory>
#include <string>

#include "broker/gateway/interface.h"
#include "broker/gateway/kernel.h"
#include "broker/netfilter/table.h"

namespace jitwg::gateway {

class LinuxKernel final : public Kernel {
 public:
  // Loads the ruleset before the interface is touched: it never forwards a packet without.
  static Result<std::unique_ptr<LinuxKernel>> open(const InterfaceSettings& settings);

  const wireguard::PublicKey& public_key() const { return wireguard_.public_key; }

  // Loads the ruleset again when the table or a set is gone.
  Result<Observed> observe() override;
  Result<void> change_elements(const std::vector<Element>& remove,
                               const std::vector<Element>& add) override;
  Result<void> change_peers(const std::vector<wireguard::PublicKey>& remove,
                            const std::vector<wireguard::Peer>& add) override;
  Result<std::map<IpAddress, size_t>> cut_flows(const std::vector<Prefix>& pools,
                                                const std::set<IpAddress>& live) override;

 private:
  LinuxKernel(std::string ruleset, netfilter::Table table, ReadyInterface wireguard)
      : ruleset_(std::move(ruleset)), table_(std::move(table)), wireguard_(std::move(wireguard)) {}
  Result<std::vector<Element>> list_elements();

  std::string ruleset_;
  netfilter::Table table_;
  ReadyInterface wireguard_;
};

}  // namespace jitwg::gateway
