#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {

Result<int> run_return(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionFiles files, resolve_local(context, context.arguments()[0]));
  const auto session = give_back(context, api, files);
  if (!session) {
    // Over already: what is left here goes too, whoever ended it.
    if (kind(session.error().code) == Kind::ended) JITWG_TRY(clear_away(context, files));
    return tl::unexpected<Error>(session.error());
  }
  context.print(session->all,
                "given back; the session is " + std::string(name(session->state)) + "\n");
  return 0;
}

}  // namespace jitwg::cli
