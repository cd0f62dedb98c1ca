#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"
#include "ssh-ca/format/certificate.h"

namespace jitwg::broker {

Result<void> check_may_open(const store::Session& session, WallTime now) {
  switch (session.state) {
    case State::approved:
      if (session.lapses_at && *session.lapses_at <= now) break;
      return {};
    case State::pending:
      return fail(Code::still_pending, "the request is not decided yet", "wait for an approver");
    case State::denied:
      return fail(Code::decision_denied, "the request was denied",
                  "jitwg show says by whom and why");
    case State::opening:
    case State::active:
      return fail(Code::wrong_state,
                  "the session is " + std::string(name(session.state)) + " already");
    default:
      break;
  }
  if (session.refusal) return tl::unexpected<Error>(*session.refusal);
  const std::string why =
      session.close_reason ? ": " + std::string(name(*session.close_reason)) : "";
  const State state = session.state == State::approved ? State::lapsed : session.state;
  return fail(Code::session_ended, "the session is " + std::string(name(state)) + why,
              "make a new request");
}

Result<store::Session> begin_opening(Change& change, const Rules& rules, const SessionId& id,
                                     const std::string& gateway) {
  JITWG_ASSIGN(store::Session session, change.session(id));
  JITWG_TRY(check_may_open(session, change.now));
  if (!rules.is_known(session.person, change.now))
    return fail(Code::unknown_person, session.person + " is no longer known here");
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  JITWG_TRY(check_session_not_locked(locks, session.person, session.target));
  JITWG_TRY(check_not_locked(locks, {Subject::Kind::node, gateway}));
  // What a locked person approved counts for nothing until they are unlocked.
  JITWG_ASSIGN(const auto decisions, change.tx.decisions(id));
  for (const store::Decision& one : decisions)
    JITWG_TRY(check_not_locked(locks, {Subject::Kind::person, one.person}));
  if (session.incident)
    JITWG_TRY(find_open_incident(change, rules, *SessionId::parse(*session.incident), session.target));
  JITWG_ASSIGN(const size_t recent,
               change.tx.activations_since(session.person, change.now - std::chrono::hours(1)));
  if (recent >= limits::kActivationsPerHour)
    return fail(Code::too_many_activations,
                std::to_string(recent) + " activations within the last hour", "wait a little");
  session.state = State::opening;
  session.opening_at = change.now;
  session.gateway = gateway;
  JITWG_TRY(change.record(EventName::session_opening, session, "through the gateway " + gateway));
  JITWG_TRY(change.save(session));
  return session;
}

Result<Issued> check_issued(const Rules& rules, const store::Session& session,
                            const json::value& answer) {
  JsonObject reader(answer, "the signer's answer");
  const json::value* document = reader.value("grant");
  const json::value* certificate = reader.value("certificate");
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(ssh::SignedDocument signed_grant, parse_document(*document, "grant"));
  JITWG_ASSIGN(Grant grant, verify_grant(signed_grant, rules.ca, rules.policy.realm));
  if (grant.session != session.id || grant.person != session.person ||
      grant.target != session.target || grant.wg_public_key != session.wg_public_key ||
      grant.gateway.name != session.gateway)
    return fail(Code::foreign_grant, "the signer's grant is about something else than was asked");
  Issued issued{std::move(grant), std::move(signed_grant), std::nullopt};
  if (certificate->is_string()) issued.certificate = std::string(certificate->get_string());
  if (issued.certificate.has_value() != issued.grant.certificate_sha256.has_value())
    return fail(Code::bad_certificate, "the signer's certificate and grant do not go together");
  if (issued.certificate) {
    JITWG_ASSIGN(const std::string blob, ssh::parse_certificate_line(*issued.certificate));
    if (sha256_hex(blob) != *issued.grant.certificate_sha256)
      return fail(Code::bad_certificate, "the signer's certificate is not the one its grant names");
  }
  return issued;
}

Result<void> keep_issued(Change& change, const SessionId& id, const Issued& issued) {
  JITWG_ASSIGN(store::Session session, change.session(id));
  if (session.grant) return {};
  session.grant = issued.document;
  session.certificate = issued.certificate;
  session.not_before = issued.grant.not_before;
  session.not_after = issued.grant.not_after;
  // With no approval nobody signed a scope, and policy may have moved since the request: the grant
  // is what holds.
  session.access.scope = issued.grant.scope;
  session.access.login = issued.grant.login;
  session.access.names = issued.grant.names;
  session.access.nat = issued.grant.nat;
  session.access.jump_hosts.clear();
  for (const GrantJumpHost& host : issued.grant.jump_hosts)
    session.access.jump_hosts.push_back(host.name);
  return change.save(session);
}

Result<void> refuse_opening(Change& change, const SessionId& id, const Error& refusal) {
  JITWG_ASSIGN(store::Session session, change.session(id));
  if (session.state != State::opening) return {};
  session.state = State::closed;
  session.close_reason = CloseReason::failed;
  session.refusal = refusal;
  JITWG_TRY(change.record(EventName::session_closed, session,
                          "failed: the signer refused: " + refusal.message, {}, {}, refusal.code));
  return change.save(session);
}

Result<void> fail_opening(Change& change, const SessionId& id, const Error& refusal) {
  JITWG_ASSIGN(store::Session session, change.session(id));
  if (session.state != State::opening) return {};
  session.refusal = refusal;
  return end_session(change, session, CloseReason::failed, session.person, refusal.message);
}

}  // namespace jitwg::broker
