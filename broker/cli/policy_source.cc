#include "broker/cli/policy_source.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/cli/context.h"
#include "broker/os/clock.h"
#include "broker/os/dated_file.h"
#include "broker/os/file.h"

namespace jitwg::cli {

Result<Policy> parse_policy_answer(const json::value& answer) {
  JsonObject object(answer, "policy");
  const auto toml = base64_decode(object.string("policy"));
  if (!object.ok() || !toml) return fail(Code::corrupt, "the broker's policy cannot be read");
  JITWG_ASSIGN(Policy policy, parse_policy(*toml, "the broker's policy"));
  const json::value* lists = object.value("lists");
  const auto files = lists ? parse_lists(*lists) : SyncedFiles();
  if (!object.ok() || !files) return fail(Code::corrupt, "the broker's policy cannot be read");
  take_lists(policy, *files, SystemClock().now());
  return policy;
}

Result<Policy> read_policy(const Api& api, const std::string& login_token) {
  JITWG_ASSIGN(const json::value answer, api.get("/v1/policy", login_token));
  return parse_policy_answer(answer);
}

Result<Policy> read_policy_file(const Context& context, const std::string& path) {
  JITWG_ASSIGN(const std::string text, read_file(path, limits::kPolicyBytes));
  JITWG_ASSIGN(Policy policy, parse_policy(text, path));
  SyncedFiles files;
  for (const SyncedList& list : policy.lists) {
    auto file = read_dated_file(path_beside(path, list.path), limits::kListBytes);
    if (file) files.emplace(list.path, SyncedFile{std::move(file->bytes), file->modified});
    else files.emplace(list.path, tl::unexpected<Error>(file.error()));
  }
  take_lists(policy, files, context.now());
  for (const SyncedList& list : policy.lists)
    if (!list.problem.empty()) context.note("note: " + list.problem);
  return policy;
}

}  // namespace jitwg::cli
