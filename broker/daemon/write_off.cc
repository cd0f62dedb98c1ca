// A node's evidence that will never come.
#include "broker/base/limits.h"
#include "broker/daemon/subject.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {

Result<Accepted> write_off(Change& change, const Rules& rules, const VerifiedStatement& verified) {
  const auto& off = std::get<WriteOffStatement>(verified.statement);
  JITWG_TRY(need_right(rules, "nodes", off.head.by, "write off a node's evidence"));
  JITWG_ASSIGN(store::Session session, change.session(off.session));
  if (session.state != State::closing)
    return fail(Code::wrong_state,
                "the session is " + std::string(name(session.state)) + ", not closing");
  // Without a grant in hand nobody knows what the signer made, or until when.
  const WallTime end = session.not_after.value_or(*session.opening_at + limits::kUnknownEnd);
  if (change.now < end)
    return fail(Code::wrong_state, "its time is not over before " + render_time(end),
                "until then the node itself must show that nothing is left");
  if (!enforcement_points(session).contains(off.node))
    return fail(Code::wrong_node, "\"" + off.node + "\" is no part of this session");
  JITWG_ASSIGN(const auto before, change.tx.reports(session.id));
  if (!unproven(session, before).contains(off.node))
    return fail(Code::wrong_state, "the evidence of " + off.node + " is there already");
  JITWG_TRY(keep_statement(change, verified, session.id));
  JITWG_TRY(change.tx.add_write_off(
      {session.id, off.node, off.head.by, off.reason, change.now, verified.digest}));
  JITWG_TRY(change.record(EventName::session_written_off, session, off.reason, off.head.by, off.node));
  JITWG_TRY(close_when_proven(change, session));
  return Accepted{.session = std::move(session)};
}

}  // namespace jitwg::broker
