#include "broker/gateway/doctor.h"

#include <algorithm>

#include "broker/base/number.h"
#include "broker/gateway/doctor_checks.h"
#include "broker/gateway/link.h"
#include "broker/gateway/ruleset.h"
#include "broker/gateway/selftest_proof.h"
#include "broker/netfilter/table.h"
#include "broker/node/doctor.h"
#include "broker/os/file.h"

namespace jitwg::gateway {
namespace {

using namespace doctor;

// A file of /proc or /sys, without its newline; "" where there is none.
std::string read_line(const std::string& path) {
  const std::string text = read_text(path);
  return text.substr(0, text.find('\n'));
}

int read_number(const std::string& path) { return parse_number<int>(read_line(path)).value_or(0); }

std::map<std::string, int> observe_rp_filter() {
  const std::string folder = "/proc/sys/net/ipv4/conf/";
  std::map<std::string, int> values;
  for (const std::string& name : names_in(folder))
    if (name != "lo" && name != "default") values[name] = read_number(folder + name + "/rp_filter");
  return values;
}

// Of the links that look like a network's: Ethernet, and not down.
std::map<std::string, int> observe_mtus(const std::string& interface) {
  const std::string folder = "/sys/class/net/";
  std::map<std::string, int> values;
  for (const std::string& name : names_in(folder))
    if (name != interface && read_line(folder + name + "/type") == "1" &&
        read_line(folder + name + "/operstate") != "down")
      values[name] = read_number(folder + name + "/mtu");
  return values;
}

Findings examine_nftables(const InterfaceSettings& settings) {
  const auto expected = render_ruleset(settings.name, settings.pools);
  if (!expected) return {failed("nftables", expected.error(), "gateway.conf: interface = jitwg0")};
  const auto listing = netfilter::list_ruleset();
  if (!listing) return {failed("nftables", listing.error(), "run this as root")};
  const Nftables seen = parse_nftables(*listing);
  Findings found = check_foreign_chains(seen, settings.name, settings.pools, settings.listen_port);
  found.push_back(check_table(seen, *expected));
  found.push_back(check_flowtables(seen, settings.name));
  found.push_back(check(read_line("/proc/net/ip_tables_names").empty(), "iptables_legacy", "none",
                        "there are rules of iptables-legacy, which nftables does not show",
                        "look yourself: iptables-legacy-save; then use iptables-nft",
                        Finding::Level::warning));
  return found;
}

Finding examine_wireguard(const InterfaceSettings& settings) {
  const auto kind = find_link_kind(settings.name);
  if (!kind) return failed("wireguard", kind.error(), "");
  if (!*kind)
    return problem("wireguard", "there is no interface " + settings.name,
                   "systemctl restart jitwg-gateway");
  const bool kernel = **kind == "wireguard";
  return check(kernel || settings.transport == TransportChoice::userspace, "wireguard",
               kernel ? "the kernel carries it" : "a program carries it, as configured",
               "a program carries " + settings.name + ", many times slower than the kernel",
               "boot a kernel that has WireGuard, or gateway.conf: transport = userspace",
               Finding::Level::warning);
}

// The daemon would refuse to start without it; what runs already has had it.
Finding examine_selftest(const Config& config, const InterfaceSettings& settings) {
  const auto ruleset = render_ruleset(settings.name, settings.pools);
  if (!ruleset) return failed("selftest", ruleset.error(), "");
  const auto made = check_proof(config.get("runtime-dir"), *ruleset);
  if (!made) return failed("selftest", made.error(), "");
  return ok("selftest", "the chains passed at " + render_time(*made));
}

// The way back from the targets is others' to know: said, not checked.
Finding examine_route(const std::string& interface, const Prefix& pool) {
  const auto routed = has_route(interface, pool);
  return check(routed && *routed, "return_route",
               pool.str() + " leads to " + interface + "; jump hosts, and targets without " +
                   "`nat = true`, must route it to this host",
               "no route of the main table leads " + pool.str() + " to " + interface,
               "ip route add " + pool.str() + " dev " + interface +
                   "; systemctl restart jitwg-gateway does it, too");
}

Findings examine_network(const InterfaceSettings& settings) {
  const auto forwarding = [](const std::string& what, const std::string& key) {
    std::string path = "/proc/sys/" + key;
    std::ranges::replace(path, '.', '/');
    return check_forwarding(what, key, read_line(path));
  };
  Findings found = {forwarding("ip_forward", "net.ipv4.ip_forward")};
  const auto is_ipv6 = [](const Prefix& pool) { return pool.address.family == 6; };
  if (std::ranges::any_of(settings.pools, is_ipv6))
    found.push_back(forwarding("ip_forward6", "net.ipv6.conf.all.forwarding"));
  found.push_back(check_rp_filter(observe_rp_filter()));
  found.push_back(examine_wireguard(settings));
  found.push_back(check_mtu(settings.name, read_number("/sys/class/net/" + settings.name + "/mtu"),
                            settings.mtu, observe_mtus(settings.name)));
  for (const Prefix& pool : settings.pools) found.push_back(examine_route(settings.name, pool));
  return found;
}

}  // namespace

Findings examine(const Config& config, const Result<InterfaceSettings>& settings) {
  const User user = find_user("jitwg-gw");
  Findings found = node::examine_node(config, "jitwg-gateway", user);
  found.push_back(examine_path("wireguard_key", config.get("wireguard-key"), user, 0600));
  if (!settings) {
    found.push_back(failed("configuration", settings.error(), config.get("config")));
  } else {
    add(found, examine_network(*settings));
    add(found, examine_nftables(*settings));
    found.push_back(examine_selftest(config, *settings));
  }
  return found;
}

}  // namespace jitwg::gateway
