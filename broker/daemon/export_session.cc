// All that is on record of one session: what people signed, what the signer made of it, what the
// broker noted, and people and policy as they stood.
#include <algorithm>

#include "broker/base/limits.h"
#include "broker/daemon/reading.h"
#include "broker/daemon/session_json.h"
#include "broker/session/grant.h"

namespace jitwg::broker {
namespace {

json::value statement_json(const store::Statement& one) {
  json::object object{{"type", one.type},
                      {"person", one.person},
                      {"received_at", render_time(one.received_at)}};
  const json::value document = render_document(one.document);
  for (const auto& [key, value] : document.as_object()) object[key] = value;
  return object;
}

// The signer's answer as it was taken over: null when this broker never had it.
Result<json::value> kept(store::Tx& tx, WallTime at, const std::string& policy_sha256) {
  JITWG_ASSIGN(const auto rules, tx.rules_at(at, policy_sha256));
  if (!rules) return json::value();
  return parse_json(rules->answer, limits::kSignerFrameBytes);
}

}  // namespace

Result<json::value> export_session(Change& change, const Rules& rules, const std::string& bearer,
                                   const SessionId& id) {
  JITWG_ASSIGN(const store::Session session, read_session(change, rules, bearer, id));
  JITWG_ASSIGN(json::value object, session_json(change.tx, session));
  JITWG_ASSIGN(auto statements, change.tx.statements_about(id));
  if (session.incident) {
    JITWG_ASSIGN(const auto of_incident,
                 change.tx.statements_about(*SessionId::parse(*session.incident)));
    for (const store::Statement& one : of_incident)
      if (std::ranges::find(statements, one.digest, &store::Statement::digest) == statements.end())
        statements.push_back(one);
    std::ranges::stable_sort(statements, {}, &store::Statement::received_at);
  }
  json::array documents;
  WallTime last = session.requested_at;
  for (const store::Statement& one : statements) {
    documents.push_back(statement_json(one));
    last = std::max(last, one.received_at);
  }
  json::array events;
  JITWG_ASSIGN(const auto chain, change.tx.events(id));
  for (const store::ChainedEvent& event : chain)
    events.push_back({{"seq", event.seq}, {"body", event.body}, {"hash", event.hash}});
  std::string policy_sha256;
  WallTime judged = session.requested_at;
  if (session.grant) {
    JITWG_ASSIGN(const Grant grant, parse_grant(session.grant->body));
    policy_sha256 = grant.policy_sha256;
    judged = change.now;  // by its digest
  }
  JITWG_ASSIGN(json::value policy, kept(change.tx, judged, policy_sha256));
  JITWG_ASSIGN(json::value people, kept(change.tx, last, {}));
  return json::value{
      {"session", std::move(object)},
      {"statements", std::move(documents)},
      {"certificate", session.certificate ? json::value(*session.certificate) : json::value()},
      {"grant", session.grant ? render_document(*session.grant) : json::value()},
      {"seals", json::array()},
      {"events", std::move(events)},
      {"policy", std::move(policy)},
      {"people", std::move(people)}};
}

}  // namespace jitwg::broker
