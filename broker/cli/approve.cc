#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/decide_request.h"

namespace jitwg::cli {

Result<int> run_approve(Context& context) {
  std::optional<Seconds> duration;
  if (context.has("for")) {
    JITWG_ASSIGN(duration, parse_duration(context.option("for")));
  }
  std::optional<std::string> comment;
  if (context.has("comment")) comment = context.option("comment");
  return decide_request(context, Choice::approve, duration, comment);
}

}  // namespace jitwg::cli
