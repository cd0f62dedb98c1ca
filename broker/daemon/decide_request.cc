#include <algorithm>

#include "broker/base/limits.h"
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

Result<void> check_decision(Change& change, const DecisionStatement& decision,
                            const store::Session& session, const Verdict& verdict,
                            const std::vector<store::Decision>& earlier) {
  const std::string& by = decision.head.by;
  if (by == session.person) return fail(Code::self_approval, "nobody decides their own request");
  if (!verdict.approvers.contains(by))
    return fail(Code::not_approver, by + " is no approver of this request",
                verdict.denial ? verdict.denial->message : std::string());
  if (decision.request_sha256 != session.request)
    return fail(Code::wrong_request,
                "the decision is about other bytes than the request that is here",
                "look at the request again before you decide");
  if (std::ranges::any_of(earlier, [&](const store::Decision& one) { return one.person == by; }))
    return fail(Code::already_decided, by + " has decided this request already");
  if (session.state != State::pending)
    return fail(Code::wrong_state,
                "the request is " + std::string(name(session.state)) + ", not pending");
  if (decision.access != verdict.access)
    return fail(Code::scope_changed,
                "what was signed is not what policy gives for this request now",
                "look at the request again before you decide");
  if (decision.duration && *decision.duration > session.duration)
    return fail(Code::duration_over_limit,
                render_duration(*decision.duration) + " is longer than the " +
                    render_duration(session.duration) + " asked for",
                "an approval may only shorten");
  // The signer insists on this order, so a decision against it would fail at activation.
  JITWG_ASSIGN(const auto kept, change.tx.statement(session.request));
  if (!kept)
    return fail(Code::corrupt, "the request of session " + session.id.str() + " is missing");
  JITWG_ASSIGN(const Statement request, parse_statement(kept->document.body));
  if (decision.head.at + limits::kClockSkew < head_of(request).at)
    return fail(Code::bad_order,
                "the decision is dated " + render_time(decision.head.at) + ", before the request",
                "check the clocks of both people");
  return {};
}

}  // namespace

Result<Accepted> decide_request(Change& change, const Rules& rules,
                                const VerifiedStatement& verified) {
  const auto& decision = std::get<DecisionStatement>(verified.statement);
  JITWG_ASSIGN(store::Session session, change.session(decision.session));
  JITWG_ASSIGN(const auto earlier, change.tx.decisions(session.id));
  const Verdict verdict = rules.judge(session);
  JITWG_TRY(check_decision(change, decision, session, verdict, earlier));
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  JITWG_TRY(check_session_not_locked(locks, session.person, session.target));
  if (session.incident)
    JITWG_TRY(find_open_incident(change, rules, *SessionId::parse(*session.incident), session.target));
  JITWG_TRY(check_keys(verdict, verified));

  JITWG_TRY(keep_statement(change, verified, session.id));
  const std::string& by = decision.head.by;
  JITWG_TRY(change.tx.add_decision({session.id, by, decision.choice, decision.duration,
                                    decision.comment, change.now, verified.digest}));
  const bool approves = decision.choice == Choice::approve;
  JITWG_TRY(change.record(EventName::request_decided, session,
                          (approves ? "approved by " : "denied by ") + by +
                              (decision.comment ? ": " + *decision.comment : std::string()),
                          by));
  if (approves) {
    std::set<std::string> people = {by};
    for (const store::Decision& one : earlier)
      if (one.choice == Choice::approve) people.insert(one.person);
    if (decision.duration) session.duration = std::min(session.duration, *decision.duration);
    session.access = verdict.access;
    if (approvals_filled(rules.policy, verdict.approvals, people)) {
      session.state = State::approved;
      session.lapses_at = change.now + rules.policy.activate_within;
    }
  } else {
    session.state = State::denied;
  }
  JITWG_TRY(change.save(session));
  return Accepted{.session = std::move(session)};
}

}  // namespace jitwg::broker
