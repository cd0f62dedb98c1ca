#include "broker/cli/session_ref.h"

#include <algorithm>

#include "broker/cli/context.h"
#include "broker/cli/login.h"
#include "broker/cli/text.h"

namespace jitwg::cli {
namespace {

constexpr size_t kLeast = 6;

std::vector<SessionId> local_ids(const Context& context) {
  std::vector<SessionId> ids;
  for (const SessionFiles& files : local_sessions(context.paths().state)) ids.push_back(files.id());
  return ids;
}

}  // namespace

bool looks_like_id(std::string_view text) {
  return text.size() >= kLeast &&
         text.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

Result<SessionId> resolve_id(std::string_view text, const std::vector<SessionId>& known) {
  if (auto whole = SessionId::parse(text)) return whole;
  if (!looks_like_id(text) || text.size() >= 36)
    return fail(Code::bad_argument, "\"" + std::string(text) + "\" is no session ID",
                "write the whole UUID or its last six or more characters");
  std::vector<SessionId> found;
  for (const SessionId& id : known)
    if (id.str().ends_with(text) && std::find(found.begin(), found.end(), id) == found.end())
      found.push_back(id);
  if (found.empty())
    return fail(Code::unknown_session, "no session ends in " + std::string(text),
                "jitwg list shows them");
  if (found.size() == 1) return found.front();
  std::vector<std::string> names;
  for (const SessionId& id : found) names.push_back(id.str());
  return fail(Code::ambiguous_id, std::string(text) + " ends more than one session's ID",
              join(names, ", "));
}

Result<SessionFiles> resolve_local(const Context& context, std::string_view text) {
  const std::vector<SessionId> ids = local_ids(context);
  JITWG_ASSIGN(SessionId id, resolve_id(text, ids));
  if (std::find(ids.begin(), ids.end(), id) == ids.end())
    return fail(Code::unknown_session, "session " + id.str() + " was not requested on this machine",
                "its keys are where it was requested");
  return SessionFiles(context.paths().state, std::move(id));
}

Result<SessionId> resolve_anywhere(const Context& context, const Api& api, std::string_view text) {
  std::vector<SessionId> known = local_ids(context);
  if (looks_like_id(text) && text.size() < 36)
    for (const char* path : {"/v1/sessions", "/v1/pending"}) {
      JITWG_ASSIGN(const json::value answer, get_as_person(context, api, path));
      JITWG_ASSIGN(const auto sessions, parse_session_objects(answer));
      for (const SessionObject& session : sessions) known.push_back(session.session);
    }
  return resolve_id(text, known);
}

}  // namespace jitwg::cli
