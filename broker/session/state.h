// The session's life as one table (DESIGN §4). Pure. The same edges stand as a constraint in SQL.
#pragma once

#include <string_view>

#include "broker/base/error.h"

namespace jitwg {

enum class State { pending, approved, denied, cancelled, lapsed, opening, active, closing, closed };
enum class CloseReason { expired, returned, revoked, locked, incident_closed, lost_contact, failed };

std::string_view name(State state);
std::string_view name(CloseReason reason);
Result<State> parse_state(std::string_view word);
Result<CloseReason> parse_close_reason(std::string_view word);

bool may_become(State from, State to);
// Nothing follows any more.
bool is_final(State state);
// What the kernel may hold something of: opening, active, closing.
bool is_live(State state);

}  // namespace jitwg
