// The steps of one access that several subcommands share (DESIGN §4): request, activate, give back,
// and keeping the files on this machine in step with what lives.
#pragma once

#include <string>

#include "broker/cli/api.h"
#include "broker/cli/session_files.h"

namespace jitwg::cli {

class Context;

struct Requested {
  SessionFiles files;
  SessionObject session;
};
// Keys, statement, signature, files, post; options reason, for, ticket, incident of the command
// line. A request that the broker refused leaves no files; one whose answer was lost stays, and
// resend_request() sends the same bytes.
Result<Requested> make_request(const Context& context, const Api& api, const std::string& target);
Result<SessionObject> resend_request(const Api& api, const SessionFiles& files);

// Its state by its own token; noted in the files, and wiped there when it is over.
Result<SessionObject> read_own(const Context& context, const Api& api, const SessionFiles& files);

struct Activated {
  SessionObject session;
  Verified verified;
};
// Activates (or, live already, gets the same answer again), verifies, writes the files.
// still_pending, refusal_of().
Result<Activated> activate_session(const Context& context, const Api& api,
                                   const SessionFiles& files);

// Ends it at the broker (before activation: cancels), takes the interface down and wipes.
Result<SessionObject> give_back(const Context& context, const Api& api, const SessionFiles& files);

// Interface down, keys wiped, ssh_config without it.
Result<void> clear_away(const Context& context, const SessionFiles& files);

// Rewrites ssh_config from the sessions that live by their own verified grants. One process at a
// time.
Result<void> refresh_ssh_config(const Context& context);

}  // namespace jitwg::cli
