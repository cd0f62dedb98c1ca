#include <algorithm>

#include "broker/base/limits.h"
#include "broker/daemon/use_cases.h"
#include "broker/node/node_documents.h"

namespace jitwg::broker {
namespace {

using ReportState = store::NodeReport::State;

bool is_clean(const store::Session& session, const store::NodeReport& report) {
  const auto evidence = parse_json(report.evidence, limits::kHttpBodyBytes);
  const auto role = report.node == session.gateway ? node::Role::gateway : node::Role::jump_host;
  return evidence && node::proves_closed(role, *evidence);
}

// What a node's newest word means for a session that is opening or active.
Result<void> judge_open(Change& change, store::Session& session, const store::NodeReport& report,
                        const std::vector<store::NodeReport>& reports) {
  if (report.state == ReportState::open) {
    if (session.state != State::opening || !session.grant || !unconfirmed(session, reports).empty())
      return {};
    session.state = State::active;
    JITWG_TRY(
        change.record(EventName::session_activated, session,
                      "until " + render_time(*session.not_after) + ", confirmed by every node"));
    return change.save(session);
  }
  if (report.state == ReportState::refused) {
    session.refusal = Error{Code::not_confirmed,
                            report.node + " refused the grant: " +
                                std::string(name(report.refusal.value_or(Code::bug))),
                            "its own log says more"};
    return end_session(change, session, CloseReason::failed, session.person,
                       session.refusal->message);
  }
  // A node may always close. At the end of the time it may be a little ahead of us.
  if (session.not_after && session.not_after <= change.now + limits::kNodeClockSkew)
    return end_session(change, session, CloseReason::expired, session.person,
                       "its time is over, says " + report.node);
  const CloseReason reason =
      session.state == State::opening ? CloseReason::failed : CloseReason::lost_contact;
  if (reason == CloseReason::failed)
    session.refusal =
        Error{Code::not_confirmed, report.node + " closed the session while it was opening", {}};
  return end_session(change, session, reason, session.person, report.node + " closed it by itself");
}

}  // namespace

std::set<std::string> enforcement_points(const store::Session& session) {
  std::set<std::string> nodes(session.access.jump_hosts.begin(), session.access.jump_hosts.end());
  if (session.gateway) nodes.insert(*session.gateway);
  return nodes;
}

std::set<std::string> unconfirmed(const store::Session& session,
                                  const std::vector<store::NodeReport>& reports) {
  const auto is_open = [&](const std::string& node) {
    return std::ranges::any_of(reports, [&](const store::NodeReport& report) {
      return report.node == node && report.state == ReportState::open;
    });
  };
  std::set<std::string> missing;
  if (!is_open(*session.gateway)) missing.insert(*session.gateway);
  // One jump host is enough to log in; the others follow when they can.
  const auto& hosts = session.access.jump_hosts;
  if (std::ranges::none_of(hosts, is_open)) missing.insert(hosts.begin(), hosts.end());
  return missing;
}

std::set<std::string> unproven(const store::Session& session,
                               const std::vector<store::NodeReport>& reports) {
  std::set<std::string> nodes = enforcement_points(session);
  for (const store::NodeReport& report : reports)
    if (report.state == ReportState::written_off ||
        (report.state == ReportState::closed && is_clean(session, report)))
      nodes.erase(report.node);
  return nodes;
}

Result<void> close_when_proven(Change& change, store::Session& session) {
  JITWG_ASSIGN(const auto reports, change.tx.reports(session.id));
  if (session.state != State::closing || !unproven(session, reports).empty()) return {};
  const bool written_off = std::ranges::any_of(
      reports, [](const auto& one) { return one.state == ReportState::written_off; });
  session.state = State::closed;
  JITWG_TRY(change.record(EventName::session_closed, session,
                          std::string(name(*session.close_reason)) +
                              (written_off ? ": what evidence was missing is written off"
                                           : ": every node has shown that nothing is left")));
  return change.save(session);
}

Result<void> take_report(Change& change, const store::NodeReport& report) {
  JITWG_ASSIGN(std::optional<store::Session> found, change.tx.session(report.session));
  // Not ours (a restored database, a break-glass session): taken, so that the node stops asking,
  // and nothing follows.
  if (!found || !is_live(found->state)) return {};
  store::Session& session = *found;
  if (!enforcement_points(session).contains(report.node))
    return fail(Code::wrong_node, report.node + " is no part of session " + session.id.str());
  JITWG_TRY(change.tx.add_report(report));
  JITWG_ASSIGN(const auto reports, change.tx.reports(session.id));
  if (session.state != State::closing) JITWG_TRY(judge_open(change, session, report, reports));
  return close_when_proven(change, session);
}

}  // namespace jitwg::broker
