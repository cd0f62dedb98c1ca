#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"

namespace jitwg::cli {

Result<int> run_request(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const Requested requested, make_request(context, api, context.arguments()[0]));
  if (const auto refusal = refusal_of(requested.session)) return tl::unexpected<Error>(*refusal);
  const std::string id = requested.session.session.str();
  context.print(requested.session.all,
                requested.session.state == State::approved
                    ? id + "\napproved at once; jitwg up " + id + " starts it\n"
                    : id + "\nwaits for approval; jitwg up " + id + " waits with it\n");
  return 0;
}

}  // namespace jitwg::cli
