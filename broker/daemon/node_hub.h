// What every node is to have, and the streams that tell them (broker/PROTOCOL.md, Nodes). Holds a
// mirror of the live sessions, fed after each commit in order, so that a snapshot needs no query
// and never lags behind a change.
//
// Synchronises state, not events: a slow node gets each session's newest entry once. Who comes back
// with a revision of this run gets what has changed since. Event-loop thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "broker/audit/event.h"
#include "broker/base/time.h"
#include "broker/daemon/rules.h"
#include "broker/node/watch_stream.h"
#include "broker/store/store.h"
#include "broker/transport/server.h"

namespace jitwg::broker {

class NodeHub : public std::enable_shared_from_this<NodeHub> {
 public:
  NodeHub(boost::asio::io_context& io, EventSink& events, const Clock& clock);

  // A session as it is now: at start, and after every commit that touched it.
  void update(const store::Session& session);
  // A new stream for this node: first a snapshot, or, where `held` is a revision that is known here,
  // a set of what has changed since. The node's older stream ends.
  std::shared_ptr<http::LineSource> watch(const std::string& node, int64_t held = 0,
                                          bool clock_is_right = true);
  // It watches, and new sessions may go through it.
  bool is_connected(const std::string& node) const;
  bool has_wrong_clock(const std::string& node) const;
  // Ends the stream of each node whose key the new rules do not name as the old ones did.
  void drop_strangers(const Rules& before, const Rules& after);
  // Says every `closed` again; returns how many sessions are closing.
  size_t remind();

 private:
  class Stream;
  struct Held {
    node::Entry entry;
    std::set<std::string> nodes;
    int64_t revision = 0;  // since which it is so
  };

  bool knows(const std::string& node, int64_t revision) const;
  void changed(const SessionId& id, const Held& held);
  node::Update take_update(Stream& stream);
  void left(const Stream& stream);
  void emit(EventName event, const std::string& node, const std::string& text);

  boost::asio::io_context& io_;
  EventSink& events_;
  const Clock& clock_;
  std::map<SessionId, Held> live_;
  std::map<std::string, Stream*> streams_;  // the newest of each node; owned by its connection
  std::set<std::string> seen_;
  std::map<std::string, int64_t> removals_;  // of each node, the revision of the last
  const int64_t first_;                      // revision
  int64_t revision_ = first_;
};

}  // namespace jitwg::broker
