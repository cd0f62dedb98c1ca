#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/login.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {
namespace {

Result<SessionObject> read(const Context& context, const Api& api) {
  const std::string& word = context.arguments()[0];
  // An own session that still has its token costs no signature.
  if (const auto files = resolve_local(context, word); files && files->token())
    return read_own(context, api, *files);
  JITWG_ASSIGN(const SessionId id, resolve_anywhere(context, api, word));
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/sessions/" + id.str()));
  return parse_session_object(answer);
}

}  // namespace

Result<int> run_show(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionObject session, read(context, api));
  context.print(session.all, describe_session(session, context.now()));
  return 0;
}

}  // namespace jitwg::cli
