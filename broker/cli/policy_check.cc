#include "broker/base/limits.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/policy_source.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"

namespace jitwg::cli {

Result<int> run_policy_check(Context& context) {
  const std::string& path = context.arguments()[0];
  JITWG_ASSIGN(const std::string text, read_file(path, limits::kPolicyBytes));
  JITWG_ASSIGN(const Policy policy, load_policy(text, path));
  context.print({{"file", path},
                 {"policy_sha256", policy.digest},
                 {"targets", policy.targets.size()},
                 {"rules", policy.rules.size()},
                 {"denies", policy.denies.size()},
                 {"tests", policy.tests.size()}},
                fill("{}: good. {} targets, {} rules, {} denies, {} tests pass\nsha256 {}\n",
                     {path, std::to_string(policy.targets.size()),
                      std::to_string(policy.rules.size()), std::to_string(policy.denies.size()),
                      std::to_string(policy.tests.size()), policy.digest}));
  return 0;
}

}  // namespace jitwg::cli
