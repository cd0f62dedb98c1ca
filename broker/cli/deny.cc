#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/decide_request.h"

namespace jitwg::cli {

Result<int> run_deny(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  return decide_request(context, Choice::deny, std::nullopt, reason);
}

}  // namespace jitwg::cli
