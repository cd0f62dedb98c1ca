#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/text.h"
#include "broker/cli/tunnel.h"
#include "broker/cli/wg_quick.h"

namespace jitwg::cli {
namespace {

Result<SessionFiles> the_only_one(const Context& context) {
  std::vector<SessionFiles> found;
  std::vector<std::string> names;
  for (const SessionFiles& files : local_sessions(context.paths().state))
    if (is_up(files.id())) {
      found.push_back(files);
      names.push_back(files.id().str());
    }
  if (found.empty()) return fail(Code::unknown_session, "no interface of yours is up");
  if (found.size() > 1)
    return fail(Code::ambiguous_id, "more than one interface is up: say which", join(names, ", "));
  return std::move(found.front());
}

}  // namespace

Result<int> run_down(Context& context) {
  JITWG_ASSIGN(const SessionFiles files, context.arguments().empty()
                                             ? the_only_one(context)
                                             : resolve_local(context, context.arguments()[0]));
  const bool over = files.meta().is_over();
  JITWG_TRY(over ? clear_away(context, files) : take_down(files));
  const std::string interface = interface_name(files.id());
  const std::string rest =
      over ? "; the session is over"
           : "; the session itself goes on: jitwg return " + files.id().short_form() + " ends it";
  context.print({{"session", files.id().str()}, {"interface", interface}, {"up", false}},
                interface + " is down" + rest + "\n");
  return 0;
}

}  // namespace jitwg::cli
