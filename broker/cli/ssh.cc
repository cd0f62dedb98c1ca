#include <algorithm>

#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/foreground.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/tunnel.h"
#include "broker/cli/wg_quick.h"

namespace jitwg::cli {
namespace {

// The newest live session of that target, otherwise the session whose ID ends so.
Result<SessionFiles> find_session(const Context& context, const std::string& word) {
  JITWG_ASSIGN(const ssh::CaKeys ca, context.ca());
  JITWG_ASSIGN(const std::string realm, context.realm());
  std::optional<std::pair<WallTime, SessionFiles>> newest;
  for (const SessionFiles& files : local_sessions(context.paths().state)) {
    if (files.meta().is_over()) continue;
    const auto verified = files.load_activation(ca, realm, context.now());
    if (!verified || verified->grant.target != word) continue;
    // Oldest first: a later one of the same second wins.
    if (!newest || newest->first <= verified->grant.not_before)
      newest.emplace(verified->grant.not_before, files);
  }
  if (newest) return newest->second;
  if (looks_like_id(word)) return resolve_local(context, word);
  return fail(Code::unknown_session, "no live session reaches " + word,
              "jitwg up " + word + " --reason … opens one");
}

// A session that somebody ended has no tunnel any more, and WireGuard says nothing: without asking,
// ssh would hang. A broker that is away is no reason not to try.
Result<void> check_live(const Context& context, const SessionFiles& files) {
  const auto session = read_own(context, Api(context.broker()), files);
  if (!session && kind(session.error().code) != Kind::unavailable)
    return tl::unexpected<Error>(session.error());
  if (session)
    if (const auto refusal = refusal_of(*session)) return tl::unexpected<Error>(*refusal);
  return {};
}

// sshd says no more than "Permission denied", or closes the connection: what the broker knows of it.
void explain(const Context& context, const SessionFiles& files) {
  const auto session = read_own(context, Api(context.broker()), files);
  const auto refusal = session ? refusal_of(*session) : std::nullopt;
  if (refusal)
    context.note(refusal->render());
  else if (!session)
    context.note(session.error().render());
  else
    context.note("by the broker the session lives. Why a jump host refuses it stands in that host's journal: "
                 "journalctl JITWG_SESSION_ID=" + files.id().str());
}

constexpr int kSshFailed = 255;  // ssh(1): its own failure, not the command's

}  // namespace

Result<int> run_ssh(Context& context) {
  JITWG_ASSIGN(const SessionFiles files, find_session(context, context.arguments()[0]));
  JITWG_TRY(check_live(context, files));
  JITWG_ASSIGN(const ssh::CaKeys ca, context.ca());
  JITWG_ASSIGN(const std::string realm, context.realm());
  JITWG_ASSIGN(const Verified verified, files.load_activation(ca, realm, context.now()));
  const Grant& grant = verified.grant;
  if (!grant.login)
    return fail(Code::no_jump_host,
                grant.target + " has no login: it is reached through the tunnel only");
  JITWG_TRY(refresh_ssh_config(context));
  if (!is_up(files.id()))
    context.note("the interface " + interface_name(files.id()) + " is not up here: jitwg up " +
                 grant.session.short_form());
  std::vector<std::string> words = {"ssh", "-F", context.paths().ssh_config,
                                    "jitwg-" + grant.session.short_form()};
  // "--" again: a command that starts with a dash is not an option of ssh.
  if (!context.rest().empty()) words.push_back("--");
  words.insert(words.end(), context.rest().begin(), context.rest().end());
  JITWG_ASSIGN(const int code, run_in_front(words));
  if (code == kSshFailed) explain(context, files);
  return code;
}

}  // namespace jitwg::cli
