// `jitwg-hostd status [--json]`: the logins that run here and their sessions, from the records of
// logins.h. Needs no running daemon; needs root.
#pragma once

#include <string>

#include "broker/base/error.h"

namespace jitwg::hostd {

// One line a login, or a JSON array of {session, person, login, target, client, pid, since,
// not_after, open}.
Result<std::string> render_status(const std::string& logins_directory, bool as_json);

}  // namespace jitwg::hostd
