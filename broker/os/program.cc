#include "broker/os/program.h"

#include <sodium.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <sstream>

#include "broker/base/json.h"
#include "broker/os/service.h"

namespace jitwg {
namespace {

std::string usage(const Program& program, const Commands& commands) {
  const bool has_json = commands.size() > 1;
  std::string text;
  for (const auto& [word, unused] : commands)
    text += (text.empty() ? "usage: " : "       ") + program.name +
            (word.empty() ? " [OPTION…]\n" : " " + word + (has_json ? " [--json]\n" : "\n"));
  return text + "\n" + program.purpose + "\nEach option may stand in the file as KEY = VALUE.\n\n" +
         render_options(program.options) +
         render_options({{"config", program.default_file, "configuration file"},
                         {"help", "", "say how to use this", true},
                         {"version", "", "print the version", true}});
}

bool fits(const std::string& pattern, const std::vector<std::string>& words) {
  std::istringstream parts(pattern);
  size_t count = 0;
  for (std::string part; parts >> part; ++count) {
    if (count == words.size()) return part.front() == '[';
    if (part.front() >= 'a' && part != words[count]) return false;
  }
  return count == words.size();
}

Result<void> run(const Program& program, const Config& config, const Commands& commands) {
  if (config.has("help")) {
    std::fputs(usage(program, commands).c_str(), stdout);
    return {};
  }
  if (config.has("version")) {
    std::printf("%s %s\n", program.name.c_str(), JITWG_VERSION);
    return {};
  }
  for (const auto& [pattern, command] : commands)
    if (fits(pattern, config.positional())) return command(config);
  return fail(Code::bad_argument, "\"" + config.positional().front() + " …\" is no command", "see --help");
}

}  // namespace

int run_program(const Program& program, int argc, char** argv, const Commands& commands) {
  const bool as_json = std::find(argv + 1, argv + argc, std::string_view("--json")) != argv + argc;
  const auto complain = [&](const Error& error) {
    if (as_json && !error.message.empty())
      std::printf("%s\n", render_json(render_error(error)).c_str());
    else if (!error.message.empty())
      log(Level::error, program.name + ": " + error.render());
    return exit_code(kind(error.code));
  };
  try {
    if (sodium_init() < 0) return complain({Code::system, "libsodium does not start", {}});
    const std::vector<std::string> words(argv + 1, argv + argc);
    const auto config = Config::load(words, program.options, program.default_file);
    if (!config) return complain(config.error());
    const auto done = run(program, *config, commands);
    return done ? 0 : complain(done.error());
  } catch (const std::exception& e) {
    return complain({Code::bug, e.what(), {}});
  }
}

}  // namespace jitwg
