#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

Result<Accepted> answer_again(Change& change, const store::Statement& known,
                              const Statement& statement) {
  Accepted accepted{.refusal = known.refusal};
  if (const auto* login = std::get_if<LoginStatement>(&statement)) {
    JITWG_ASSIGN(const auto token, change.tx.token(login->token_sha256));
    if (token) accepted.read_until = token->until;
  }
  if (const auto id = session_of(statement)) {
    JITWG_ASSIGN(accepted.session, change.session(*id));
  }
  std::visit(
      [&](const auto& s) {
        if constexpr (requires { s.what; }) accepted.subject = s.what;
        if constexpr (requires { s.head; s.incident; } && !requires { s.session; })
          accepted.incident = s.incident;
      },
      statement);
  JITWG_ASSIGN(accepted.ended, change.tx.touched_by(known.digest));
  if (accepted.incident) std::erase(accepted.ended, *accepted.incident);
  return accepted;
}

Result<Accepted> accept_login(Change& change, const VerifiedStatement& verified) {
  const auto& login = std::get<LoginStatement>(verified.statement);
  if (login.read_for > limits::kLoginReadFor)
    return fail(Code::duration_over_limit, "a login for " + render_duration(login.read_for),
                "at most " + render_duration(limits::kLoginReadFor));
  JITWG_ASSIGN(const auto known, change.tx.token(login.token_sha256));
  if (known) return fail(Code::replay, "this token was given before", "make a fresh one");
  JITWG_TRY(keep_statement(change, verified, std::nullopt));
  const WallTime until = change.now + login.read_for;
  JITWG_TRY(change.tx.add_token({login.token_sha256, login.head.by, until, verified.digest}));
  return Accepted{.read_until = until};
}

struct Accept {
  Change& change;
  const Rules& rules;
  const VerifiedStatement& verified;

  using Answer = Result<Accepted>;
  Answer operator()(const RequestStatement&) { return submit_request(change, rules, verified); }
  Answer operator()(const DecisionStatement&) { return decide_request(change, rules, verified); }
  Answer operator()(const RevokeStatement&) { return revoke(change, rules, verified); }
  Answer operator()(const LockStatement&) { return lock(change, rules, verified); }
  Answer operator()(const UnlockStatement&) { return unlock(change, rules, verified); }
  Answer operator()(const IncidentOpenStatement&) { return open_incident(change, rules, verified); }
  Answer operator()(const IncidentExtendStatement&) {
    return extend_incident(change, rules, verified);
  }
  Answer operator()(const IncidentCloseStatement&) {
    return close_incident(change, rules, verified);
  }
  Answer operator()(const IncidentReviewStatement&) {
    return review_incident(change, rules, verified);
  }
  Answer operator()(const WriteOffStatement&) { return write_off(change, rules, verified); }
  Answer operator()(const LoginStatement&) { return accept_login(change, verified); }
  Answer operator()(const BreakGlassStatement&) {
    return fail(Code::unknown_type, "break-glass needs no broker, and this one takes none of it",
                "jitwg-signer break-glass, on the signer's host");
  }
};

}  // namespace

Result<Accepted> accept_statement(Change& change, const Rules& rules,
                                  const VerifiedStatement& verified) {
  const StatementHead& head = head_of(verified.statement);
  JITWG_ASSIGN(const auto known, change.tx.statement(verified.digest));
  if (known) return answer_again(change, *known, verified.statement);
  JITWG_ASSIGN(const bool nonce_known, change.tx.nonce_known(head.realm, head.nonce));
  if (nonce_known)
    return fail(Code::replay, "another statement carried this nonce",
                "every statement is signed with a fresh one");
  // Old paper is no will of today; the other direction is verify_statement's.
  if (head.at + limits::kClockSkew < change.now)
    return fail(
        Code::stale,
        "signed at " + render_time(head.at) + ", and it is " + render_time(change.now) + " here",
        "sign it again, and check your clock");
  if (!rules.is_known(head.by, change.now))
    return fail(Code::unknown_person, head.by + " is no longer known here");
  // A key that has ended signs nothing for yesterday.
  JITWG_TRY(rules.people.person_of(verified.signed_by.key, change.now));
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  JITWG_TRY(check_not_locked(locks, {Subject::Kind::person, head.by}));
  JITWG_ASSIGN(const size_t recent,
               change.tx.statements_since(head.by, change.now - std::chrono::hours(1)));
  if (recent >= limits::kStatementsPerHour)
    return fail(Code::too_many_requests,
                head.by + " has sent " + std::to_string(recent) + " statements within the last hour",
                "is a script running wild?");
  return std::visit(Accept{change, rules, verified}, verified.statement);
}

Result<void> keep_statement(Change& change, const VerifiedStatement& verified,
                            const std::optional<SessionId>& session,
                            const std::optional<Error>& refusal) {
  const StatementHead& head = head_of(verified.statement);
  return change.tx.add_statement({.digest = verified.digest,
                                  .type = std::string(type_of(verified.statement)),
                                  .realm = head.realm,
                                  .nonce = head.nonce,
                                  .person = head.by,
                                  .session = session,
                                  .received_at = change.now,
                                  .document = verified.document,
                                  .refusal = refusal});
}

}  // namespace jitwg::broker
