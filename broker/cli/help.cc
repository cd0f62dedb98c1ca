#include "broker/cli/commands.h"
#include "broker/cli/context.h"

namespace jitwg::cli {

Result<int> run_help(Context& context) {
  std::vector<std::string> words = context.arguments();
  if (words.empty()) {
    context.print(json::value(render_overview()), render_overview());
    return 0;
  }
  const Command* command = take_command(words);
  if (command == nullptr || !words.empty())
    return fail(Code::bad_argument, "no such subcommand", "jitwg help lists them");
  context.print(json::value(render_help(*command)), render_help(*command));
  return 0;
}

}  // namespace jitwg::cli
