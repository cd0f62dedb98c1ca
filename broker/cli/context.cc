#include "broker/cli/context.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "broker/base/encoding.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

constexpr const char* kDefaultBroker = "unix:/run/jitwg/broker.sock";

std::vector<Option> file_options() {
  return {{"broker", "", ""},
          {.name = "broker-pin", .many = true},
          {"broker-ca", "", ""},
          {"realm", "", ""},
          {.name = "ca", .many = true},
          {"person", "", ""},
          {"identity", "", ""}};
}

std::string at_home(const std::string& path) {
  if (!path.starts_with("~/")) return path;
  return std::string(std::getenv("HOME")) + path.substr(1);
}

}  // namespace

Result<Paths> Paths::of_home() {
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/')
    return fail(Code::bad_config, "HOME is not set", "set HOME to your home directory");
  const std::string base = home;
  return Paths{base + "/.config/jitwg/config", base + "/.config/jitwg/ssh_config",
               base + "/.local/state/jitwg", base + "/.local/state/jitwg/login"};
}

Context::Context(const Command& command, Config options, Config file, Paths paths,
                 std::vector<std::string> rest)
    : command_(&command),
      options_(std::move(options)),
      file_(std::move(file)),
      paths_(std::move(paths)),
      rest_(std::move(rest)) {}

Result<Context> Context::make(const Command& command, const std::vector<std::string>& words,
                              std::vector<std::string> rest) {
  const std::vector<Option> all = all_options(command);
  JITWG_ASSIGN(Config options, Config::load(words, all));
  for (const Option& option : all) {
    // An unset shell variable is not the wish for the default.
    if (!options.all(option.name).empty() && options.get(option.name).empty())
      return fail(Code::bad_argument, "--" + option.name + " is empty",
                  "jitwg " + command.name + " --help");
    if (!is_utf8(options.get(option.name)))
      return fail(Code::bad_argument, "--" + option.name + " is not UTF-8", "check your locale");
  }
  JITWG_ASSIGN(Paths paths, Paths::of_home());
  // A file of its own, not one Config over both: the environment comes between command line and
  // file.
  std::vector<std::string> named;
  if (options.has("config")) named = {"--config", options.get("config")};
  JITWG_ASSIGN(Config file, Config::load(named, file_options(), paths.config));
  return Context(command, std::move(options), std::move(file), std::move(paths), std::move(rest));
}

Result<std::string> Context::need(const std::string& name) const {
  if (!has(name))
    return fail(Code::bad_argument, "--" + name + " is missing",
                "jitwg " + command_->name + " --help");
  return option(name);
}

std::string Context::setting(const std::string& name) const {
  return options_.has(name) ? options_.get(name) : file_.get(name);
}

http::BrokerAddress Context::broker() const {
  const char* environment = std::getenv("JITWG_BROKER");
  std::string where = kDefaultBroker;
  if (options_.has("broker"))
    where = options_.get("broker");
  else if (environment != nullptr && *environment != '\0')
    where = environment;
  else if (file_.has("broker"))
    where = file_.get("broker");
  return {std::move(where), file_.all("broker-pin"), at_home(file_.get("broker-ca")), {}};
}

std::string Context::person() const {
  // Where --person is somebody else, it does not say who one is.
  const bool other = has_own_option(*command_, "person");
  const std::string set = other ? file_.get("person") : setting("person");
  if (!set.empty()) return set;
  const passwd* entry = getpwuid(getuid());
  return entry == nullptr ? std::string() : entry->pw_name;
}

std::string Context::identity() const {
  return at_home(setting("identity"));
}

Result<std::string> Context::realm() const {
  if (!file_.has("realm"))
    return fail(Code::bad_config, "the realm is not set",
                "your administrator has the line \"realm = …\" for " + paths_.config);
  return file_.get("realm");
}

Result<ssh::CaKeys> Context::ca() const {
  std::string text;
  for (const std::string& value : file_.all("ca")) {
    if (value.starts_with('/')) {
      JITWG_ASSIGN(const std::string keys, read_trusted_file(value, 4096));
      text += keys;
    } else {
      text += value;
    }
    if (!text.ends_with('\n')) text += "\n";
  }
  if (text.find_first_not_of('\n') == text.npos)
    return fail(Code::bad_config, "the CA's key is not set",
                "your administrator has the line \"ca = ssh-ed25519 …\" for " + paths_.config);
  return ssh::CaKeys::parse(text);
}

void Context::print(const json::value& value, const std::string& text) const {
  std::cout << (json() ? render_json_line(value) + "\n" : text) << std::flush;
}

void Context::note(const std::string& sentence) const {
  std::cerr << "jitwg: " << escape_for_terminal(sentence) << std::endl;
}

bool Context::confirm(const std::string& question) const {
  if (has("yes") || (!isatty(STDIN_FILENO) && !has("ask"))) return true;
  std::cerr << escape_for_terminal(question) << " [y/N] " << std::flush;
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "yes");
}

int report(const Error& error, bool as_json) {
  if (as_json) {
    std::cout << render_json_line(render_error(error)) << std::endl;
  } else {
    std::cerr << "jitwg: " << escape_for_terminal(error.message) << "\n";
    if (!error.hint.empty())
      std::cerr << "jitwg: hint: " << escape_for_terminal(error.hint) << "\n";
    std::cerr << std::flush;
  }
  return exit_code(kind(error.code));
}

std::string bold(const std::string& text) {
  static const bool colours = [] {
    const char* term = std::getenv("TERM");
    const char* no_color = std::getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && term != nullptr && std::strcmp(term, "dumb") != 0 &&
           (no_color == nullptr || *no_color == '\0');
  }();
  return colours ? "\033[1m" + text + "\033[0m" : text;
}

}  // namespace jitwg::cli
