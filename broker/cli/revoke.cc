#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {

Result<int> run_revoke(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionId id, resolve_anywhere(context, api, context.arguments()[0]));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  if (!context.confirm("Revoke session " + id.str() + "?"))
    return fail(Code::bad_argument, "nothing was signed");
  const RevokeStatement revoke{std::move(head), {Subject::Kind::session, id.str()}, reason};
  JITWG_ASSIGN(const ssh::SignedDocument document, sign_statement(context, revoke));
  JITWG_ASSIGN(const json::value answer, api.post_statement(document));
  JITWG_ASSIGN(const SessionObject session, parse_session_object(answer));
  context.print(session.all, "revoked; the session is " + std::string(name(session.state)) + "\n");
  return 0;
}

}  // namespace jitwg::cli
