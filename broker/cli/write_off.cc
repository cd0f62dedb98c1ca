#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/subject.h"

namespace jitwg::cli {

Result<int> run_write_off(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  JITWG_ASSIGN(const std::string node, context.need("node"));
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionId id, resolve_anywhere(context, api, context.arguments()[0]));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  const WriteOffStatement off{std::move(head), id, node, reason};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, off, "",
                             "Write off the evidence of " + node + " for session " + id.str() + "?"));
  JITWG_ASSIGN(const SessionObject session, parse_session_object(answer));
  context.print(session.all, "written off; the session is " + std::string(name(session.state)) + "\n");
  return 0;
}

}  // namespace jitwg::cli
