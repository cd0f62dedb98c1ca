#include "broker/base/encoding.h"
#include "broker/base/limits.h"
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
  if (std::holds_alternative<RequestStatement>(verified.statement))
    return submit_request(change, rules, verified);
  if (std::holds_alternative<DecisionStatement>(verified.statement))
    return decide_request(change, rules, verified);
  if (std::holds_alternative<RevokeStatement>(verified.statement))
    return revoke_session(change, rules, verified);
  if (std::holds_alternative<LoginStatement>(verified.statement))
    return accept_login(change, verified);
  return fail(Code::unknown_type,
              "this broker takes no " + std::string(type_of(verified.statement)));
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
