#include "broker/cli/policy_source.h"

#include "broker/base/encoding.h"

namespace jitwg::cli {

Result<Policy> parse_policy_answer(const json::value& answer) {
  JsonObject object(answer, "policy");
  const auto toml = base64_decode(object.string("policy"));
  if (!object.ok() || !toml) return fail(Code::corrupt, "the broker's policy cannot be read");
  return parse_policy(*toml, "the broker's policy");
}

Result<Policy> read_policy(const Api& api, const std::string& login_token) {
  JITWG_ASSIGN(const json::value answer, api.get("/v1/policy", login_token));
  return parse_policy_answer(answer);
}

}  // namespace jitwg::cli
