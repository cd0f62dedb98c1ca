// main() of a daemon of ours: command line, --help, --version, exit codes and the last barrier for exceptions are the
// same for all of them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "broker/os/config.h"

namespace jitwg {

struct Program {
  std::string name;          // "jitwgd"
  std::string purpose;       // a sentence or two for --help
  std::vector<Option> options;
  std::string default_file;  // "/etc/jitwg/broker.conf"
};

// What the words on the command line do: "" without any, "status", "person add NAME [KEYFILE]". Those in
// lower case are typed as they stand; config.positional() has all that were typed. With --json an error
// is the JSON object on stdout.
// One without a message was told already: it only makes the exit code.
using Commands = std::map<std::string, std::function<Result<void>(const Config&)>>;

// The process' exit code: 0, or exit_code() of the error's kind.
int run_program(const Program& program, int argc, char** argv, const Commands& commands);

}  // namespace jitwg
