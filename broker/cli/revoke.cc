#include "broker/base/encoding.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/subject.h"

namespace jitwg::cli {

Result<int> run_revoke(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  const Api api(context.broker());
  JITWG_ASSIGN(const Subject what, read_subject(context, api, Subject::Kind::session));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  const bool one = what.kind == Subject::Kind::session;
  const std::string preview = one || context.has("save") ? "" : describe_affected(context, api, what);
  const RevokeStatement revoke{std::move(head), what, reason};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, revoke, preview, "Revoke " + what.str() + "?"));
  if (answer.is_null()) return 0;
  if (!one) {
    context.print(answer, "revoked " + escape_for_terminal(what.str()) + describe_ended(answer) + "\n");
    return 0;
  }
  JITWG_ASSIGN(const SessionObject session, parse_session_object(answer));
  context.print(session.all, "revoked; the session is " + std::string(name(session.state)) + "\n");
  return 0;
}

}  // namespace jitwg::cli
