#include "broker/cli/commands.h"
#include "broker/cli/context.h"

namespace jitwg::cli {
namespace {

std::string option_words(const std::vector<Option>& options) {
  std::string text;
  for (const Option& option : options) text += " --" + option.name;
  return text;
}

// The words that may follow as subcommand's second word ("policy" -> "check test explain").
std::string second_words(const std::string& first) {
  std::string text;
  for (const Command& command : commands())
    if (command.name.starts_with(first + " ")) text += " " + command.name.substr(first.size() + 1);
  return text;
}

}  // namespace

Result<int> run_completion_bash(Context& context) {
  std::string first, cases, seen = " ";
  for (const Command& command : commands()) {
    const std::string word = command.name.substr(0, command.name.find(' '));
    if (seen.find(" " + word + " ") == std::string::npos) {
      seen += word + " ";
      first += first.empty() ? word : " " + word;
      if (const std::string second = second_words(word); !second.empty())
        cases += "    \"" + word + "\") words=\"" + second.substr(1) + "\" ;;\n";
    }
    cases += "    \"" + command.name + "\"*) words=\"" +
             option_words(all_options(command)).substr(1) + "\" ;;\n";
  }
  const std::string script =
      "# bash completion for jitwg; made by `jitwg completion bash`\n"
      "_jitwg() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\" words before\n"
      "  before=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\"\n"
      "  case \"$before\" in\n"
      "    \"\") words=\"" +
      first + "\" ;;\n" + cases +
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [[ ${#COMPREPLY[@]} -gt 0 || ! $before =~ ^(policy|statement|export)\\  ]] || COMPREPLY=($(compgen -f -- "
      "\"$current\"))\n"
      "}\n"
      "complete -F _jitwg jitwg\n";
  context.print(json::value(script), script);
  return 0;
}

}  // namespace jitwg::cli
