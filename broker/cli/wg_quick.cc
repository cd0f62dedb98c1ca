#include "broker/cli/wg_quick.h"

#include <algorithm>

#include "broker/base/number.h"
#include "broker/cli/text.h"

namespace jitwg::cli {
namespace {

uint32_t low_bits(const SessionId& id) {
  uint32_t value = 0;
  const std::string digits = id.short_form();
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  JITWG_CHECK(error == std::errc{} && end == digits.data() + digits.size());
  return value;
}

// The inner address of the same family, if the session has one.
const IpAddress* inner_address(const Grant& grant, int family) {
  for (const Prefix& prefix : grant.address)
    if (prefix.address.family == family) return &prefix.address;
  return nullptr;
}

}  // namespace

std::string interface_name(const SessionId& id) { return "jw-" + id.short_form(); }

uint32_t routing_table(const SessionId& id) { return 0x40000000u | (low_bits(id) & 0x3fffffffu); }

uint32_t route_metric(const Grant& grant) {
  const auto second = static_cast<uint64_t>(grant.not_before.time_since_epoch().count());
  return 1 + (static_cast<uint32_t>(second & 0xfffff) << 11 | (low_bits(grant.session) & 0x7ff));
}

std::vector<Prefix> tunnel_destinations(const Grant& grant) {
  std::vector<Prefix> all;
  for (const ScopeEntry& entry : grant.scope) all.push_back(entry.destination);
  for (const GrantJumpHost& jump : grant.jump_hosts)
    for (const IpAddress& address : jump.addresses) all.push_back(Prefix::host(address));
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::string render_wg_quick(const Grant& grant, std::string_view private_key) {
  const std::string device = interface_name(grant.session);
  const std::string table = std::to_string(routing_table(grant.session));
  const std::string metric = std::to_string(route_metric(grant));

  std::vector<std::string> addresses, allowed, fresh, up, down;
  for (const Prefix& prefix : grant.address) addresses.push_back(prefix.str());
  for (const Prefix& to : tunnel_destinations(grant)) {
    const int family = to.address.family;
    const IpAddress* from = inner_address(grant, family);
    if (from == nullptr) continue;  // a scope entry of a family the tunnel has no address in
    allowed.push_back(to.str());
    const std::string version = std::to_string(family);
    const std::string route = fill("{} dev {} src {}", {to.str(), device, from->str()});
    for (const std::string& where : {"table " + table, "metric " + metric}) {
      up.push_back(fill("ip -{} route add {} {}", {version, route, where}));
      // The kernel has dropped routes of a link that is down: their absence must not keep the
      // interface.
      down.push_back(fill("ip -{} route del {} {} 2>/dev/null || true", {version, route, where}));
    }
  }
  // Rules come last: if a hook fails, wg-quick removes the interface and its routes, but would
  // leave a rule. One left by an interface that was removed behind wg-quick's back goes first.
  for (const Prefix& prefix : grant.address) {
    const std::string rule = fill("from {} table {}", {prefix.address.str(), table});
    const std::string version = std::to_string(prefix.address.family);
    const std::string drop = fill("ip -{} rule del {} 2>/dev/null || true", {version, rule});
    fresh.push_back(drop);
    up.push_back(fill("ip -{} rule add {}", {version, rule}));
    down.insert(down.begin(), drop);
    // WireGuard says nothing when a tunnel is cut: without this, ssh and psql would hang until their own keepalives.
    down.insert(down.begin(), fill("ss -K src {} >/dev/null 2>&1 || true", {prefix.address.str()}));
  }

  std::string text = fill(
      "# jitwg session {}: {} reaches {} until {}.\n"
      "# Written from the signed grant; changes are lost.\n"
      "[Interface]\nPrivateKey = {}\nAddress = {}\nTable = off\n",
      {grant.session.str(), grant.person, grant.target, render_time(grant.not_after),
       std::string(private_key), join(addresses, ", ")});
  for (const std::string& line : fresh) text += "PreUp = " + line + "\n";
  for (const std::string& line : up) text += "PostUp = " + line + "\n";
  for (const std::string& line : down) text += "PreDown = " + line + "\n";
  text +=
      fill("\n[Peer]\nPublicKey = {}\nEndpoint = {}\nAllowedIPs = {}\nPersistentKeepalive = 25\n",
           {grant.gateway.wireguard_key, grant.gateway.endpoint.str(), join(allowed, ", ")});
  return text;
}

}  // namespace jitwg::cli
