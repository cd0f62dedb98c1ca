// Another program in front of the person, in our place until it ends: it has the terminal, and what the terminal sends
// (Ctrl-C, Ctrl-\, Ctrl-Z) is its own to answer. When it stops, so do we; when we are killed, it gets SIGHUP.
#pragma once

#include <string>
#include <vector>

#include "broker/base/error.h"

namespace jitwg::cli {

// Its exit code, 128 + N if signal N ended it. io: it could not be started.
Result<int> run_in_front(const std::vector<std::string>& words);

}  // namespace jitwg::cli
