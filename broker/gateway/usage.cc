#include "broker/gateway/usage.h"

#include <algorithm>
#include <utility>


namespace jitwg::gateway {

void Usage::see(const wireguard::Peer* peer) {
  if (peer == nullptr || peer->rx < rx_ || peer->tx < tx_) {  // gone, or put in anew
    past_rx_ += std::exchange(rx_, 0);
    past_tx_ += std::exchange(tx_, 0);
  }
  if (peer == nullptr) return;
  seen_ = true;
  rx_ = peer->rx;
  tx_ = peer->tx;
  last_handshake_ = std::max(last_handshake_, peer->last_handshake);
}

json::value render_evidence(const Usage& usage) {
  json::object evidence = {{"peer", false}, {"elements", 0},   {"flows", 0}, {"last_handshake", nullptr},
                           {"rx", nullptr}, {"tx", nullptr}};
  if (usage.last_handshake()) evidence["last_handshake"] = render_time(*usage.last_handshake());
  if (usage.seen()) {
    evidence["rx"] = static_cast<int64_t>(usage.rx());
    evidence["tx"] = static_cast<int64_t>(usage.tx());
  }
  return evidence;
}

}  // namespace jitwg::gateway
