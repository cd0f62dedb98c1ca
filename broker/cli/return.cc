#include "broker/cli/access.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/login.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {

namespace {

Result<SessionObject> end(const Context& context, const Api& api, const SessionFiles& files) {
  if (!files.meta().is_over() || files.token()) return give_back(context, api, files);
  // Over before, so its token is gone. What ended it decides whether that is what was wanted.
  JITWG_TRY(clear_away(context, files));
  JITWG_ASSIGN(const json::value answer,
               get_as_person(context, api, "/v1/sessions/" + files.id().str()));
  return parse_session_object(answer);
}

}  // namespace

Result<int> run_return(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionFiles files, resolve_local(context, context.arguments()[0]));
  JITWG_ASSIGN(const SessionObject session, end(context, api, files));
  // It may have been over before: then this is not what ended it.
  const bool by_us = session.state == State::cancelled ||
                     session.close_reason == CloseReason::returned ||
                     session.close_reason == CloseReason::expired;
  if (const auto refusal = refusal_of(session); refusal && !by_us)
    return tl::unexpected<Error>(*refusal);
  context.print(session.all,
                "given back; the session is " + std::string(name(session.state)) + "\n");
  return 0;
}

}  // namespace jitwg::cli
