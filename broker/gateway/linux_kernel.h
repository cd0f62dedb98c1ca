// The real machine: WireGuard through a transport, nftables through the table, conntrack through
// its own socket.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "broker/gateway/interface.h"
#include "broker/gateway/kernel.h"
#include "broker/netfilter/table.h"

namespace jitwg::gateway {

class LinuxKernel final : public Kernel {
 public:
  // The table first: the interface never forwards a packet without. A table that is just as this
  // program left it (`left_file` says how) is left alone; any other is made from nothing, for what
  // others put there may survive a load. `settings` are kept to make the interface anew.
  // wrong_state: a flowtable names the interface; nothing is open then.
  static Result<std::unique_ptr<LinuxKernel>> open(const InterfaceSettings& settings,
                                                   std::string left_file);

  // What is there, for who only wants to see it. No table: no elements.
  static Result<Observed> look(const std::string& interface);

  const wireguard::PublicKey& public_key() const { return wireguard_.public_key; }

  // Makes the table anew, loudly, when anything of it but elements is not as it was loaded, and the
  // interface when nothing answers for it. An interface that is gone and cannot be made has no
  // peers.
  Result<Observed> observe() override;
  Result<std::vector<Element>> list_elements() override;
  // One is readable, and take_changes() true: somebody changed our table or our interface; observe.
  std::array<int, 2> changes() const { return {table_.news(), links_.get()}; }
  bool take_changes();
  Result<void> change_elements(const std::vector<Element>& remove,
                               const std::vector<Element>& add) override;
  Result<void> change_peers(const std::vector<wireguard::PublicKey>& remove,
                            const std::vector<wireguard::Peer>& add) override;
  Result<std::map<IpAddress, size_t>> cut_flows(const std::vector<Prefix>& pools,
                                                const std::set<IpAddress>& live) override;

 private:
  LinuxKernel(InterfaceSettings settings, std::string left_file, std::string ruleset,
              std::string as_loaded, netfilter::Table table, Fd links, ReadyInterface wireguard)
      : settings_(std::move(settings)),
        left_file_(std::move(left_file)),
        ruleset_(std::move(ruleset)),
        table_(std::move(table)),
        links_(std::move(links)),
        wireguard_(std::move(wireguard)),
        as_loaded_(std::move(as_loaded)) {}
  Result<void> check_table();
  Result<wireguard::Interface> observe_interface();

  const InterfaceSettings settings_;
  const std::string left_file_;
  std::string ruleset_;
  netfilter::Table table_;
  const Fd links_;
  ReadyInterface wireguard_;
  bool interface_gone_ = false;
  bool link_changed_ = false;  // it may be down, without routes: to be set up
  std::string as_loaded_;  // the table, as list_chains() gives it
  bool changed_ = false;   // somebody else did, and it is not yet checked
};

}  // namespace jitwg::gateway
