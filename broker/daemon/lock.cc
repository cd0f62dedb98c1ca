// Revoke, lock, unlock: one transaction ends all that is meant.
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

Result<Accepted> end_all(Change& change, const VerifiedStatement& verified, const Subject& what,
                         CloseReason reason, const std::string& text) {
  const std::string& by = head_of(verified.statement).by;
  Accepted accepted{.subject = what};
  JITWG_ASSIGN(std::vector<store::Session> sessions, open_sessions(change, what));
  for (store::Session& session : sessions) {
    JITWG_TRY(end_session(change, session, reason, by, text));
    JITWG_TRY(change.tx.touch(session.id, verified.digest));
    accepted.ended.push_back(session.id);
  }
  return accepted;
}

}  // namespace

Result<Accepted> revoke(Change& change, const Rules& rules, const VerifiedStatement& verified) {
  const auto& revoke = std::get<RevokeStatement>(verified.statement);
  const std::string& by = revoke.head.by;
  JITWG_TRY(check_exists(change, rules, revoke.what));
  JITWG_TRY(check_may_revoke(change, rules, by, revoke.what));
  const std::optional<SessionId> id = session_of(verified.statement);
  std::optional<store::Session> one;
  if (id) {
    JITWG_ASSIGN(one, change.session(*id));
    if (is_final(one->state))
      return fail(Code::wrong_state,
                  "the session is " + std::string(name(one->state)) + " already");
  }
  JITWG_TRY(keep_statement(change, verified, id));
  // The signer remembers it in its ledger, so that no broker, however owned, gets it opened again.
  JITWG_TRY(change.queue_for_signer(verified.digest));
  JITWG_ASSIGN(const auto sessions, open_sessions(change, revoke.what));
  for (const store::Session& session : sessions)
    JITWG_TRY(change.record(EventName::revoke_submitted, session, revoke.reason, by));
  if (sessions.empty()) {
    if (one)  // closing already
      JITWG_TRY(change.record(EventName::revoke_submitted, *one, revoke.reason, by));
    else
      change.note({.name = EventName::revoke_submitted,
                   .person = by,
                   .text = "revoked " + revoke.what.str() + ": " + revoke.reason});
  }
  JITWG_ASSIGN(Accepted accepted, end_all(change, verified, revoke.what, CloseReason::revoked,
                                          "revoked by " + by + ": " + revoke.reason));
  if (id) {
    JITWG_ASSIGN(accepted.session, change.session(*id));
  }
  return accepted;
}

Result<Accepted> lock(Change& change, const Rules& rules, const VerifiedStatement& verified) {
  const auto& lock = std::get<LockStatement>(verified.statement);
  const std::string& by = lock.head.by;
  JITWG_TRY(check_exists(change, rules, lock.what));
  JITWG_TRY(check_may_lock(rules, by, lock.what));
  JITWG_TRY(keep_statement(change, verified, std::nullopt));
  JITWG_TRY(change.queue_for_signer(verified.digest));
  JITWG_TRY(change.tx.add_lock({lock.what, by, lock.reason, lock.head.at, verified.digest}));
  JITWG_ASSIGN(const auto sessions, open_sessions(change, lock.what));
  for (const store::Session& session : sessions)
    JITWG_TRY(change.record(EventName::lock_set, session, lock.what.str() + ": " + lock.reason, by));
  if (sessions.empty())
    change.note({.name = EventName::lock_set,
                 .person = by,
                 .text = "locked " + lock.what.str() + ": " + lock.reason});
  return end_all(change, verified, lock.what, CloseReason::locked,
                 lock.what.str() + " locked by " + by + ": " + lock.reason);
}

Result<Accepted> unlock(Change& change, const Rules& rules, const VerifiedStatement& verified) {
  const auto& unlock = std::get<UnlockStatement>(verified.statement);
  const std::string& by = unlock.head.by;
  JITWG_TRY(need_right(rules, "lock", by, "unlock " + unlock.what.str()));
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  std::optional<WallTime> newest;
  for (const store::Lock& one : locks)
    if (one.what == unlock.what) newest = std::max(newest.value_or(one.at), one.at);
  if (!newest) return fail(Code::wrong_state, unlock.what.str() + " is not locked");
  // One that was signed for an earlier lock, and held back. No skew is allowed for: a lock in doubt
  // holds.
  if (unlock.head.at < *newest)
    return fail(Code::bad_order, "the unlock is older than the lock",
                "look at the lock, check both clocks, and sign a new one");
  JITWG_TRY(keep_statement(change, verified, std::nullopt));
  JITWG_TRY(change.queue_for_signer(verified.digest));
  JITWG_TRY(change.tx.clear_locks(unlock.what, verified.digest));
  change.note({.name = EventName::lock_cleared,
               .person = by,
               .text = "unlocked " + unlock.what.str() + ": " + unlock.reason});
  return Accepted{.subject = unlock.what};
}

}  // namespace jitwg::broker
