#include "broker/cli/command.h"

#include <algorithm>
#include <iostream>

#include "broker/cli/commands.h"
#include "broker/cli/context.h"

namespace jitwg::cli {
namespace {

Result<int> dispatch(std::vector<std::string> words, std::vector<std::string> rest, bool split) {
  if (words.empty()) {
    std::cerr << render_overview();
    return exit_code(Kind::usage);
  }
  if (words.size() == 1 && words[0] == "--help") words[0] = "help";
  if (words.size() == 1 && words[0] == "--version") words[0] = "version";
  const std::string first = words.front();
  const Command* command = take_command(words);
  if (command == nullptr)
    return fail(Code::bad_argument, "\"" + first + "\" is no subcommand", "jitwg help lists them");
  if (std::count(words.begin(), words.end(), "--help") > 0) {
    std::cout << render_help(*command);
    return 0;
  }
  if (split && !command->takes_rest) {
    // "--" only ends the options here: what follows is positional, even if it starts with a dash.
    words.push_back("--");
    words.insert(words.end(), rest.begin(), rest.end());
    rest.clear();
  }
  JITWG_ASSIGN(Context context, Context::make(*command, words, std::move(rest)));
  if (context.has("version")) return run_version(context);
  const size_t count = context.arguments().size();
  if (count < command->least || count > command->most)
    return fail(Code::bad_argument,
                count < command->least
                    ? command->name + " needs " + command->arguments
                    : "\"" + context.arguments()[command->most] + "\" is one argument too many",
                "jitwg " + command->name + " --help");
  return command->run(context);
}

}  // namespace

bool has_own_option(const Command& command, std::string_view name) {
  return std::any_of(command.options.begin(), command.options.end(),
                     [&](const Option& option) { return option.name == name; });
}

std::vector<Option> all_options(const Command& command) {
  std::vector<Option> all = command.options;
  for (const Option& option : common_options())
    if (!has_own_option(command, option.name)) all.push_back(option);
  return all;
}

const Command* take_command(std::vector<std::string>& words) {
  for (const Command& command : commands()) {
    const size_t blank = command.name.find(' ');
    const size_t count = blank == std::string::npos ? 1 : 2;
    if (words.size() < count || words[0] != command.name.substr(0, blank)) continue;
    if (count == 2 && words[1] != command.name.substr(blank + 1)) continue;
    words.erase(words.begin(), words.begin() + static_cast<long>(count));
    return &command;
  }
  return nullptr;
}

std::string render_overview() {
  std::string text = "usage: jitwg CMD [ARGUMENTS] [OPTIONS]\n\n";
  for (const Command& command : commands()) {
    std::string left =
        "  " + command.name + (command.arguments.empty() ? "" : " " + command.arguments);
    if (left.size() < 30) left.resize(30, ' ');
    text += left + " " + command.help + "\n";
  }
  return text +
         "\nAn ID is a session's whole UUID or its last six or more characters. jitwg CMD --help "
         "says more.\n"
         "Exit: 0 done, 1 other, 2 usage, 3 denied, 4 ended by others, 5 unavailable, 6 still "
         "pending.\n";
}

std::string render_help(const Command& command) {
  std::string text = "usage: jitwg " + command.name;
  if (!command.arguments.empty()) text += " " + command.arguments;
  text += " [OPTIONS]\n\n" + command.help + ".\n";
  if (!command.about.empty()) text += "\n" + command.about + "\n";
  text += "\nexample:\n  " + command.example + "\n\n";
  if (!command.options.empty()) text += "options:\n" + render_options(command.options) + "\n";
  std::vector<Option> common = all_options(command);
  common.erase(common.begin(), common.begin() + static_cast<long>(command.options.size()));
  return text + "for every subcommand:\n" + render_options(common);
}

int run(const std::vector<std::string>& args) {
  const auto end = std::find(args.begin(), args.end(), "--");
  const bool as_json = std::find(args.begin(), end, "--json") != end;
  std::vector<std::string> rest;
  if (end != args.end()) rest.assign(end + 1, args.end());
  const auto code = dispatch({args.begin(), end}, std::move(rest), end != args.end());
  return code ? *code : report(code.error(), as_json);
}

}  // namespace jitwg::cli
