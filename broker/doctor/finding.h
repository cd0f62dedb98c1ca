// What a program's `doctor` says about one thing that must be true on this machine. The checks are
// pure functions from what was observed to a Finding; a check that could not be made is a warning
// that says so, never ok.
#pragma once

#include <string>
#include <vector>

#include "broker/base/json.h"

namespace jitwg::doctor {

struct Finding {
  enum class Level { ok, warning, problem };
  Level level = Level::ok;
  std::string what;    // short, stable: "ip_forward"
  std::string text;    // one sentence: what is so
  std::string remedy;  // the line to change, and its file; empty when ok
  bool operator==(const Finding&) const = default;
};
using Findings = std::vector<Finding>;

Finding ok(std::string what, std::string text);
Finding warning(std::string what, std::string text, std::string remedy);
Finding problem(std::string what, std::string text, std::string remedy);
// The first text and nothing to do when `good`; otherwise a problem (or `worse`) with the second.
Finding check(bool good, std::string what, std::string fine, std::string bad, std::string remedy,
              Finding::Level worse = Finding::Level::problem);
void add(Findings& to, Findings more);
// What could not be looked at: a warning when this user may not, otherwise a problem. The error's
// own hint is the remedy where it has one.
Finding failed(std::string what, const Error& error, std::string remedy);

std::string_view name(Finding::Level level);
// [{"check","level","text","remedy"}], remedy null when there is nothing to do.
json::array render(const Findings& findings);
// One line each, "-> remedy" below, and a count at the end; safe for terminals.
std::string render_text(const Findings& findings);

bool has_problem(const Findings& findings);
// Prints. With a problem among them an error without a message: exit code 1, and nothing more to
// say (os/program.h).
Result<void> tell(const Findings& findings, bool as_json);

}  // namespace jitwg::doctor
