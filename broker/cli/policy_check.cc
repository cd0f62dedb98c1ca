#include <iostream>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"
#include "policy/policy.h"

namespace jitwg::cli {
namespace {

json::array array_of(const std::vector<PolicyProblem>& problems) {
  json::array list;
  for (const PolicyProblem& one : problems)
    list.push_back({{"line", one.line},
                    {"column", one.column},
                    {"message", one.message},
                    {"hint", one.hint.empty() ? json::value(nullptr) : json::value(one.hint)}});
  return list;
}

// Compilers' form, so that an editor finds the place.
std::string lines_of(const std::string& path, const std::vector<PolicyProblem>& problems,
                     const std::string& kind) {
  std::string text;
  for (const PolicyProblem& one : problems)
    text += fill("{}:{}:{}: {}: {}{}\n",
                 {escape_for_terminal(path), std::to_string(one.line), std::to_string(one.column), kind,
                  one.message, one.hint.empty() ? "" : " (" + one.hint + ")"});
  return text;
}

}  // namespace

Result<int> run_policy_check(Context& context) {
  const std::string& path = context.arguments()[0];
  JITWG_ASSIGN(const std::string text, read_file(path, limits::kPolicyBytes));
  const PolicyReading reading = check_policy(text);
  const json::array errors = array_of(reading.errors), warnings = array_of(reading.warnings);
  const std::string lines = lines_of(path, reading.errors, "error") + lines_of(path, reading.warnings, "warning");
  if (!reading.policy) {
    const Error first = reading.errors.front().error(path);
    json::value object = render_error(first);
    object.get_object()["errors"] = errors;
    object.get_object()["warnings"] = warnings;
    if (context.json()) context.print(object, {});
    else
      std::cerr << lines << (reading.more_errors ? fill("and {} more\n", {std::to_string(reading.more_errors)}) : "") << std::flush;
    return exit_code(kind(first.code));
  }
  const Policy& policy = *reading.policy;
  context.print({{"file", path},
                 {"policy_sha256", policy.file_sha256},
                 {"targets", policy.targets.size()},
                 {"rules", policy.rules.size()},
                 {"denies", policy.denies.size()},
                 {"tests", policy.tests.size()},
                 {"errors", errors},
                 {"warnings", warnings}},
                lines + fill("{}: good. {} targets, {} rules, {} denies, {} tests pass\nsha256 {}\n",
                             {path, std::to_string(policy.targets.size()),
                              std::to_string(policy.rules.size()), std::to_string(policy.denies.size()),
                              std::to_string(policy.tests.size()), policy.file_sha256}));
  return 0;
}

}  // namespace jitwg::cli
