// Command line and `key = value` file of one program, by Boost.Program_options. Every key of the file is
// also a --key option; the command line wins. An unknown key or option is an error, never ignored.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "broker/base/error.h"

namespace jitwg {

struct Option {
  std::string name;   // "state-dir"
  std::string value;  // default; empty = none
  std::string help;
  bool flag = false;      // takes no value; "1" when given
  bool command_line_only = false;
  bool many = false;      // may be given several times
};

class Config {
 public:
  // args without argv[0]. Adds `--help`, `--version`, and, when default_file is not empty, `--config`
  // (default_file may be missing if it was not named explicitly, or for the command `init`, which writes it).
  // Words that are no option are positional(). bad_config / bad_argument name the file or option.
  static Result<Config> load(const std::vector<std::string>& args, const std::vector<Option>& options,
                             const std::string& default_file = {});

  // The same command line, and the file as it is now.
  std::function<Result<Config>()> load_again;

  const std::string& get(const std::string& name) const;          // "" when unset
  const std::vector<std::string>& all(const std::string& name) const;
  Result<std::string> need(const std::string& name) const;        // bad_config when unset
  bool has(const std::string& name) const { return !get(name).empty(); }
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> positional_;
};

// Option list as --help prints it.
std::string render_options(const std::vector<Option>& options);

}  // namespace jitwg
