#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {
namespace {

// The newest live session of that target, otherwise the session whose ID ends so.
Result<Grant> find_session(const Context& context, const std::string& word) {
  JITWG_ASSIGN(const ssh::PublicKey ca, context.ca());
  JITWG_ASSIGN(const std::string realm, context.realm());
  std::optional<Grant> newest;
  for (const SessionFiles& files : local_sessions(context.paths().state)) {
    if (files.meta().is_over()) continue;
    const auto verified = files.load_activation(ca, realm, context.now());
    if (!verified || verified->grant.target != word) continue;
    if (!newest || std::tie(newest->not_before, newest->session) <
                       std::tie(verified->grant.not_before, verified->grant.session))
      newest = verified->grant;
  }
  if (newest) return *newest;
  if (!looks_like_id(word))
    return fail(Code::unknown_session, "no live session reaches " + word,
                "jitwg up " + word + " --reason … opens one");
  JITWG_ASSIGN(const SessionFiles files, resolve_local(context, word));
  JITWG_ASSIGN(Verified verified, files.load_activation(ca, realm, context.now()));
  return std::move(verified.grant);
}

}  // namespace

Result<int> run_ssh(Context& context) {
  JITWG_ASSIGN(const Grant grant, find_session(context, context.arguments()[0]));
  if (!grant.login)
    return fail(Code::no_jump_host,
                grant.target + " has no login: it is reached through the tunnel only");
  JITWG_TRY(refresh_ssh_config(context));
  std::vector<std::string> words = {"ssh", "-F", context.paths().ssh_config,
                                    "jitwg-" + grant.session.short_form()};
  // "--" again: a command that starts with a dash is not an option of ssh.
  if (!context.rest().empty()) words.push_back("--");
  words.insert(words.end(), context.rest().begin(), context.rest().end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  return fail_errno("ssh", errno);
}

}  // namespace jitwg::cli
