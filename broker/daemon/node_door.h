// Lets nodes in: their documents' signatures by policy's node keys, and each nonce once. Over TLS the
// connection must have proven the same key, so that a document is worth nothing to who only copied
// it; over the Unix socket the document must be fresh instead. Event-loop thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/audit/event.h"
#include "broker/base/time.h"
#include "broker/daemon/rules.h"
#include "broker/node/node_documents.h"
#include "broker/transport/http.h"

namespace jitwg::broker {

class NodeDoor {
 public:
  explicit NodeDoor(EventSink& events) : events_(events) {}

  struct Watcher {
    node::Watch watch;
    bool clock_is_right = true;  // no: it may close and show evidence, and gets nothing new
  };
  // verify_watch()'s errors, wrong_node (TLS with another key or none), replay. More than 30 s off is
  // the event node.clock, once each time it comes to that; over the Unix socket the error clock too.
  Result<Watcher> watch(const ssh::SignedDocument& document, const http::Caller& caller,
                        const Rules& rules, WallTime now);
  // By the name of each node that said, when it last watched, that it lacks some of the CA's keys: those.
  std::map<std::string, std::vector<std::string>> without_ca(const Rules& rules) const;
  // nullopt: the very same bytes came before, and have been answered.
  Result<std::optional<node::Report>> report(const ssh::SignedDocument& document,
                                             const http::Caller& caller, const Rules& rules,
                                             WallTime now);

 private:
  // Is the clock right? An error where the document's age is all that speaks against a copy.
  Result<bool> check_clock(const node::NodeHead& head, const http::Caller& caller, WallTime now);
  // True when these bytes came before; replay when the nonce came with others.
  Result<bool> known(const node::NodeHead& head, const std::string& body, WallTime now);

  struct Seen {
    std::string digest;
    WallTime until;
  };
  EventSink& events_;
  std::set<std::string> wrong_clocks_;  // said already
  std::map<std::string, std::vector<std::string>> ca_keys_;  // that each node knows
  std::map<std::string, Seen> nonces_;  // of "node nonce"
  std::multimap<WallTime, std::string> by_age_;
};

}  // namespace jitwg::broker
