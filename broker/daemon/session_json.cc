#include "broker/daemon/session_json.h"

#include "broker/base/limits.h"
#include "broker/daemon/use_cases.h"
#include "broker/session/grant.h"

namespace jitwg::broker {
namespace {

json::value text_or_null(const std::optional<std::string>& text) {
  return text ? json::value(*text) : json::value();
}
json::value time_or_null(const std::optional<WallTime>& time) {
  return time ? json::value(render_time(*time)) : json::value();
}
json::array array_of(const std::vector<std::string>& texts) {
  return json::array(texts.begin(), texts.end());
}

json::array approvals_json(const std::vector<store::Decision>& decisions) {
  json::array list;
  for (const store::Decision& decision : decisions)
    list.push_back({{"person", decision.person},
                    {"decision", decision.choice == Choice::approve ? "approve" : "deny"},
                    {"at", render_time(decision.at)},
                    {"comment", text_or_null(decision.comment)}});
  return list;
}

// By node; null for one that has not shown yet that nothing is left, so that it is seen whom
// `closing` waits for.
json::value evidence_json(const store::Session& session,
                          const std::vector<store::NodeReport>& reports) {
  if (session.state != State::closing && session.state != State::closed) return nullptr;
  // A node that proves it after all is verified, whatever was written off.
  std::vector<store::NodeReport> proofs = reports;
  std::erase_if(proofs, [](const auto& one) { return one.state == store::NodeReport::State::written_off; });
  const std::set<std::string> silent = unproven(session, proofs);
  json::object nodes;
  for (const std::string& node : enforcement_points(session)) nodes[node] = nullptr;
  for (const store::NodeReport& report : reports) {
    const bool off = report.state == store::NodeReport::State::written_off;
    if (!nodes.contains(report.node) || off != silent.contains(report.node)) continue;
    json::object shown{{"at", render_time(report.at)}, {"result", off ? "written_off" : "verified"}};
    if (const auto value = parse_json(report.evidence, limits::kHttpBodyBytes);
        value && value->is_object())
      for (const auto& [key, what] : value->get_object()) shown[key] = what;
    nodes[report.node] = std::move(shown);
  }
  return nodes;
}

}  // namespace

Result<json::value> session_json(store::Tx& tx, const store::Session& session) {
  JITWG_ASSIGN(const auto decisions, tx.decisions(session.id));
  JITWG_ASSIGN(const auto reports, tx.reports(session.id));
  json::object object{{"session", session.id.str()},
                      {"state", name(session.state)},
                      {"close_reason", nullptr},
                      {"person", session.person},
                      {"target", session.target},
                      {"reason", session.reason},
                      {"ticket", text_or_null(session.ticket)},
                      {"duration", session.duration.count()},
                      {"login", text_or_null(session.access.login)},
                      {"gateway", text_or_null(session.gateway)},
                      {"jump_hosts", array_of(session.access.jump_hosts)},
                      {"address", nullptr},
                      {"scope", array_of(render_scope(session.access.scope))},
                      {"names", nullptr},
                      {"wg_public_key", session.wg_public_key},
                      {"serial", nullptr},
                      {"requested_at", render_time(session.requested_at)},
                      {"not_before", time_or_null(session.not_before)},
                      {"not_after", time_or_null(session.not_after)},
                      {"incident", text_or_null(session.incident)},
                      {"break_glass", false},
                      {"approvals", approvals_json(decisions)},
                      {"evidence", evidence_json(session, reports)}};
  if (!session.access.names.empty()) object["names"] = render_host_names(session.access.names);
  if (session.close_reason) object["close_reason"] = name(*session.close_reason);
  if (session.grant) {
    JITWG_ASSIGN(const Grant grant, parse_grant(session.grant->body));
    json::array address;
    for (const Prefix& prefix : grant.address) address.emplace_back(prefix.str());
    object["address"] = std::move(address);
    object["serial"] = text_or_null(grant.serial);
    object["break_glass"] = grant.break_glass;
  }
  return object;
}

namespace {

json::value refusal_or_null(const std::optional<Error>& refusal) {
  if (!refusal) return nullptr;
  return {{"code", name(refusal->code)}, {"message", refusal->message}};
}

std::string_view word_of(Subject::Kind kind) {
  switch (kind) {
    case Subject::Kind::person:
      return "person";
    case Subject::Kind::target:
      return "target";
    case Subject::Kind::node:
      return "node";
    case Subject::Kind::session:
      return "session";
    case Subject::Kind::incident:
      return "incident";
    case Subject::Kind::all:
      break;
  }
  return "all";
}

}  // namespace

json::value subject_json(const Subject& what) {
  return {{"kind", word_of(what.kind)}, {"name", what.name}};
}

json::value lock_json(const store::Lock& lock) {
  return {{"kind", word_of(lock.what.kind)},
          {"name", lock.what.name},
          {"by", lock.person},
          {"reason", lock.reason},
          {"at", render_time(lock.at)},
          {"signer_refusal", refusal_or_null(lock.signer_refusal)}};
}

Result<json::value> incident_json(store::Tx& tx, const store::Incident& incident, WallTime now) {
  JITWG_ASSIGN(const auto statements, tx.statements_about(incident.id));
  json::array reviews;
  for (const store::Statement& one : statements) {
    if (one.type != "incident_review") continue;
    JITWG_ASSIGN(const Statement parsed, parse_statement(one.document.body));
    const auto& review = std::get<IncidentReviewStatement>(parsed);
    reviews.push_back({{"person", one.person},
                       {"at", render_time(one.received_at)},
                       {"comment", review.comment}});
  }
  const char* state = incident.closed_at ? "closed" : incident.until <= now ? "ended" : "open";
  return json::value{{"incident", incident.id.str()},
                     {"state", state},
                     {"opened_by", incident.opened_by},
                     {"targets", array_of(incident.targets)},
                     {"reason", incident.reason},
                     {"opened_at", render_time(incident.opened_at)},
                     {"until", render_time(incident.until)},
                     {"closed_at", time_or_null(incident.closed_at)},
                     {"closed_by", text_or_null(incident.closed_by)},
                     {"close_reason", text_or_null(incident.close_reason)},
                     {"reviews", std::move(reviews)},
                     {"signer_refusal", refusal_or_null(incident.signer_refusal)}};
}

}  // namespace jitwg::broker
