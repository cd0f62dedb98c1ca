#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/login.h"

namespace jitwg::cli {

Result<int> run_pending(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/pending"));
  JITWG_ASSIGN(const auto sessions, parse_session_objects(answer));
  context.print(objects_of(sessions), describe_list(sessions, context.now()));
  return 0;
}

}  // namespace jitwg::cli
