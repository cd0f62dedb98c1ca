#include "policy/policy_diff.h"

#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/policy_source.h"
#include "broker/cli/text.h"

namespace jitwg::cli {
namespace {

using Direction = AccessChange::Direction;

constexpr size_t kNamesShown = 12, kChangesShown = 1000;

std::string word_of(Direction direction) {
  switch (direction) {
    case Direction::gains: return "gains";
    case Direction::loses: return "loses";
    case Direction::changes: return "changes";
  }
  return "changes";
}

// As diff(1) has it; ~ is neither more nor less.
std::string mark_of(Direction direction) {
  return direction == Direction::gains ? "+ " : direction == Direction::loses ? "- " : "~ ";
}

json::array array_of(const std::vector<std::string>& words) {
  json::array list;
  for (const std::string& word : words) list.emplace_back(word);
  return list;
}

json::object json_of(const std::map<std::string, FieldChange>& fields) {
  json::object object;
  const auto text = [](const std::string& value) { return value.empty() ? json::value(nullptr) : json::value(value); };
  for (const auto& [field, change] : fields) object[field] = {{"before", text(change.before)}, {"after", text(change.after)}};
  return object;
}

std::string shown(const std::vector<std::string>& names) {
  std::vector<std::string> some(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kNamesShown)));
  return join(some, ", ") + (names.size() > some.size() ? fill(" and {} more", {std::to_string(names.size() - some.size())}) : "");
}

std::string field_line(const std::string& name, const FieldChange& change) {
  const auto text = [](const std::string& value) { return value.empty() ? std::string("nothing") : value; };
  return fill("    {}: {} -> {}\n", {name, text(change.before), text(change.after)});
}

std::string text_of(const AccessChange& change) {
  const std::string outcome = change.fields.contains("outcome")
                                  ? fill(": {} -> {}", {change.fields.at("outcome").before, change.fields.at("outcome").after})
                                  : "";
  std::string text = mark_of(change.direction) + shown(change.people) + " to " + shown(change.targets) +
                     (change.incident ? " in an incident" : "") + outcome + "\n";
  for (const auto& [field, values] : change.fields) {
    if (field == "outcome") continue;
    // What comes or goes as a whole needs no other side.
    if (change.direction == Direction::gains) text += fill("    {}: {}\n", {field, values.after});
    else if (change.direction == Direction::loses) text += fill("    {}: {}\n", {field, values.before});
    else text += field_line(field, values);
  }
  return text;
}

json::value json_of(const PolicyDiff& diff) {
  json::array access, rights;
  for (const AccessChange& one : diff.access)
    access.push_back({{"direction", word_of(one.direction)},
                      {"incident", one.incident},
                      {"people", array_of(one.people)},
                      {"targets", array_of(one.targets)},
                      {"fields", json_of(one.fields)}});
  for (const RightChange& one : diff.rights)
    rights.push_back({{"right", one.right}, {"gains", array_of(one.gains)}, {"loses", array_of(one.loses)}});
  return {{"access", access}, {"rights", rights}, {"settings", json_of(diff.settings)}};
}

std::string text_of(const PolicyDiff& diff) {
  std::string text;
  for (size_t i = 0; i < std::min(diff.access.size(), kChangesShown); ++i) text += text_of(diff.access[i]);
  if (diff.access.size() > kChangesShown)
    text += fill("… and {} more: --json has them all\n", {std::to_string(diff.access.size() - kChangesShown)});
  for (const RightChange& one : diff.rights) {
    if (!one.gains.empty()) text += fill("+ {}: the right {}\n", {shown(one.gains), one.right});
    if (!one.loses.empty()) text += fill("- {}: the right {}\n", {shown(one.loses), one.right});
  }
  for (const auto& [name, change] : diff.settings) text += "~ setting\n" + field_line(name, change);
  return text.empty() ? "the same access for everybody\n" : text;
}

// 1 says that they differ, so whatever stands in the way is 2, as with diff(1).
Result<Policy> read(const Context& context, const std::string& path) {
  auto policy = read_policy_file(context, path);
  if (!policy && kind(policy.error().code) == Kind::internal)
    return fail(Code::bad_argument, policy.error().message, policy.error().hint);
  return policy;
}

}  // namespace

Result<int> run_policy_diff(Context& context) {
  JITWG_ASSIGN(const Policy before, read(context, context.arguments()[0]));
  JITWG_ASSIGN(const Policy after, read(context, context.arguments()[1]));
  const PolicyDiff diff = diff_policies(before, after);
  if (context.json())
    context.print(json_of(diff), "");
  else
    context.print(nullptr, text_of(diff));  // of ten thousand people, each takes a while
  return diff.none() ? 0 : 1;
}

}  // namespace jitwg::cli
