#include "broker/gateway/linux_kernel.h"

#include <optional>
#include <utility>

#include "broker/base/encoding.h"
#include "broker/gateway/conntrack.h"
#include "broker/gateway/link.h"
#include "broker/gateway/ruleset.h"
#include "broker/os/file.h"
#include "broker/os/service.h"

namespace jitwg::gateway {
namespace {

Result<std::vector<Element>> list_all(netfilter::Table& table) {
  std::vector<Element> all;
  for (const char* set : kSets) {
    JITWG_ASSIGN(std::vector<Element> some, table.list(set));
    all.insert(all.end(), std::make_move_iterator(some.begin()),
               std::make_move_iterator(some.end()));
  }
  return all;
}

constexpr size_t kLeftBytes = 256 * 1024;

// The kernel gives no handle twice: a table that lists like this, by this ruleset, is the very one.
std::string describe(const std::string& ruleset, const std::string& listing) {
  return sha256_hex(ruleset) + "\n" + listing;
}

// The table's listing, if it is as it was left.
std::optional<std::string> find_table(const std::string& ruleset, const std::string& left_file) {
  const auto left = read_trusted_file(left_file, kLeftBytes);
  auto listing = netfilter::list_chains(kTable);
  if (!left || !listing || *left != describe(ruleset, *listing)) return std::nullopt;
  return std::move(*listing);
}

// From nothing: sets and flags may be others, too. One transaction: no packet passes between; live
// sessions wait until their elements are back. Returns the listing.
Result<std::string> make_table(const std::string& ruleset, const std::string& left_file) {
  JITWG_TRY(netfilter::load_ruleset("add table inet jitwg\ndelete table inet jitwg\n" + ruleset));
  JITWG_ASSIGN(std::string listing, netfilter::list_chains(kTable));
  if (const auto kept = write_file(left_file, describe(ruleset, listing), 0600); !kept)
    log(Level::warning, "the next start will interrupt sessions for a moment: " + kept.error().render());
  return listing;
}

}  // namespace

Result<std::unique_ptr<LinuxKernel>> LinuxKernel::open(const InterfaceSettings& settings,
                                                       std::string left_file) {
  JITWG_TRY(check_interface(settings));
  JITWG_ASSIGN(std::string ruleset, render_ruleset(settings.name, settings.pools));
  JITWG_ASSIGN(auto table, netfilter::Table::open(kTable));  // hears of changes from here on
  std::optional<std::string> listing = find_table(ruleset, left_file);
  if (!listing) {
    JITWG_ASSIGN(listing, make_table(ruleset, left_file));
  }
  JITWG_ASSIGN(auto wireguard, prepare_interface(settings));
  JITWG_ASSIGN(Fd links, watch_links());
  std::unique_ptr<LinuxKernel> kernel(
      new LinuxKernel(settings, std::move(left_file), std::move(ruleset), std::move(*listing),
                      std::move(table), std::move(links), std::move(wireguard)));
  JITWG_ASSIGN(const std::string bypass, kernel->table_.find_flowtable(settings.name));
  if (bypass.empty()) return kernel;
  JITWG_ASSIGN(const Observed seen, kernel->observe());
  const Plan nothing = plan({}, seen, settings.pools);
  JITWG_TRY(kernel->change_elements(nothing.remove_elements, {}));
  JITWG_TRY(kernel->change_peers(nothing.remove_peers, {}));
  JITWG_TRY(kernel->cut_flows(settings.pools, {}));
  return fail(Code::wrong_state, bypass + " names " + settings.name + ": its flows pass no chain, so nothing ends them",
              "take " + settings.name + " out of its devices (/etc/nftables.conf?), then start jitwg-gateway again");
}

bool LinuxKernel::take_changes() {
  changed_ |= table_.take_news();
  link_changed_ |= take_link_news(links_, settings_.name);
  return changed_ || link_changed_;
}

// Every packet depends on the chains: a rule more or less may let through anything.
Result<void> LinuxKernel::check_table() {
  take_changes();
  if (!changed_) return {};
  auto seen = netfilter::list_chains(kTable);
  // Making it anew interrupts everybody: not for an answer that was lost.
  for (int again = 0; !seen && again < 2; ++again) seen = netfilter::list_chains(kTable);
  if (seen != as_loaded_) {
    log(Level::error, "somebody changed the chains of nftables table inet jitwg: making them anew");
    JITWG_ASSIGN(as_loaded_, make_table(ruleset_, left_file_));
  }
  changed_ = false;
  return {};
}

Result<wireguard::Interface> LinuxKernel::observe_interface() {
  auto seen = wireguard_.transport->get();
  if (std::exchange(link_changed_, false) && seen)
    if (const auto up = set_up_link(settings_); !up) {
      const auto kind = find_link_kind(settings_.name);
      link_changed_ = !kind || !*kind;  // the next look begins here again
      if (!kind) return tl::unexpected(kind.error());
      if (!*kind)  // wireguard-go answers for a moment more, for nothing
        return fail(Code::wrong_state, "interface " + settings_.name + " is gone, its process not yet");
      log(Level::error, "interface " + settings_.name + " is not set up: " + up.error().render());
    }
  if (seen) return seen;
  const bool first = !std::exchange(interface_gone_, true);  // said once, tried at every look
  if (first)
    log(Level::error, "interface " + settings_.name + " does not answer (" + seen.error().render() +
                          "): making it anew");
  auto made = prepare_interface(settings_);
  if (!made) {
    JITWG_ASSIGN(const auto kind, find_link_kind(settings_.name));
    if (kind) return tl::unexpected(made.error());
    if (first) log(Level::error, "no session can be opened: " + made.error().render());
    return wireguard::Interface{};  // gone, with all its peers
  }
  if (made->public_key != wireguard_.public_key)
    return fail(Code::bad_config, settings_.key_file + " holds another key than at start",
                "restart jitwg-gateway");
  wireguard_ = std::move(*made);
  interface_gone_ = false;
  return wireguard_.transport->get();
}

Result<std::vector<Element>> LinuxKernel::list_elements() { return list_all(table_); }

Result<Observed> LinuxKernel::look(const std::string& interface) {
  JITWG_ASSIGN(const auto transport, find_transport(interface));
  JITWG_ASSIGN(netfilter::Table table, netfilter::Table::open(kTable));
  Observed observed;
  auto elements = list_all(table);
  if (!elements && elements.error().code != Code::wrong_state)
    return tl::unexpected(elements.error());
  if (elements) observed.elements = std::move(*elements);
  JITWG_ASSIGN(observed.interface, transport->get());
  return observed;
}

Result<Observed> LinuxKernel::observe() {
  JITWG_TRY(check_table());
  JITWG_ASSIGN(auto elements, list_elements());
  JITWG_ASSIGN(auto interface, observe_interface());
  JITWG_ASSIGN(auto bypass, table_.find_flowtable(settings_.name));
  return Observed{std::move(interface), std::move(elements), std::move(bypass)};
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
