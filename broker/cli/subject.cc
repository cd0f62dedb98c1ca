#include "broker/cli/subject.h"

#include <iostream>

#include "broker/base/encoding.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/login.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

using enum Subject::Kind;
constexpr size_t kShown = 20;

std::string count(size_t number, const std::string& one, const std::string& many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

std::string whose(const Subject& what) {
  if (what.kind == person) return " of " + what.name;
  if (what.kind == target) return " on " + what.name;
  if (what.kind == node) return " through " + what.name;
  return what.kind == incident ? " of the incident" : "";
}

std::map<std::string, std::string> query_of(const Subject& what) {
  constexpr const char* kKeys[] = {"session", "person", "target", "node", "incident", "all"};
  return {{kKeys[static_cast<size_t>(what.kind)], what.kind == all ? "1" : what.name}};
}

}  // namespace

Result<SessionId> resolve_incident(const Context& context, const Api& api,
                                   const std::string& text) {
  std::vector<SessionId> known;
  if (looks_like_id(text) && text.size() < 36) {
    JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/incidents"));
    if (answer.is_array())
      for (const json::value& one : answer.get_array()) {
        JsonObject object(one, "incident");
        if (const auto id = SessionId::parse(object.string("incident"))) known.push_back(*id);
      }
  }
  auto id = resolve_id(text, known);
  if (!id && id.error().code == Code::unknown_session)
    return fail(Code::unknown_incident, "no incident ends in " + text,
                "jitwg incident list shows them");
  if (!id && id.error().code == Code::bad_argument)
    return fail(Code::bad_argument, "\"" + text + "\" is no incident's ID", id.error().hint);
  return id;
}

Result<Subject> read_subject(const Context& context, const Api& api, Subject::Kind argument) {
  std::vector<Subject> named;
  if (!context.arguments().empty()) named.push_back({argument, context.arguments()[0]});
  const auto option = [&](const char* name, Subject::Kind kind) {
    if (has_own_option(context.command(), name) && context.has(name))
      named.push_back({kind, kind == all ? "" : context.option(name)});
  };
  option("person", person);  // elsewhere it is who one is
  option("target", target);
  option("node", node);
  option("incident", incident);
  option("all", all);
  if (named.size() != 1)
    return fail(Code::bad_argument,
                named.empty() ? "it does not say what is meant" : "more than one thing is named",
                "jitwg " + context.command().name + " --help");
  Subject& what = named.front();
  if (what.kind == session) {
    JITWG_ASSIGN(const SessionId id, resolve_anywhere(context, api, what.name));
    what.name = id.str();
  } else if (what.kind == incident) {
    JITWG_ASSIGN(const SessionId id, resolve_incident(context, api, what.name));
    what.name = id.str();
  }
  return what;
}

std::string describe_affected(const Context& context, const Api& api, const Subject& what) {
  const auto answer = get_as_person(context, api, "/v1/affected", query_of(what));
  if (!answer || !answer->is_array())
    return "what it ends is not known: " +
           escape_for_terminal(answer ? "the answer cannot be read" : answer.error().message) + "\n";
  size_t live = 0, requests = 0;
  std::vector<std::vector<std::string>> rows;
  for (const json::value& one : answer->get_array()) {
    JsonObject object(one, "session");
    const std::string id = object.string("session"), state = object.string("state"),
                      who = object.string("person"), where = object.string("target");
    ++(state == "pending" || state == "approved" ? requests : live);
    if (rows.size() < kShown)
      rows.push_back({"  " + id.substr(id.size() < 8 ? 0 : id.size() - 8), who, where, state});
  }
  std::string text = live + requests == 0 ? "ends nothing: there is no live session or open request"
                                          : "ends " + count(live, "live session", "live sessions");
  text += escape_for_terminal(whose(what));
  if (requests > 0) text += ", cancels " + count(requests, "request", "requests");
  text += "\n" + (rows.empty() ? std::string() : render_table(rows));
  if (live + requests > kShown) text += "  and " + std::to_string(live + requests - kShown) + " more\n";
  return text;
}

Result<json::value> sign_and_send(const Context& context, const Api& api, const Statement& statement,
                                  const std::string& preview, const std::string& question) {
  (context.json() ? std::cerr : std::cout) << preview << std::flush;
  if (!context.confirm(question)) return fail(Code::bad_argument, "nothing was signed");
  JITWG_ASSIGN(const ssh::SignedDocument document, sign_statement(context, statement));
  if (!has_own_option(context.command(), "save") || !context.has("save"))
    return api.post_statement(document);
  const json::value signed_document = render_document(document);
  JITWG_TRY(write_file(context.option("save"), render_json(signed_document) + "\n", 0600));
  context.print(signed_document, "signed and saved, not sent: jitwg-signer apply " +
                                     escape_for_terminal(context.option("save")) +
                                     " on the signer's host takes it\n");
  return json::value();
}

std::string describe_ended(const json::value& answer) {
  const json::value* ended = answer.is_object() ? answer.get_object().if_contains("ended") : nullptr;
  const size_t number = ended != nullptr && ended->is_array() ? ended->get_array().size() : 0;
  return number == 0 ? "" : "; " + count(number, "session or request", "sessions and requests") + " ended";
}

}  // namespace jitwg::cli
