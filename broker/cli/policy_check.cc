#include <fmt/format.h>

#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/policy_source.h"
#include "broker/os/file.h"

namespace jitwg::cli {

Result<int> run_policy_check(Context& context) {
  const std::string& path = context.arguments()[0];
  JITWG_ASSIGN(const std::string text, read_file(path, kMaxPolicy));
  JITWG_ASSIGN(const Policy policy, load_policy(text, path));
  context.print({{"file", path},
                 {"policy_sha256", policy.digest},
                 {"targets", policy.targets.size()},
                 {"rules", policy.rules.size()},
                 {"denies", policy.denies.size()},
                 {"tests", policy.tests.size()}},
                fmt::format("{}: good. {} targets, {} rules, {} denies, {} tests pass\nsha256 {}\n",
                            path, policy.targets.size(), policy.rules.size(), policy.denies.size(),
                            policy.tests.size(), policy.digest));
  return 0;
}

}  // namespace jitwg::cli
