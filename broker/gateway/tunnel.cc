#include "broker/gateway/tunnel.h"

#include <netinet/in.h>

#include <algorithm>

#include "broker/base/limits.h"

namespace jitwg::gateway {
namespace {

using netfilter::Key;

constexpr uint16_t kSshPort = 22;

IpAddress last_of(const Prefix& prefix) {
  IpAddress last = prefix.address;
  for (int bit = prefix.length; bit < prefix.address.bits(); ++bit)
    last.bytes[static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(0x80 >> (bit % 8));
  return last;
}

std::string key_of(const IpAddress& from, const IpAddress& to, const ScopeEntry& entry,
                   uint16_t port) {
  Key key;
  key.address(from).address(to);
  if (entry.protocol != Protocol::icmp)
    key.protocol(entry.protocol == Protocol::tcp ? IPPROTO_TCP : IPPROTO_UDP).port(port);
  return key.bytes();
}

Element element_of(const IpAddress& from, const ScopeEntry& entry, const SessionId& session,
                   Millis remaining) {
  Element element;
  const bool single = entry.is_single();
  element.set = entry.protocol == Protocol::icmp ? (single ? "icmp" : "icmp_range")
                                                 : (single ? "scope" : "range");
  element.set += from.family == 4 ? "4" : "6";
  element.key = key_of(from, entry.destination.address, entry, entry.first_port);
  if (!single) element.key_end = key_of(from, last_of(entry.destination), entry, entry.last_port);
  element.comment = session.str();
  element.remaining = remaining;
  return element;
}

// For `nat`: all that comes from the inner addresses, but for the jump hosts' SSH: its certificate is bound to the
// inner address, which sshd must therefore see.
void add_nat(const Grant& grant, Millis remaining, std::vector<Element>& elements) {
  const std::string& session = grant.session.str();
  for (const Prefix& from : grant.address) {
    const std::string family = from.address.family == 4 ? "4" : "6";
    elements.push_back({"nat" + family, Key().address(from.address).bytes(), "", session, remaining});
    for (const GrantJumpHost& jump : grant.jump_hosts)
      for (const IpAddress& to : jump.addresses)
        if (to.family == from.address.family)
          elements.push_back({"direct" + family, key_of(from.address, to, {}, kSshPort), "", session, remaining});
  }
}

}  // namespace

Result<void> check_grant(const Grant& grant, const std::string& node,
                         const wireguard::PublicKey& own_key, const std::vector<Prefix>& pools) {
  if (grant.gateway.name != node)
    return fail(Code::wrong_node,
                "the grant is for gateway " + grant.gateway.name + ", this is " + node);
  if (grant.gateway.wireguard_key != own_key.str())
    return fail(Code::wrong_node,
                "the grant names another WireGuard key than this gateway's " + own_key.str(),
                "put this gateway's key into the policy");
  JITWG_ASSIGN(const auto key, wireguard::PublicKey::parse(grant.wg_public_key));
  if (ssh::is_weak_x25519(key.bytes())) return fail(Code::bad_key, "the WireGuard key is weak");
  if (key == own_key) return fail(Code::address_taken, "the WireGuard key is this gateway's own");
  if (grant.address.empty()) return fail(Code::bad_value, "the grant has no inner address");
  for (const Prefix& address : grant.address) {
    const auto inside = [&](const Prefix& pool) { return pool.contains(address); };
    if (!address.is_host()) return fail(Code::bad_value, address.str() + " is wider than one host");
    if (std::none_of(pools.begin(), pools.end(), inside))
      return fail(Code::bad_value, address.str() + " is in none of this gateway's pools",
                  "`pool` in gateway.conf and `pools` in the policy must agree");
  }
  if (grant.scope.empty()) return fail(Code::bad_value, "the grant has no scope");
  if (grant.scope.size() > 2 * limits::kScopeEntries)  // the target's and the jump hosts'

    return fail(Code::too_large, "the grant's scope is too long");
  if (grant.not_after <= grant.not_before)
    return fail(Code::bad_time, "the grant ends before it begins");
  return {};
}

Scope disjoint(const Scope& scope) {
  Scope wide_first = scope;
  std::stable_sort(wide_first.begin(), wide_first.end(),
                   [](const ScopeEntry& a, const ScopeEntry& b) {
                     return a.destination.length < b.destination.length;
                   });
  Scope result;
  for (const ScopeEntry& entry : wide_first) {
    // What is left of this entry's ports once those that a wider (or equal) prefix already covers
    // are taken out.
    Scope left = {entry};
    for (size_t i = 0, count = result.size(); i < count; ++i) {
      const ScopeEntry& taken = result[i];
      if (taken.protocol != entry.protocol || !taken.destination.contains(entry.destination))
        continue;
      Scope pieces;
      for (ScopeEntry piece : left) {
        if (piece.last_port < taken.first_port || piece.first_port > taken.last_port) {
          pieces.push_back(piece);
          continue;
        }
        ScopeEntry below = piece, above = piece;
        below.last_port = static_cast<uint16_t>(taken.first_port - 1);
        above.first_port = static_cast<uint16_t>(taken.last_port + 1);
        if (piece.first_port < taken.first_port) pieces.push_back(below);
        if (piece.last_port > taken.last_port) pieces.push_back(above);
      }
      left = std::move(pieces);
    }
    result.insert(result.end(), left.begin(), left.end());
  }
  return normalise(std::move(result));
}

Scope expand(const Scope& disjoint) {
  Scope result;
  size_t room = kTuplesPerGrant;
  for (const ScopeEntry& entry : disjoint) {
    const int wild = entry.destination.address.bits() - entry.destination.length;
    const size_t hosts = wild > 4 ? kTuplesPerGrant : size_t{1} << wild;
    const size_t tuples = hosts * static_cast<size_t>(entry.last_port - entry.first_port + 1);
    if (entry.is_single() || tuples > std::min(kTuplesPerEntry, room)) {
      result.push_back(entry);
      continue;
    }
    room -= tuples;
    for (size_t i = 0; i < tuples; ++i) {
      const auto port = static_cast<uint16_t>(entry.first_port + i / hosts);
      result.push_back({entry.protocol, Prefix::host(entry.destination.address.plus(i % hosts)), port, port});
    }
  }
  return result;
}

Result<Tunnel> make_tunnel(const Grant& grant, Millis remaining) {
  JITWG_ASSIGN(auto key, wireguard::PublicKey::parse(grant.wg_public_key));
  Tunnel tunnel{grant.session,         std::move(key),   grant.address,
                remaining > Millis(0), grant.not_before, {}};
  std::sort(tunnel.addresses.begin(), tunnel.addresses.end());
  if (!tunnel.open) return tunnel;
  for (const ScopeEntry& entry : expand(disjoint(grant.scope)))
    for (const Prefix& from : tunnel.addresses)
      if (from.address.family == entry.destination.address.family)
        tunnel.elements.push_back(element_of(from.address, entry, grant.session, remaining));
  if (grant.nat) add_nat(grant, remaining, tunnel.elements);
  std::sort(tunnel.elements.begin(), tunnel.elements.end());
  // Two jump hosts may share an address; the kernel takes an element once.
  tunnel.elements.erase(std::unique(tunnel.elements.begin(), tunnel.elements.end()), tunnel.elements.end());
  return tunnel;
}

}  // namespace jitwg::gateway
