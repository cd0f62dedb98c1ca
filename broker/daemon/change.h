// One task's doings: the store's view, the one time it happens at, and what has to follow once it
// is durable. A task that fails leaves nothing of it.
#pragma once

#include <map>
#include <vector>

#include "broker/audit/event.h"
#include "broker/store/store.h"

namespace jitwg::broker {

// Kept until the commit: events to emit, sessions whose nodes and waiters have to hear of it.
struct Effects {
  std::vector<Event> events;
  std::map<SessionId, store::Session> sessions;
  bool for_signer = false;  // the signer has a statement waiting
};

class Change {
 public:
  Change(store::Tx& view, WallTime time, Effects& effects)
      : tx(view), now(time), effects_(effects) {}

  store::Tx& tx;
  const WallTime now;

  Result<void> save(const store::Session& session);
  // Into the session's chain, in this transaction; to journald after the commit.
  Result<void> record(EventName name, const store::Session& session, std::string text,
                      const std::string& person = {}, const std::string& node = {},
                      std::optional<Code> code = {});
  // To journald only, after the commit.
  void note(Event event) { effects_.events.push_back(std::move(event)); }
  Result<void> queue_for_signer(const std::string& digest);

  // unknown_session, unknown_incident.
  Result<store::Session> session(const SessionId& id);
  Result<store::Incident> incident(const SessionId& id);

 private:
  Effects& effects_;
};

}  // namespace jitwg::broker
