// What every subcommand starts from: its command line, the person's configuration, where files lie,
// and the way out to the terminal. Command line before environment (JITWG_BROKER) before
// ~/.config/jitwg/config before defaults.
#pragma once

#include <string>
#include <vector>

#include "broker/base/json.h"
#include "broker/base/time.h"
#include "broker/cli/command.h"
#include "broker/os/clock.h"
#include "broker/transport/broker_address.h"
#include "ssh-ca/format/ca_keys.h"

namespace jitwg::cli {

// Under $HOME. `sessions` holds a directory for each session made on this machine.
struct Paths {
  std::string config, ssh_config, state, login;
  static Result<Paths> of_home();
};

class Context {
 public:
  // `words` is the command line after the subcommand's name, `rest` what stood after "--".
  static Result<Context> make(const Command& command, const std::vector<std::string>& words,
                              std::vector<std::string> rest);

  const Command& command() const { return *command_; }
  const std::vector<std::string>& arguments() const { return options_.positional(); }
  const std::vector<std::string>& rest() const { return rest_; }
  const std::string& option(const std::string& name) const { return options_.get(name); }
  bool has(const std::string& name) const { return options_.has(name); }
  Result<std::string> need(
      const std::string& name) const;  // bad_argument when the option is missing
  const Paths& paths() const { return paths_; }
  const std::string& config_path() const { return options_.has("config") ? options_.get("config") : paths_.config; }
  WallTime now() const { return clock_.now(); }
  bool json() const { return options_.has("json"); }

  // "unix:/run/jitwg/broker.sock" when nothing else is set; looked at when it is called.
  http::BrokerAddress broker() const;
  std::string person() const;  // the unix user's name when not set
  std::string identity() const;
  Result<std::string> realm() const;  // bad_config when not set: there is no safe guess
  Result<ssh::CaKeys> ca() const;  // likewise; each value a key, or the path of a file of them

  // --json: one compact value a line on stdout; otherwise `text` (already escaped where it needs to
  // be).
  void print(const json::value& value, const std::string& text) const;
  // Progress: stderr, escaped, whatever --json says.
  void note(const std::string& sentence) const;
  // Asks on the terminal; true without asking with --yes, or when stdin is no terminal (--ask: reads it then, too).
  bool confirm(const std::string& question) const;

 private:
  Context(const Command& command, Config options, Config file, Paths paths,
          std::vector<std::string> rest);
  std::string setting(const std::string& name) const;

  const Command* command_;
  Config options_, file_;
  Paths paths_;
  std::vector<std::string> rest_;
  SystemClock clock_;
};

// How a failure is told: {"error":…} on stdout with --json, two lines on stderr otherwise. Returns
// the exit code.
int report(const Error& error, bool as_json);

// ANSI emphasis when stdout is a terminal, TERM is not "dumb" and NO_COLOR is unset; otherwise
// `text` as it is.
std::string bold(const std::string& text);

}  // namespace jitwg::cli
