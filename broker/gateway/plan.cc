#include "broker/gateway/plan.h"

#include <algorithm>

namespace jitwg::gateway {
namespace {

using wireguard::Peer;
using wireguard::PublicKey;

struct ElementKey {
  const Element* element;
  auto operator<=>(const ElementKey& other) const {
    return std::tie(element->set, element->key, element->key_end) <=>
           std::tie(other.element->set, other.element->key, other.element->key_end);
  }
  bool operator==(const ElementKey& other) const { return (*this <=> other) == 0; }
};

bool holds(const std::map<PublicKey, const Peer*>& peers, const Tunnel& tunnel) {
  const auto found = peers.find(tunnel.key);
  return found != peers.end() && found->second->allowed_ips == tunnel.addresses;
}

// Which open sessions may be, and why the others may not.
std::vector<const Tunnel*> choose(const std::vector<Tunnel>& wanted,
                                  const std::map<PublicKey, const Peer*>& peers,
                                  const Capacity& capacity, Plan& plan) {
  auto& refused = plan.refused;
  std::map<PublicKey, SessionId> keys;
  struct Candidate {
    bool holds;
    const Tunnel* tunnel;
  };
  std::vector<Candidate> candidates;
  std::vector<const Tunnel*> chosen;
  for (const Tunnel& tunnel : wanted) {
    if (tunnel.open)
      candidates.push_back({holds(peers, tunnel), &tunnel});
    else
      keys.emplace(tunnel.key, tunnel.session);
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    if (a.holds != b.holds) return a.holds;
    return std::tie(a.tunnel->not_before, a.tunnel->session) <
           std::tie(b.tunnel->not_before, b.tunnel->session);
  });
  std::map<Prefix, SessionId> addresses;
  std::map<std::string_view, size_t> fill;  // of each set
  for (const auto& [holds_its_peer, tunnel] : candidates) {
    if (plan.foreign.contains(tunnel->key)) {
      refused.emplace(tunnel->session,
                      Error{Code::address_taken, "its WireGuard key belongs to a foreign peer", {}});
      continue;
    }
    const auto key = keys.find(tunnel->key);
    if (key != keys.end()) {
      refused.emplace(tunnel->session,
                      Error{Code::address_taken,
                            "its WireGuard key belongs to session " + key->second.str(),
                            {}});
      continue;
    }
    const auto taken =
        std::find_if(tunnel->addresses.begin(), tunnel->addresses.end(),
                     [&](const Prefix& address) { return addresses.contains(address); });
    if (taken != tunnel->addresses.end()) {
      refused.emplace(tunnel->session, Error{Code::address_taken,
                                             taken->str_short() + " belongs to session " +
                                                 addresses.at(*taken).str(),
                                             {}});
      continue;
    }
    std::map<std::string_view, size_t> more;
    for (const Element& element : tunnel->elements) ++more[element.set];
    const auto full = std::find_if(more.begin(), more.end(), [&](const auto& set) {
      return fill[set.first] + set.second > capacity.of(set.first);
    });
    if (full != more.end()) {
      refused.emplace(tunnel->session, Error{Code::gateway_full,
                                             "set " + std::string(full->first) + " has no room for " +
                                                 std::to_string(full->second) + " more elements",
                                             "end sessions, or use another gateway"});
      continue;
    }
    for (const auto& [set, count] : more) fill[set] += count;
    keys.emplace(tunnel->key, tunnel->session);
    for (const Prefix& address : tunnel->addresses) addresses.emplace(address, tunnel->session);
    chosen.push_back(tunnel);
  }
  return chosen;
}

void plan_peers(const std::vector<Tunnel>& wanted, const std::vector<const Tunnel*>& chosen,
                const Observed& observed, const std::vector<Prefix>& pools, Plan& plan) {
  std::map<PublicKey, const Tunnel*> right;
  std::set<PublicKey> ours;
  for (const Tunnel& tunnel : wanted)
    if (!plan.foreign.contains(tunnel.key)) ours.insert(tunnel.key);
  for (const Tunnel* tunnel : chosen) right.emplace(tunnel->key, tunnel);

  for (const Peer& peer : observed.interface.peers) {
    const auto found = right.find(peer.key);
    if (found != right.end() && found->second->addresses == peer.allowed_ips) {
      right.erase(found);  // as it should be
      continue;
    }
    if (has_address_in(peer, pools) || ours.contains(peer.key))
      plan.remove_peers.push_back(peer.key);
  }
  for (const auto& [key, tunnel] : right)
    plan.add_peers.push_back({key, tunnel->addresses, {}, {}});
}

void plan_elements(const std::vector<const Tunnel*>& chosen, const Observed& observed, Plan& plan) {
  std::set<ElementKey> missing;
  for (const Tunnel* tunnel : chosen)
    for (const Element& element : tunnel->elements) missing.insert({&element});

  for (const Element& seen : observed.elements) {
    const auto found = missing.find({&seen});
    if (found == missing.end() || found->element->comment != seen.comment) {
      plan.remove_elements.push_back(seen);
      continue;
    }
    if (seen.remaining > found->element->remaining + kEndTolerance)
      plan.replace_elements.push_back(*found->element);
    missing.erase(found);
  }
  for (const ElementKey& key : missing) plan.add_elements.push_back(*key.element);
}

}  // namespace

bool has_address_in(const Peer& peer, const std::vector<Prefix>& pools) {
  return std::any_of(peer.allowed_ips.begin(), peer.allowed_ips.end(), [&](const Prefix& allowed) {
    return std::any_of(pools.begin(), pools.end(),
                       [&](const Prefix& pool) { return pool.contains(allowed); });
  });
}

Plan plan(const std::vector<Tunnel>& wanted, const Observed& observed,
          const std::vector<Prefix>& pools, const Capacity& capacity) {
  Plan result;
  std::map<PublicKey, const Peer*> peers;
  for (const Peer& peer : observed.interface.peers) peers.emplace(peer.key, &peer);
  for (const Tunnel& tunnel : wanted)
    if (const auto found = peers.find(tunnel.key);
        !tunnel.held && found != peers.end() && !found->second->allowed_ips.empty() &&
        !has_address_in(*found->second, pools))
      result.foreign.insert(tunnel.key);
  // Past the chains nothing ends a session: then none is open, until that is gone.
  std::vector<const Tunnel*> chosen;
  if (observed.bypass.empty()) chosen = choose(wanted, peers, capacity, result);
  plan_peers(wanted, chosen, observed, pools, result);
  plan_elements(chosen, observed, result);
  return result;
}

}  // namespace jitwg::gateway
