// What a session's tunnel was used for, as far as it was seen. WireGuard counts from zero when a peer
// is put in anew and forgets all when it goes, so what is seen is kept: until the session is proven
// closed, and over peers that somebody else removed. Pure.
#pragma once

#include <optional>

#include "broker/base/json.h"
#include "broker/base/time.h"
#include "broker/gateway/wireguard.h"

namespace jitwg::gateway {

class Usage {
 public:
  // The session's peer as it is now; nullptr: the kernel has none.
  void see(const wireguard::Peer* peer);
  uint64_t rx() const { return past_rx_ + rx_; }  // bytes from the person
  uint64_t tx() const { return past_tx_ + tx_; }
  const std::optional<WallTime>& last_handshake() const { return last_handshake_; }
  bool seen() const { return seen_; }  // ever

 private:
  bool seen_ = false;
  uint64_t rx_ = 0, tx_ = 0;  // the last peer's, and of those before it
  uint64_t past_rx_ = 0, past_tx_ = 0;
  std::optional<WallTime> last_handshake_;
};

// The evidence that nothing is left (broker/PROTOCOL.md). Never seen: null, not zero.
json::value render_evidence(const Usage& usage);

}  // namespace jitwg::gateway
