#include "broker/base/encoding.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/login.h"
#include "broker/cli/policy_source.h"
#include "policy/decide.h"

namespace jitwg::cli {
namespace {

Result<Policy> find_policy(const Context& context) {
  if (context.has("file")) return read_policy_file(context, context.option("file"));
  const Api api(context.broker());
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/policy"));
  return parse_policy_answer(answer);
}

Result<Question> read_question(const Context& context) {
  JITWG_ASSIGN(const std::string target, context.need("target"));
  Question question{context.person(), target, std::nullopt, context.now(), context.has("incident")};
  // Who opened it is asked only when it is said: otherwise somebody else did.
  question.opened_by = context.has("opened-by") ? context.option("opened-by") : "(somebody else)";
  if (context.has("for")) {
    JITWG_ASSIGN(question.duration, parse_duration(context.option("for")));
  }
  if (context.has("at")) {
    JITWG_ASSIGN(question.at, parse_time_with_offset(context.option("at")));
  }
  return question;
}

template <typename Texts>
json::array array_of(const Texts& texts) {
  json::array list;
  for (const std::string& text : texts) list.emplace_back(text);
  return list;
}

}  // namespace

Result<int> run_policy_explain(Context& context) {
  JITWG_ASSIGN(const Question question, read_question(context));
  JITWG_ASSIGN(const Policy policy, find_policy(context));
  const Verdict verdict = decide(policy, question);
  const std::vector<std::string> why = explain(policy, question);
  const bool allowed = verdict.outcome != Verdict::Outcome::deny;
  std::string lines;
  for (const std::string& line : why) lines += escape_for_terminal(line) + "\n";
  context.print(
      {{"person", question.person},
       {"target", question.target},
       {"at", render_time(question.at)},
       {"outcome", name(verdict.outcome)},
       {"keys", allowed ? json::value(name(verdict.keys)) : json::value(nullptr)},
       {"rule", verdict.rule.empty() ? json::value(nullptr) : json::value(verdict.rule)},
       {"duration", allowed ? json::value(verdict.duration.count()) : json::value(nullptr)},
       {"approvers", array_of(verdict.approvers)},
       {"access", allowed ? render_access(verdict.access) : json::value(nullptr)},
       {"denial",
        verdict.denial ? render_error(*verdict.denial).at("error") : json::value(nullptr)},
       {"why", array_of(why)}},
      lines);
  return 0;
}

}  // namespace jitwg::cli
