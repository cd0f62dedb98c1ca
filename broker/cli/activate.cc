#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {

Result<int> run_activate(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionFiles files, resolve_local(context, context.arguments()[0]));
  JITWG_ASSIGN(const Activated activated, activate_session(context, api, files));
  context.print(activated.session.all, describe_files(files, activated.verified.grant));
  return 0;
}

}  // namespace jitwg::cli
