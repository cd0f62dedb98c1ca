// Everything that ends a session, or a request before it becomes one.
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {

Result<void> end_session(Change& change, store::Session& session, CloseReason reason,
                         const std::string& by, const std::string& text) {
  if (may_become(session.state, State::cancelled)) {
    session.state = State::cancelled;
    JITWG_TRY(change.record(EventName::request_cancelled, session, text, by));
  } else if (may_become(session.state, State::closing)) {
    session.state = State::closing;
    session.close_reason = reason;
    JITWG_TRY(change.record(EventName::session_closing, session,
                            std::string(name(reason)) + ": " + text, by, {},
                            session.refusal ? std::optional(session.refusal->code) : std::nullopt));
  } else {
    return {};
  }
  return change.save(session);
}

Result<store::Session> return_session(Change& change, const SessionId& id) {
  JITWG_ASSIGN(store::Session session, change.session(id));
  JITWG_TRY(end_session(change, session, CloseReason::returned, session.person,
                        "given back by " + session.person));
  return session;
}

Result<void> end_due(Change& change) {
  JITWG_ASSIGN(std::vector<store::Session> due, change.tx.due(change.now));
  for (store::Session& session : due) {
    if (session.state == State::active) {
      JITWG_TRY(
          end_session(change, session, CloseReason::expired, session.person, "its time is over"));
      continue;
    }
    const bool pending = session.state == State::pending;
    session.state = State::lapsed;
    JITWG_TRY(change.record(EventName::request_lapsed, session,
                            pending ? "nobody decided in time" : "it was not activated in time"));
    JITWG_TRY(change.save(session));
  }
  return {};
}

Result<void> end_disallowed(Change& change, const Rules& rules) {
  JITWG_ASSIGN(std::vector<store::Session> open,
               change.tx.sessions({State::pending, State::approved, State::opening, State::active},
                                  {}, SIZE_MAX / 2));
  const bool lists_broken =
      std::ranges::any_of(rules.policy.lists, [](const SyncedList& l) { return !l.problem.empty(); });
  for (store::Session& session : open) {
    if (!rules.is_known(session.person, change.now)) {
      JITWG_TRY(end_session(change, session, CloseReason::revoked, session.person,
                            session.person + " is no longer among the people of this realm"));
      continue;
    }
    const Verdict verdict = rules.judge(session);
    if (!verdict.denial) continue;
    // Hours and durations were judged when it was asked for, and never shorten what runs; nor does
    // it matter who could approve now what is approved already.
    const Code code = verdict.denial->code;
    if (code == Code::outside_hours || code == Code::duration_over_limit ||
        code == Code::approvals_missing)
      continue;
    // While a list is stale or broken nobody knows who left it: that lets nobody in, and ends nobody.
    if (code == Code::no_rule && lists_broken) continue;
    JITWG_TRY(end_session(change, session, CloseReason::revoked, session.person,
                          "policy no longer allows it: " + verdict.denial->message));
  }
  return {};
}

}  // namespace jitwg::broker
