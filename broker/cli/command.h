// The subcommand table: name -> function -> help -> options. --help, `jitwg help`, bash completion
// and the tests all read this one table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/os/config.h"

namespace jitwg::cli {

class Context;

struct Command {
  std::string name;       // may be two words: "policy check"
  std::string arguments;  // "TARGET", "[ID]"
  std::string help;       // one line
  std::string about;      // what one should know before using it
  std::string example;
  std::vector<Option> options;             // besides common_options()
  size_t least = 0, most = 0;              // positional arguments
  Result<int> (*run)(Context&) = nullptr;  // the exit code, or why not
  bool takes_rest = false;                 // words after "--" are its own
};

const std::vector<Command>& commands();
const std::vector<Option>& common_options();

bool has_own_option(const Command& command, std::string_view name);
// Its own, and those common ones whose names it does not use for something else.
std::vector<Option> all_options(const Command& command);

// The command that the first words name, taking them off `words`; null when none does.
const Command* take_command(std::vector<std::string>& words);

std::string render_overview();
std::string render_help(const Command& command);

// `args` without argv[0]. Everything from here on ends in an exit code (DESIGN §12).
int run(const std::vector<std::string>& args);

}  // namespace jitwg::cli
