#include "broker/base/limits.h"
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

// What makes the request itself bad. Nothing of it is kept: it says nothing about what policy
// thinks.
Result<void> check_request(Change& change, const Rules& rules, const RequestStatement& request) {
  JITWG_ASSIGN(const auto known, change.tx.session(request.session));
  if (known)
    return fail(Code::replay, "another request carried this session ID",
                "every request has a fresh one");
  JITWG_TRY(rules.check_session_keys(request));
  JITWG_ASSIGN(const bool seen,
               change.tx.key_seen(request.wg_public_key, request.ssh_public_key.str()));
  if (seen)
    return fail(Code::key_reused, "an earlier request carried this WireGuard or SSH key",
                "every request makes fresh keys");
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  JITWG_TRY(check_session_not_locked(locks, request.head.by, request.target));
  JITWG_ASSIGN(const size_t open, change.tx.open_requests(request.head.by));
  if (open >= limits::kOpenRequestsPerPerson)
    return fail(Code::too_many_requests,
                request.head.by + " has " + std::to_string(open) + " open requests",
                "cancel some with jitwg return ID");
  return {};
}

}  // namespace

Result<Accepted> submit_request(Change& change, const Rules& rules,
                                const VerifiedStatement& verified) {
  const auto& request = std::get<RequestStatement>(verified.statement);
  JITWG_TRY(check_request(change, rules, request));
  std::optional<store::Incident> incident;
  if (request.incident) {
    JITWG_ASSIGN(incident, find_open_incident(change, rules, *request.incident, request.target));
  }
  Verdict verdict = decide(rules.policy, {.person = request.head.by,
                                          .target = request.target,
                                          .duration = request.duration,
                                          .at = change.now,
                                          .incident = incident.has_value(),
                                          .opened_by = incident ? incident->opened_by : ""});
  if (!verdict.denial)
    if (const auto keys = check_keys(verdict, verified); !keys) {
      verdict.outcome = Verdict::Outcome::deny;
      verdict.denial = keys.error();
    }
  JITWG_TRY(keep_statement(change, verified, request.session, verdict.denial));
  store::Session session{.id = request.session};
  session.person = request.head.by;
  session.target = request.target;
  session.reason = request.reason;
  session.ticket = request.ticket;
  if (incident) {
    session.incident = incident->id.str();
    session.incident_opener = incident->opened_by;
  }
  session.request = verified.digest;
  session.wg_public_key = request.wg_public_key;
  session.ssh_public_key = request.ssh_public_key.str();
  session.token_sha256 = request.token_sha256;
  session.requested_at = change.now;
  session.duration = request.duration;
  session.access = verdict.access;
  session.lapses_at = change.now + rules.policy.pending_for;
  JITWG_TRY(change.tx.add_session(session));
  JITWG_TRY(change.record(EventName::request_submitted, session, request.reason));
  switch (verdict.outcome) {
    case Verdict::Outcome::deny:
      session.state = State::denied;
      session.refusal = verdict.denial;
      JITWG_TRY(change.record(EventName::request_decided, session,
                              "denied by policy: " + verdict.denial->message, {}, {},
                              verdict.denial->code));
      break;
    case Verdict::Outcome::allow:
      session.state = State::approved;
      session.lapses_at = change.now + rules.policy.activate_within;
      JITWG_TRY(
          change.record(EventName::request_decided, session,
                        "approved by policy: the rule \"" + verdict.rule + "\" needs no approval" +
                            (verdict.self_opened ? ", in an incident of their own" : "")));
      break;
    case Verdict::Outcome::approval:
      break;
  }
  JITWG_TRY(change.save(session));
  return Accepted{.session = std::move(session), .refusal = verdict.denial};
}

}  // namespace jitwg::broker
