#include "broker/node/session_book.h"

#include <algorithm>
#include <utility>

#include "broker/base/limits.h"
#include "broker/os/service.h"

namespace jitwg::node {
namespace {

using Millis = BootClock::duration;

}  // namespace

SessionBook::SessionBook(AgentConfig config, GrantStore store, Enforcer& enforcer, IsMine is_mine)
    : config_(std::move(config)),
      store_(std::move(store)),
      enforcer_(enforcer),
      is_mine_(std::move(is_mine)) {}

void SessionBook::complain(const std::string& what, const SessionId& session, const Error& error) {
  log(Level::error, what + ": " + error.render() + " session=" + session.str());
}

// A session that was taken in its time stays in it, whatever the wall clock is set to.
Millis SessionBook::to_begin(const Held& held, const Instant& now) {
  return held.wanted.grant.not_before - limits::kNodeClockSkew - std::max(now.wall, held.taken.wall_at(now.boot));
}

Millis SessionBook::to_end(const Held& held, const Instant& now) {
  return std::min<Millis>(held.wanted.grant.not_after - now.wall, held.wanted.ends - now.boot);
}

SessionBook::Held& SessionBook::hold(Grant grant, const ClockMark& taken) {
  const SessionId session = grant.session;
  const BootTime ends = taken.end_of(grant);
  return held_.emplace(session, Held{{std::move(grant), true, CloseReason::expired, ends}, taken}).first->second;
}

// Everything but the enforcer's say and the disk.
Result<Grant> SessionBook::judge(const ssh::SignedDocument& document, WallTime now) const {
  JITWG_ASSIGN(Grant grant, verify_grant(document, config_.ca, config_.realm));
  if (!is_mine_(grant, config_.node))
    return fail(Code::wrong_node, "the grant does not name " + config_.node);
  if (tombstones_.contains(grant.session))
    return fail(Code::not_live, "the session has been closed here");
  if (grant.not_after <= now)
    return fail(Code::not_live, "the session ended at " + render_time(grant.not_after) +
                                    ", it is " + render_time(now));
  if (grant.not_before > now + limits::kNodeClockSkew)
    return fail(Code::clock,
                "the session begins at " + render_time(grant.not_before) + ", but it is only " +
                    render_time(now) + " here",
                "set this node's clock");
  if (grant.not_after - grant.not_before > limits::kLongestGrant)
    return fail(Code::bad_value, "the session would last longer than ten years");
  return grant;
}

Result<SessionId> SessionBook::admit(const ssh::SignedDocument& document, const Instant& now,
                                     const std::optional<SessionId>& announced) {
  JITWG_ASSIGN(Grant grant, judge(document, now.second()));
  const SessionId session = grant.session;
  if (announced && *announced != session)
    return fail(Code::bad_value, "the grant is for session " + session.str());
  if (held_.contains(session)) return session;
  if (held_.size() >= limits::kSessionsPerNode)
    return fail(Code::too_many_requests, "this node holds as many sessions as it can serve");
  JITWG_TRY(enforcer_.admit(grant));
  // On disk first: what is open must be known after a crash.
  const ClockMark taken{config_.boot_id, now};
  JITWG_TRY(store_.store_grant(session, {document, taken}));
  hold(std::move(grant), taken);
  fresh_.push_back(session);
  return session;
}

// All at once, and before a tombstone is written: a thousand of those take a second.
void SessionBook::cut(const Update& update) {
  std::set<SessionId> named;
  std::vector<Wanted> ending;
  const auto collect = [&](const Held& held, CloseReason reason) {
    if (held.wanted.open) ending.push_back({held.wanted.grant, false, reason});
  };
  for (const Entry& entry : update.entries) {
    named.insert(entry.session);
    const auto held = held_.find(entry.session);
    if (!entry.grant && held != held_.end()) collect(held->second, entry.reason);
  }
  if (update.kind == Update::Kind::snapshot)
    for (const auto& [session, held] : held_)
      if (!named.contains(session) && !held.wanted.grant.break_glass)
        collect(held, CloseReason::failed);
  if (!ending.empty()) enforcer_.cut(ending);
}

void SessionBook::apply(const Update& update, const Instant& now) {
  cut(update);
  judge_clock(update.now, now.second());
  if (update.kind == Update::Kind::snapshot) close_unnamed(update);
  for (const Entry& entry : update.entries) {
    if (entry.grant)
      apply_open(entry, now);
    else
      apply_closed(entry, now.second());
  }
  if (update.kind != Update::Kind::heartbeat) return;  // there may be very many of either
  bury_again();
  // By both clocks: a step of this one opens no way back.
  forget_old(std::min(update.now, now.second()));
}

void SessionBook::judge_clock(WallTime at_broker, WallTime now) {
  // Whole seconds and the way here make one second of doubt: not to and fro at the line.
  constexpr Seconds kDoubt(2);
  const bool was_off = clock_is_off_.has_value();
  clock_is_off_.reset();
  if (std::chrono::abs(at_broker - now) > limits::kNodeClockSkew - (was_off ? kDoubt : Seconds(0)))
    clock_is_off_ = Error{
        Code::clock,
        "it is " + render_time(at_broker) + " at the broker and " + render_time(now) + " here",
        "set the clocks"};
  if (clock_is_off_ && !was_off)
    log(Level::warning, "no new sessions: " + clock_is_off_->render());
  else if (!clock_is_off_ && was_off)
    log(Level::notice, "clocks agree again");
}

void SessionBook::apply_open(const Entry& entry, const Instant& now) {
  if (const auto held = held_.find(entry.session); held != held_.end()) {
    held->second.announce = true;
    held->second.unsure = false;
    quiet_ = false;
    return;
  }
  // What became of it says more than a refusal.
  if (const auto known = tombstones_.find(entry.session);
      known != tombstones_.end() && known->second.evidence.is_object())
    return owe(entry.session, {Reported::closed, std::nullopt, known->second.evidence});
  const Result<SessionId> admitted = clock_is_off_ ? tl::unexpected<Error>(*clock_is_off_)
                                                   : admit(*entry.grant, now, entry.session);
  if (admitted) {
    held_.at(*admitted).announce = true;
    return;
  }
  complain("grant refused", entry.session, admitted.error());
  owe(entry.session, {Reported::refused, admitted.error().code, nullptr});
}

void SessionBook::apply_closed(const Entry& entry, WallTime now) {
  if (held_.contains(entry.session)) {
    begin_close(entry.session, entry.reason);
  } else if (const auto known = tombstones_.find(entry.session); known == tombstones_.end()) {
    // Never seen here, or forgotten: nothing to close, but the broker needs to hear it, and the
    // grant must not come in later.
    bury(
        {.session = entry.session, .not_after = now + limits::kUnknownEnd, .reason = entry.reason});
  } else if (known->second.evidence.is_object()) {
    owe(entry.session, {Reported::closed, std::nullopt, known->second.evidence});
  }
}

void SessionBook::close_unnamed(const Update& snapshot) {
  std::set<SessionId> named;
  for (const Entry& entry : snapshot.entries) named.insert(entry.session);
  for (auto& [session, held] : held_) {
    held.announce = false;
    if (held.wanted.open && !held.wanted.grant.break_glass && !named.contains(session)) {
      log(Level::warning,
          "the broker no longer knows an open session, closing session=" + session.str());
      begin_close(session, CloseReason::failed);
    }
  }
  // Refusals and confirmations of what the broker no longer asks about interest nobody.
  std::erase_if(owed_, [&](const auto& item) {
    return item.second.finding.state != Reported::closed && !named.contains(item.first);
  });
}

void SessionBook::begin_close(const SessionId& session, CloseReason reason) {
  Held& held = held_.at(session);
  if (!held.wanted.open) return;  // the first reason stands
  held.wanted.open = false;
  held.wanted.reason = reason;
  bury({.session = session, .not_after = held.wanted.grant.not_after, .reason = reason});
}

void SessionBook::finish_close(const SessionId& session, const json::value& evidence) {
  Tombstone tombstone = tombstones_.at(session);
  tombstone.evidence = evidence;
  bury(std::move(tombstone));
  if (const auto removed = store_.remove_grant(session); !removed)
    complain("grant of a closed session", session, removed.error());
  if (unburied_.contains(session)) bury(tombstones_.at(session));  // on a full disk there is room now
  held_.erase(session);
  owe(session, {Reported::closed, std::nullopt, evidence});
}

void SessionBook::bury(Tombstone tombstone) {
  if (tombstone.evidence.is_null()) quiet_ = false;
  const SessionId session = tombstone.session;
  const auto place = tombstones_.insert_or_assign(session, std::move(tombstone)).first;
  const Result<void> stored = store_.store_tombstone(place->second);
  if (stored) {
    unburied_.erase(session);
  } else if (unburied_.insert(session).second) {
    complain("tombstone not stored, trying again", session, stored.error());
  }
}

bool SessionBook::converge(const Instant& now) {
  for (auto& [session, held] : held_) {
    held.settled = false;
    if (!held.wanted.open) continue;
    if (to_end(held, now) <= Millis(0)) begin_close(session, CloseReason::expired);
    const bool early = held.wanted.open && to_begin(held, now) > Millis(0);
    if (early && !held.early)
      log(Level::error, "a stored session begins " + render_time(held.wanted.grant.not_before) + ", but it is only " +
                            render_time(now.second()) + " here; it waits until the clock is right session=" +
                            session.str());
    held.early = early;
  }
  bool again = false;
  for (const Outcome& outcome : enforcer_.converge(sessions(), now.second()))
    again |= take_outcome(outcome, now);
  prove_absences();
  bury_again();
  for (const auto& [session, held] : held_) again |= !held.settled && !held.waits();
  for (const auto& [session, tombstone] : tombstones_) again |= tombstone.evidence.is_null();
  fresh_.clear();
  quiet_ = !again;
  return again;
}

bool SessionBook::open_fresh(const Instant& now) {
  if (!quiet_) return false;
  std::vector<Wanted> fresh;
  for (const SessionId& session : std::exchange(fresh_, {}))
    fresh.push_back(held_.at(session).wanted);
  if (fresh.empty()) return true;
  const auto outcomes = enforcer_.add(fresh, now.second());
  quiet_ = outcomes.has_value();
  for (const Outcome& outcome : outcomes.value_or(std::vector<Outcome>()))
    if (take_outcome(outcome, now)) quiet_ = false;
  return quiet_;
}

// True: the machine is to be brought in line once more.
bool SessionBook::take_outcome(const Outcome& outcome, const Instant& now) {
  const auto found = held_.find(outcome.session);
  if (found == held_.end()) return false;
  Held& held = found->second;
  switch (outcome.state) {
    case Outcome::State::open:
      held.settled = held.wanted.open;
      if (held.settled && std::exchange(held.announce, false))
        owe(outcome.session, {Reported::open, std::nullopt, nullptr});
      return false;
    case Outcome::State::closed:
      if (!outcome.evidence.is_object()) return true;
      begin_close(outcome.session,
                  to_end(held, now) <= Millis(0) ? CloseReason::expired : CloseReason::failed);
      finish_close(outcome.session, outcome.evidence);
      return false;
    case Outcome::State::refused:
      if (!held.wanted.open) return true;
      // No tombstone: the broker may ask again once the obstacle is gone. Until then it is simply
      // not wanted, so that the next converge removes what may be there of it.
      if (const auto removed = store_.remove_grant(outcome.session); !removed)
        complain("refused grant", outcome.session, removed.error());
      owe(outcome.session, {Reported::refused, outcome.refusal, nullptr});
      held_.erase(found);
      return true;
    case Outcome::State::unfinished:
      return true;
  }
  return true;
}

// Sessions that are to be closed and whose grant is not here.
void SessionBook::prove_absences() {
  for (const auto& [session, tombstone] : tombstones_) {
    if (tombstone.evidence.is_object() || held_.contains(session)) continue;
    const json::value evidence = enforcer_.evidence_of_absence(session);
    if (evidence.is_object()) finish_close(session, evidence);
  }
}

void SessionBook::bury_again() {
  for (const SessionId& session : std::set<SessionId>(unburied_)) bury(tombstones_.at(session));
}

void SessionBook::forget_old(WallTime now) {
  for (auto it = tombstones_.begin(); it != tombstones_.end();) {
    const Tombstone& tombstone = it->second;
    const bool old =
        tombstone.evidence.is_object() && tombstone.not_after + limits::kTombstone < now;
    if (old && store_.remove_tombstone(tombstone.session)) {
      unburied_.erase(tombstone.session);
      owed_.erase(tombstone.session);
      it = tombstones_.erase(it);
    } else {
      ++it;
    }
  }
}

std::vector<Wanted> SessionBook::sessions() const {
  std::vector<Wanted> wanted;
  for (const auto& [session, held] : held_)
    if (!held.waits()) wanted.push_back(held.wanted);
  return wanted;
}

std::optional<Millis> SessionBook::next_change(const Instant& now) const {
  std::optional<Millis> next;
  for (const auto& [session, held] : held_)
    if (held.wanted.open)
      next = std::min({next.value_or(Millis::max()), to_end(held, now), held.early ? to_begin(held, now) : Millis::max()});
  return next;
}

void SessionBook::owe(const SessionId& session, Finding finding) {
  owed_.insert_or_assign(session, OwedReport{std::move(finding), ++last_number_, false});
}

bool SessionBook::complain_once(const SessionId& session, uint64_t number) {
  const auto owed = owed_.find(session);
  if (owed == owed_.end() || owed->second.number != number) return false;
  return !std::exchange(owed->second.complained, true);
}

void SessionBook::reported(const SessionId& session, uint64_t number) {
  const auto owed = owed_.find(session);
  if (owed == owed_.end() || owed->second.number != number) return;
  const bool closed = owed->second.finding.state == Reported::closed;
  owed_.erase(owed);
  const auto known = tombstones_.find(session);
  if (!closed || known == tombstones_.end() || known->second.reported) return;
  Tombstone tombstone = known->second;
  tombstone.reported = true;
  bury(std::move(tombstone));
}

}  // namespace jitwg::node
