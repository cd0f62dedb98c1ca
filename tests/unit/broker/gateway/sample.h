// Grants, tunnels and kernels for tests.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "broker/base/encoding.h"
#include "broker/gateway/kernel.h"

namespace jitwg::gateway::sample {

inline SessionId id(int n) {
  std::string text = "0197f4a0-0000-7000-8000-000000000000";
  const std::string digits = std::to_string(n);
  text.replace(text.size() - digits.size(), digits.size(), digits);
  return SessionId::parse(text).value();
}
inline wireguard::PublicKey key(int n) {
  std::string bytes = sha256("key " + std::to_string(n));
  bytes.back() &= 0x7f;  // as every X25519 public key is
  return *wireguard::PublicKey::from_bytes(bytes);
}
inline std::vector<Prefix> prefixes(const std::vector<std::string>& texts) {
  std::vector<Prefix> out;
  for (const auto& text : texts) out.push_back(Prefix::parse(text).value());
  return out;
}
inline const std::vector<Prefix>& pools() {
  static const std::vector<Prefix> value = prefixes({"10.90.0.0/16", "fd00:90::/64"});
  return value;
}
inline const WallTime kNow{Seconds(1'800'000'000)};

// Session n of alice: key(n), 10.90.0.n and fd00:90::n, half an hour from kNow on.
inline Grant grant(int n, const std::vector<std::string>& scope = {"tcp 10.60.10.20:5432"}) {
  const std::string last = std::to_string(n);
  Grant g{"lab",
          id(n),
          "alice",
          "db-prod",
          {},
          key(n).str(),
          prefixes({"10.90.0." + last, "fd00:90::" + last}),
          parse_scope(scope).value(),
          {"gw1", key(0).str(), *Endpoint::parse("192.0.2.10:51820")},
          {},
          {},
          {},
          kNow,
          kNow + Seconds(1800),
          std::string(64, '0'),
          {},
          false};
  return g;
}
inline Tunnel open_tunnel(const Grant& g) { return make_tunnel(g, g.not_after - kNow).value(); }
inline Tunnel closed_tunnel(const Grant& g) { return make_tunnel(g, Millis(0)).value(); }

// A kernel in memory: holds what it is told, and refuses when a test says so.
class FakeKernel : public Kernel {
 public:
  Result<Observed> observe() override {
    if (broken) return fail(Code::system, "broken");
    return state;
  }
  Result<std::vector<Element>> list_elements() override {
    ++listings;
    if (broken) return fail(Code::system, "broken");
    return state.elements;
  }
  Result<void> change_elements(const std::vector<Element>& remove,
                               const std::vector<Element>& add) override {
    if (drifts > 0 && !remove.empty()) {  // one element expired by itself just now
      --drifts;
      std::erase(state.elements, remove.front());
      return fail(Code::wrong_state, "drifted");
    }
    if (refuse_elements) return fail(Code::system, "set full");
    std::vector<Element> next = state.elements;
    const auto place = [&](const Element& e) {
      return std::find_if(next.begin(), next.end(), [&](const Element& o) {
        return o.set == e.set && o.key == e.key && o.key_end == e.key_end;
      });
    };
    for (const Element& e : remove) {
      if (place(e) == next.end()) return fail(Code::wrong_state, "no such element");
      next.erase(place(e));
    }
    for (const Element& e : add) {
      if (place(e) != next.end()) return fail(Code::wrong_state, "element exists");
      next.push_back(e);
    }
    state.elements = std::move(next);
    steps += remove.empty() && add.empty() ? "" : "e";
    return {};
  }
  Result<void> change_peers(const std::vector<wireguard::PublicKey>& remove,
                            const std::vector<wireguard::Peer>& add) override {
    if (refuse_peers) return fail(Code::io, "no");
    if (before_adding && !add.empty()) before_adding();
    auto& peers = state.interface.peers;
    for (const auto& k : remove) std::erase_if(peers, [&](const auto& p) { return p.key == k; });
    for (const auto& peer : add) {
      // As WireGuard does: an address moves, silently.
      for (auto& other : peers)
        for (const Prefix& address : peer.allowed_ips) std::erase(other.allowed_ips, address);
      const auto there = std::find_if(peers.begin(), peers.end(), [&](const auto& p) { return p.key == peer.key; });
      if (there == peers.end())
        peers.push_back(peer);
      else
        there->allowed_ips = peer.allowed_ips;
    }
    if (after_adding && !add.empty()) after_adding();
    steps += remove.empty() && add.empty() ? "" : "p";
    return {};
  }
  Result<std::map<IpAddress, size_t>> cut_flows(const std::vector<Prefix>&,
                                                const std::set<IpAddress>& live) override {
    std::map<IpAddress, size_t> left;
    std::erase_if(flows, [&](const IpAddress& address) { return !live.contains(address); });
    for (const auto& address : stuck_flows)
      if (!live.contains(address)) left[address] = 1;
    return left;
  }

  Observed state;
  std::set<IpAddress> flows, stuck_flows;  // by inner address; stuck: cannot be deleted
  std::string steps;                       // e: elements changed, p: peers changed
  std::function<void()> before_adding, after_adding;  // somebody else's doings
  bool broken = false, refuse_elements = false, refuse_peers = false;
  int drifts = 0, listings = 0;
};

}  // namespace jitwg::gateway::sample
