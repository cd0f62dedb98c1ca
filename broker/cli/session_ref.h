// From what a person types to a session ID (DESIGN §12): the whole UUID, or its last six or more
// characters if they name only one.
#pragma once

#include <string_view>
#include <vector>

#include "broker/base/session_id.h"
#include "broker/cli/api.h"
#include "broker/cli/session_files.h"

namespace jitwg::cli {

class Context;

// Could this be (the end of) an ID at all? Six or more of 0-9, a-f and "-".
bool looks_like_id(std::string_view text);

// Pure. bad_argument when it is too short or no ID, unknown_session, ambiguous_id with the
// candidates as hint. A whole UUID is taken as it is, known or not.
Result<SessionId> resolve_id(std::string_view text, const std::vector<SessionId>& known);

// Among the sessions made on this machine: what activate, up, down, ssh and return work on.
Result<SessionFiles> resolve_local(const Context& context, std::string_view text);

// Among all that the person may read or decide; asks the broker unless `text` is whole.
Result<SessionId> resolve_anywhere(const Context& context, const Api& api, std::string_view text);

}  // namespace jitwg::cli
