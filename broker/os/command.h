// Another program, run to its end: argv without a shell, PATH searched, our environment.
#pragma once

#include <string>
#include <vector>

#include "broker/base/error.h"

namespace jitwg {

struct Ran {
  int code = 0;        // 128 + N if signal N ended it
  std::string output;  // stdout and stderr, at most 1 MiB
};

// io: it could not be started. `may_ask`: it may read the terminal, so it stays in our process
// group; otherwise it gets one of its own, which keeps Ctrl-C from stopping it half way.
Result<Ran> run_command(const std::vector<std::string>& words, bool may_ask = false);

}  // namespace jitwg
