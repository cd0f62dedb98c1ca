// What to change so that the kernel holds exactly the wanted tunnels. Pure: values in, values out;
// one plan, carried out, leaves nothing to plan.
//
// What is ours: every element of our table; every peer with an allowed address inside our pools, for
// nobody else may have those; a peer without addresses whose key a wanted session (open or closed)
// has; of a `held` session, with whatever addresses. Any other peer of an adopted interface is
// foreign and left alone, also when somebody asked for a session with its key, which is no secret:
// that one is refused (address_taken). A peer is never altered, only removed and added: WireGuard
// moves an address silently to the peer that is given it. Of two sessions that claim one key or
// address, the one whose peer the kernel has stays, else the older one; the other is refused
// (address_taken). So are those that a set has no room for (gateway_full), in the same order:
// whoever is in stays. A key of a closed session is never given again. An element that ends later
// than it should is replaced; one that ends sooner is left so: nothing lengthens access.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "broker/gateway/tunnel.h"

namespace jitwg::gateway {

struct Observed {
  wireguard::Interface interface;
  std::vector<Element> elements;
  std::string bypass;  // what takes packets past the chains: then no session is open. Empty: nothing
};

// Carried out in this order.
struct Plan {
  std::vector<Element> remove_elements;  // first transaction
  std::vector<Element>
      replace_elements;  // in it too: deleted and added, so that the live session sees no gap
  std::vector<wireguard::PublicKey> remove_peers;
  std::vector<wireguard::Peer> add_peers;
  std::vector<Element>
      add_elements;  // second transaction, once no other peer holds their addresses

  std::map<SessionId, Error> refused;  // open sessions that may not be; the plan holds them closed
  std::set<wireguard::PublicKey> foreign;  // wanted sessions' keys that foreign peers have

  bool empty() const {
    return remove_elements.empty() && replace_elements.empty() && remove_peers.empty() &&
           add_peers.empty() && add_elements.empty();
  }
};

// A kernel timer read later than it was set differs by this much and still ends within a second of
// what was asked.
constexpr Millis kEndTolerance{500};

bool has_address_in(const wireguard::Peer& peer, const std::vector<Prefix>& pools);

Plan plan(const std::vector<Tunnel>& wanted, const Observed& observed,
          const std::vector<Prefix>& pools, const Capacity& capacity = {});

}  // namespace jitwg::gateway
