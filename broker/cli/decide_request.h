// What approve and deny share: an approver signs over what they have read, and nothing else.
#pragma once

#include <optional>
#include <string>

#include "broker/base/error.h"
#include "policy/statement.h"

namespace jitwg::cli {

class Context;

// Fetches the request's own bytes, shows what the decision will cover, asks, signs, posts. Prints
// the session.
Result<int> decide_request(const Context& context, Choice choice, std::optional<Seconds> duration,
                           std::optional<std::string> comment);

}  // namespace jitwg::cli
