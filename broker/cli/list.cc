#include <algorithm>

#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/login.h"

namespace jitwg::cli {

Result<int> run_list(Context& context) {
  const Api api(context.broker());
  std::map<std::string, std::string> query;
  if (context.has("live")) query["live"] = "1";
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/sessions", query));
  JITWG_ASSIGN(auto sessions, parse_session_objects(answer));
  // IDs begin with their time.
  std::sort(sessions.begin(), sessions.end(),
            [](const SessionObject& a, const SessionObject& b) { return b.session < a.session; });
  context.print(objects_of(sessions), describe_list(sessions, context.now()));
  return 0;
}

}  // namespace jitwg::cli
