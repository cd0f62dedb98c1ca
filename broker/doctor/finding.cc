#include "broker/doctor/finding.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "broker/base/encoding.h"

namespace jitwg::doctor {
namespace {

using Level = Finding::Level;

std::string count(const Findings& findings, Level level, const std::string& what) {
  const auto is_so = [&](const Finding& finding) { return finding.level == level; };
  const auto number = std::count_if(findings.begin(), findings.end(), is_so);
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

}  // namespace

Finding ok(std::string what, std::string text) {
  return {Level::ok, std::move(what), std::move(text), {}};
}

Finding warning(std::string what, std::string text, std::string remedy) {
  return {Level::warning, std::move(what), std::move(text), std::move(remedy)};
}

Finding problem(std::string what, std::string text, std::string remedy) {
  return {Level::problem, std::move(what), std::move(text), std::move(remedy)};
}

Finding check(bool good, std::string what, std::string fine, std::string bad, std::string remedy,
              Level worse) {
  if (good) return ok(std::move(what), std::move(fine));
  return {worse, std::move(what), std::move(bad), std::move(remedy)};
}

void add(Findings& to, Findings more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Finding failed(std::string what, const Error& error, std::string remedy) {
  for (const int forbidden : {EACCES, EPERM})
    if (error.message.find(std::strerror(forbidden)) != std::string::npos)
      return warning(std::move(what), "cannot look: " + error.message, "run this as root");
  return problem(std::move(what), error.message,
                 error.hint.empty() ? std::move(remedy) : error.hint);
}

std::string_view name(Level level) {
  return level == Level::ok ? "ok" : level == Level::warning ? "warning" : "problem";
}

json::array render(const Findings& findings) {
  json::array array;
  for (const Finding& finding : findings) {
    json::value remedy;
    if (!finding.remedy.empty()) remedy = finding.remedy;
    array.push_back({{"check", finding.what},
                     {"level", name(finding.level)},
                     {"text", finding.text},
                     {"remedy", std::move(remedy)}});
  }
  return array;
}

std::string render_text(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += padded(std::string(name(finding.level)), 8) + padded(finding.what, 16) + " " +
            escape_for_terminal(finding.text) + "\n";
    if (!finding.remedy.empty())
      text += padded("", 8) + "-> " + escape_for_terminal(finding.remedy) + "\n";
  }
  return text + count(findings, Level::problem, "problem") + ", " +
         count(findings, Level::warning, "warning") + "\n";
}

bool has_problem(const Findings& findings) {
  return std::ranges::any_of(
      findings, [](const Finding& finding) { return finding.level == Level::problem; });
}

Result<void> tell(const Findings& findings, bool as_json) {
  const std::string text = as_json ? render_json(render(findings)) + "\n" : render_text(findings);
  std::fputs(text.c_str(), stdout);
  if (has_problem(findings)) return fail(Code::system, "");
  return {};
}

}  // namespace jitwg::doctor
