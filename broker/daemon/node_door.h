// Lets nodes in: their documents' signatures by policy's node keys, their clocks, and each nonce
// once. Event-loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "broker/audit/event.h"
#include "broker/base/time.h"
#include "broker/daemon/rules.h"
#include "broker/node/node_documents.h"

namespace jitwg::broker {

class NodeDoor {
 public:
  explicit NodeDoor(EventSink& events) : events_(events) {}

  // verify_watch()'s errors, clock (30 s off, and the event node.clock), replay.
  Result<node::Watch> watch(const ssh::SignedDocument& document, const Rules& rules, WallTime now);
  // nullopt: the very same bytes came before, and have been answered.
  Result<std::optional<node::Report>> report(const ssh::SignedDocument& document,
                                             const Rules& rules, WallTime now);

 private:
  Result<void> check_clock(const node::NodeHead& head, WallTime now);
  // True when these bytes came before; replay when the nonce came with others.
  Result<bool> known(const node::NodeHead& head, const std::string& body, WallTime now);

  struct Seen {
    std::string digest;
    WallTime until;
  };
  EventSink& events_;
  std::map<std::string, Seen> nonces_;  // of "node nonce"
  std::multimap<WallTime, std::string> by_age_;
};

}  // namespace jitwg::broker
