// Reading what is not one's own session takes a `login` statement; its token is kept (0600) until
// it runs out, so that one signature serves a working day.
#pragma once

#include <optional>
#include <string>

#include "broker/cli/api.h"

namespace jitwg::cli {

class Context;

// The kept token, if it is still good for this broker and person. Signs nothing.
std::optional<std::string> kept_login(const Context& context);

// GET with a login token: the kept one, or a fresh one; a kept one that the broker no longer takes
// is renewed once.
Result<json::value> get_as_person(const Context& context, const Api& api, const std::string& path,
                                  const std::map<std::string, std::string>& query = {});

}  // namespace jitwg::cli
