// A session's interface, up and down, by wg-quick(8): the one command of ours that runs as root.
#pragma once

#include "broker/cli/session_files.h"

namespace jitwg::cli {

bool is_up(const SessionId& id);  // in this network namespace

// `sudo wg-quick up PATH` (plain wg-quick as root). Its output goes to stderr. `system` with what
// to do when it fails.
Result<void> bring_up(const SessionFiles& files);
Result<void> take_down(const SessionFiles& files);  // nothing to do when it is not up

}  // namespace jitwg::cli
