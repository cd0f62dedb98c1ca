// Policies: loading twice gives the same, errors are fit to print, and of a policy that loads every question has an answer.
#include "policy/decide.h"
#include "policy/policy.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {
namespace {

const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");

void check_verdict(const Policy& policy, const Question& question) {
  const Verdict verdict = decide(policy, question);
  JITWG_CHECK((verdict.outcome == Verdict::Outcome::deny) == verdict.denial.has_value());
  JITWG_CHECK((verdict.outcome == Verdict::Outcome::approval) == !verdict.approvals.empty());
  JITWG_CHECK(!verdict.approvers.contains(question.person));
  if (verdict.denial) check_error(*verdict.denial);
  else JITWG_CHECK(parse_access(render_access(verdict.access)) == verdict.access);
  if (!verdict.denial && verdict.approvals.empty()) JITWG_CHECK(approvals_filled(policy, verdict.approvals, {}));
  explain(policy, question);
}

}  // namespace

bool try_input(std::string_view input) {
  const auto policy = load_policy(input, "policy.toml"), again = load_policy(input, "policy.toml");
  JITWG_CHECK(policy.has_value() == again.has_value());
  if (!policy) {
    JITWG_CHECK(policy.error().render() == again.error().render());
    check_error(policy.error());
    return false;
  }
  JITWG_CHECK(policy->digest == again->digest && policy->targets.size() == again->targets.size());
  std::set<std::string> people{"nobody"};
  for (const auto& [name, members] : policy->groups) people.insert(members.begin(), members.end());
  size_t asked = 0;
  for (const std::string& person : people)
    for (const auto& [name, target] : policy->targets)
      for (const bool incident : {false, true})
        if (++asked < 200) check_verdict(*policy, {.person = person, .target = name, .duration = Seconds(60), .at = kNow, .incident = incident});
  check_verdict(*policy, {.person = "nobody", .target = "nothing", .duration = {}, .at = kNow});
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
