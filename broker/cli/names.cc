#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {
namespace {

// hosts(5). Nothing is escaped: verify_grant() lets only host names and addresses in.
std::string render_hosts(const Grant& grant) {
  std::string lines;
  for (const auto& [name, address] : grant.names)
    lines += address.str() + " " + name + " # jitwg " + grant.session.short_form() + "\n";
  return lines;
}

}  // namespace

Result<int> run_names(Context& context) {
  JITWG_ASSIGN(const SessionFiles files, resolve_local(context, context.arguments()[0]));
  JITWG_TRY(files.token());  // gone with the session, and says how that ended
  JITWG_ASSIGN(const ssh::CaKeys ca, context.ca());
  JITWG_ASSIGN(const std::string realm, context.realm());
  JITWG_ASSIGN(const Verified verified, files.load_activation(ca, realm, context.now()));
  const Grant& grant = verified.grant;
  if (grant.names.empty()) context.note("policy gives no names for " + grant.target);
  context.print(
      {{"session", grant.session.str()},
       {"target", grant.target},
       {"not_after", render_time(grant.not_after)},
       {"names", grant.names.empty() ? json::value(nullptr) : render_host_names(grant.names)}},
      render_hosts(grant));
  return 0;
}

}  // namespace jitwg::cli
