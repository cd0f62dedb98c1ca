#include "broker/gateway/linux_kernel.h"

#include "broker/gateway/conntrack.h"
#include "broker/gateway/ruleset.h"

namespace jitwg::gateway {

Result<std::unique_ptr<LinuxKernel>> LinuxKernel::open(const InterfaceSettings& settings) {
  JITWG_ASSIGN(std::string ruleset, render_ruleset(settings.name));
  JITWG_TRY(netfilter::load_ruleset(ruleset));
  JITWG_ASSIGN(auto wireguard, prepare_interface(settings));
  JITWG_ASSIGN(auto table, netfilter::Table::open(kTable));
  return std::unique_ptr<LinuxKernel>(
      new LinuxKernel(std::move(ruleset), std::move(table), std::move(wireguard)));
}

Result<std::vector<Element>> LinuxKernel::list_elements() {
  std::vector<Element> all;
  for (const char* set : kSets) {
    JITWG_ASSIGN(std::vector<Element> some, table_.list(set));
    all.insert(all.end(), std::make_move_iterator(some.begin()),
               std::make_move_iterator(some.end()));
  }
  return all;
}

Result<Observed> LinuxKernel::observe() {
  auto elements = list_elements();
  if (!elements && elements.error().code == Code::wrong_state) {
    JITWG_TRY(netfilter::load_ruleset(ruleset_));
    elements = list_elements();
  }
  if (!elements) return tl::unexpected(elements.error());
  JITWG_ASSIGN(auto interface, wireguard_.transport->get());
  return Observed{std::move(interface), std::move(*elements)};
}

Result<void> LinuxKernel::change_elements(const std::vector<Element>& remove,
                                          const std::vector<Element>& add) {
  return table_.change(remove, add);
}

Result<void> LinuxKernel::change_peers(const std::vector<wireguard::PublicKey>& remove,
                                       const std::vector<wireguard::Peer>& add) {
  return wireguard_.transport->change(remove, add);
}

Result<std::map<IpAddress, size_t>> LinuxKernel::cut_flows(const std::vector<Prefix>& pools,
                                                           const std::set<IpAddress>& live) {
  return gateway::cut_flows(pools, live);
}

}  // namespace jitwg::gateway
