// Where policy commands get their policy from.
#pragma once

#include <string>

#include "broker/cli/api.h"
#include "policy/policy.h"

namespace jitwg::cli {

// The broker's, with a login token. It explains; it never decides: the signer holds the copy that
// counts.
Result<Policy> read_policy(const Api& api, const std::string& login_token);
Result<Policy> parse_policy_answer(const json::value& answer);

// A file's, with the lists that it takes from other files as they are on this machine; what is wrong with those is a note on
// stderr. bad_policy, io. Does not run the policy's tests.
Result<Policy> read_policy_file(const Context& context, const std::string& path);

}  // namespace jitwg::cli
