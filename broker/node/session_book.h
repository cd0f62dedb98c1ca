// Which sessions a node has, which it has closed, and what it owes the broker a report of. The
// agent without its event loop: every call takes `now` and leaves disk and memory in agreement.
//
// A session comes in by admit() only. It leaves by begin-close (tombstone on disk first), converge
// until the enforcer has evidence, tombstone with evidence, report.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/node/agent.h"
#include "broker/node/grant_store.h"
#include "broker/node/node_documents.h"
#include "broker/node/watch_stream.h"

namespace jitwg::node {

struct OwedReport {
  Finding finding;
  uint64_t number = 0;      // of this finding: a newer one for the same session has another
  bool complained = false;  // the log has been told that the broker does not take it
};

class SessionBook {
 public:
  using IsMine = std::function<bool(const Grant&, const std::string& node)>;
  // `enforcer` outlives the book.
  SessionBook(AgentConfig config, GrantStore store, Enforcer& enforcer, IsMine is_mine);

  // What the disk remembers; each grant is verified again.
  Result<void> load(const Instant& now);
  // What the broker wants, its refusals becoming reports. What is to be closed is cut first of all.
  void apply(const Update& update, const Instant& now);
  // After apply(): opens what it took in, if that is all there is to do. False: converge().
  bool open_fresh(const Instant& now);
  // Takes one grant, whoever brings it: verified, ours, in its time, not closed before, admitted by
  // the enforcer, stored. One that is held already is fine. `announced`: the session it must be
  // for.
  Result<SessionId> admit(const ssh::SignedDocument& document, const Instant& now,
                          const std::optional<SessionId>& announced = std::nullopt);
  // Ends what has expired, brings the machine to what is wanted, and books the outcomes. True:
  // something is unfinished, ask again soon.
  bool converge(const Instant& now);

  // By the broker's last word, this node's clock or the broker's is wrong: no new sessions.
  bool clock_is_off() const { return clock_is_off_.has_value(); }
  std::vector<Wanted> sessions() const;
  // Until the next of the open ones ends, by whichever clock comes first, or one that waits for the
  // wall clock begins.
  std::optional<BootClock::duration> next_change(const Instant& now) const;

  const std::map<SessionId, OwedReport>& owed() const { return owed_; }
  uint64_t last_owed() const { return last_number_; }  // grows with every new finding
  // The broker took the report with this number.
  void reported(const SessionId& session, uint64_t number);
  // The broker refused it: true the first time, for the log.
  bool complain_once(const SessionId& session, uint64_t number);

 private:
  struct Held {
    Wanted wanted;
    ClockMark taken;        // here, or first seen in this boot
    bool early = false;     // before its begin: the wall clock is wrong, and it waits for the right one
    bool unsure = false;    // the disk may have missed its end: it waits for the broker's word
    bool announce = false;  // the broker wants to hear that it is open
    bool settled = false;   // the last converge found it as wanted

    bool waits() const { return wanted.open && (early || unsure); }
  };

  static void complain(const std::string& what, const SessionId& session, const Error& error);
  static BootClock::duration to_begin(const Held& held, const Instant& now);
  static BootClock::duration to_end(const Held& held, const Instant& now);
  Held& hold(Grant grant, const ClockMark& taken);
  Result<Grant> judge(const ssh::SignedDocument& document, WallTime now) const;
  void judge_clock(WallTime at_broker, WallTime now);
  void apply_open(const Entry& entry, const Instant& now);
  void apply_closed(const Entry& entry, WallTime now);
  void close_unnamed(const Update& snapshot);
  void cut(const Update& update);
  void begin_close(const SessionId& session, CloseReason reason);
  void finish_close(const SessionId& session, const json::value& evidence);
  bool take_outcome(const Outcome& outcome, const Instant& now);
  void prove_absences();
  void bury(Tombstone tombstone);
  void bury_again();
  void forget_old(WallTime now);
  void owe(const SessionId& session, Finding finding);

  const AgentConfig config_;
  const GrantStore store_;
  Enforcer& enforcer_;
  const IsMine is_mine_;
  std::map<SessionId, Held> held_;
  std::map<SessionId, Tombstone> tombstones_;
  std::set<SessionId> unburied_;  // tombstones that the disk did not take; tried again
  std::map<SessionId, OwedReport> owed_;
  std::optional<Error> clock_is_off_;  // against the broker's: no new sessions
  uint64_t last_number_ = 0;
  std::vector<SessionId> fresh_;  // admitted since the enforcer was last asked
  bool quiet_ = false;            // the last converge left nothing undone, and only fresh_ is new since
};

}  // namespace jitwg::node
