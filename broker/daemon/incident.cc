// Incidents: opened, extended, closed and reviewed by statements (DESIGN §11).
#include "policy/incident.h"

#include "broker/base/limits.h"
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

tl::unexpected<Error> closed(const SessionId& id) {
  return fail(Code::wrong_state, "incident " + id.str() + " is closed", "open a new one");
}

// Keeps the statement with the incident, and tells the signer where the signer goes by it.
Result<Accepted> keep(Change& change, const VerifiedStatement& verified, const SessionId& id,
                      EventName event, const std::string& text, bool for_signer) {
  JITWG_TRY(keep_statement(change, verified, std::nullopt));
  JITWG_TRY(change.tx.touch(id, verified.digest));
  if (for_signer) JITWG_TRY(change.queue_for_signer(verified.digest));
  change.note({.name = event,
               .person = head_of(verified.statement).by,
               .text = "incident " + id.str() + ": " + text});
  return Accepted{.incident = id};
}

}  // namespace

Result<store::Incident> find_open_incident(Change& change, const Rules& rules, const SessionId& id,
                                           const std::string& target) {
  const std::string which = "incident " + id.str();
  JITWG_ASSIGN(auto found, change.tx.incident(id));
  if (!found) return fail(Code::no_incident, "there is no " + which, "open it: jitwg incident open");
  if (found->closed_at) return fail(Code::no_incident, which + " is closed");
  if (change.now + limits::kMinDuration > found->until)
    return fail(Code::no_incident, which + " ended at " + render_time(found->until),
                "extend it: jitwg incident extend");
  if (!incident_covers(rules.policy, found->targets, target))
    return fail(Code::no_incident, which + " is not about " + target);
  return std::move(*found);
}

Result<Accepted> open_incident(Change& change, const Rules& rules,
                               const VerifiedStatement& verified) {
  const auto& open = std::get<IncidentOpenStatement>(verified.statement);
  JITWG_TRY(need_right(rules, "incident_open", open.head.by, "open incidents"));
  JITWG_ASSIGN(const auto known, change.tx.incident(open.incident));
  JITWG_ASSIGN(const auto session, change.tx.session(open.incident));
  if (known || session)
    return fail(Code::replay, "this ID was used before", "every incident has a fresh one");
  JITWG_TRY(check_incident_names(rules.policy, open.targets));
  JITWG_TRY(check_incident_end(rules.policy, open.head.at, open.until));
  if (open.until <= change.now)
    return fail(Code::stale, "the incident ended at " + render_time(open.until));
  JITWG_ASSIGN(Accepted accepted, keep(change, verified, open.incident, EventName::incident_opened,
                                       open.reason, true));
  JITWG_TRY(change.tx.add_incident({.id = open.incident,
                                    .opened_by = open.head.by,
                                    .reason = open.reason,
                                    .targets = open.targets,
                                    .opened_at = open.head.at,
                                    .until = open.until,
                                    .statement = verified.digest}));
  return accepted;
}

Result<Accepted> extend_incident(Change& change, const Rules& rules,
                                 const VerifiedStatement& verified) {
  const auto& extend = std::get<IncidentExtendStatement>(verified.statement);
  JITWG_TRY(need_right(rules, "incident_open", extend.head.by, "extend incidents"));
  JITWG_ASSIGN(store::Incident incident, change.incident(extend.incident));
  if (incident.closed_at) return closed(incident.id);
  JITWG_TRY(check_incident_end(rules.policy, extend.head.at, extend.until));
  if (extend.until <= change.now) return fail(Code::stale, "the new end is past already");
  if (extend.until <= incident.opened_at)
    return fail(Code::bad_time, "the new end is before the incident was opened");
  incident.until = extend.until;
  JITWG_TRY(change.tx.save_incident(incident));
  return keep(change, verified, incident.id, EventName::incident_extended,
              "until " + render_time(extend.until) + ": " + extend.reason, true);
}

Result<Accepted> close_incident(Change& change, const Rules& rules,
                                const VerifiedStatement& verified) {
  const auto& close = std::get<IncidentCloseStatement>(verified.statement);
  const std::string& by = close.head.by;
  JITWG_TRY(need_right(rules, "incident_close", by, "close incidents"));
  JITWG_ASSIGN(store::Incident incident, change.incident(close.incident));
  if (incident.closed_at) return closed(incident.id);
  incident.closed_at = change.now;
  incident.closed_by = by;
  incident.close_reason = close.reason;
  JITWG_TRY(change.tx.save_incident(incident));
  JITWG_ASSIGN(Accepted accepted, keep(change, verified, incident.id, EventName::incident_closed,
                                       close.reason, true));
  JITWG_ASSIGN(auto sessions, open_sessions(change, {Subject::Kind::incident, incident.id.str()}));
  for (store::Session& session : sessions) {
    JITWG_TRY(end_session(change, session, CloseReason::incident_closed, by,
                          "incident closed by " + by + ": " + close.reason));
    JITWG_TRY(change.tx.touch(session.id, verified.digest));
    accepted.ended.push_back(session.id);
  }
  return accepted;
}

Result<Accepted> review_incident(Change& change, const Rules& rules,
                                 const VerifiedStatement& verified) {
  const auto& review = std::get<IncidentReviewStatement>(verified.statement);
  JITWG_TRY(need_right(rules, "incident_close", review.head.by, "review incidents"));
  JITWG_ASSIGN(const store::Incident incident, change.incident(review.incident));
  if (!incident.closed_at && change.now < incident.until)
    return fail(Code::wrong_state, "incident " + incident.id.str() + " is open still",
                "close it first");
  // Nobody vouches for what they opened themselves.
  if (review.head.by == incident.opened_by)
    return fail(Code::self_approval, review.head.by + " opened this incident",
                "another person reviews it");
  return keep(change, verified, incident.id, EventName::incident_reviewed, review.comment, false);
}

}  // namespace jitwg::broker
