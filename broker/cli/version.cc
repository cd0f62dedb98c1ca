#include "broker/cli/commands.h"
#include "broker/cli/context.h"

namespace jitwg::cli {

Result<int> run_version(Context& context) {
  context.print({{"version", JITWG_VERSION}}, "jitwg " JITWG_VERSION "\n");
  return 0;
}

}  // namespace jitwg::cli
