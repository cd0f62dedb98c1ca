#include "broker/base/limits.h"
#include "broker/base/encoding.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/policy_source.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"

namespace jitwg::cli {

Result<int> run_policy_test(Context& context) {
  const std::string& path = context.arguments()[0];
  JITWG_ASSIGN(const std::string text, read_file(path, limits::kPolicyBytes));
  JITWG_ASSIGN(const Policy policy, parse_policy(text, path));
  json::array results;
  std::string lines;
  size_t failed = 0;
  for (const PolicyTest& test : policy.tests) {
    const auto failure = failure_of(policy, test);
    const std::string what =
        fill("line {}: {} reaches {}: {}",
             {std::to_string(test.line), test.person, test.target, test.expect});
    lines += escape_for_terminal((failure ? "FAIL  " : "ok    ") + what) + "\n";
    if (failure) lines += "      " + escape_for_terminal(*failure) + "\n";
    failed += failure.has_value();
    results.push_back(
        {{"line", test.line},
         {"person", test.person},
         {"target", test.target},
         {"expect", test.expect},
         {"ok", !failure},
         {"failure", failure ? json::value(*failure) : json::value(nullptr)}});
  }
  if (failed == 0 || !context.json()) context.print(results, lines);
  if (failed == 0) return 0;
  return fail(Code::bad_policy,
              fill("{}: {} of {} tests fail",
                   {path, std::to_string(failed), std::to_string(policy.tests.size())}),
              "mend the rules, or the tests if they expect too much");
}

}  // namespace jitwg::cli
