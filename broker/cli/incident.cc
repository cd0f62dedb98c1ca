// incident open, extend, close, review, list and show.
#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/identity.h"
#include "broker/cli/login.h"
#include "broker/cli/subject.h"
#include "broker/cli/text.h"

namespace jitwg::cli {
namespace {

struct IncidentObject {
  std::string id, state, opened_by, reason, targets, closed_by, refusal;
  WallTime opened_at, until;
};

Result<IncidentObject> parse_incident(const json::value& value) {
  JsonObject object(value, "incident");
  IncidentObject incident{object.string("incident"), object.string("state"),
                          object.string("opened_by"), object.string("reason"),
                          join(object.strings("targets"), ", "), {}, {}, {}, {}};
  const auto opened = parse_time(object.string("opened_at"));
  const auto until = parse_time(object.string("until"));
  if (!object.ok() || !opened || !until)
    return fail(Code::corrupt, "the broker's incident cannot be read",
                "are broker and jitwg of the same version?");
  incident.opened_at = *opened;
  incident.until = *until;
  if (const auto* by = object.optional_value("closed_by"); by != nullptr && by->is_string())
    incident.closed_by = by->get_string();
  if (const auto* no = object.optional_value("signer_refusal"); no != nullptr && no->is_object())
    incident.refusal = render_json(*no);
  return incident;
}

// Every statement about an incident is answered with it.
Result<int> print_incident(const Context& context, const json::value& answer, const std::string& done) {
  if (answer.is_null()) return 0;
  JITWG_ASSIGN(const IncidentObject incident, parse_incident(answer));
  context.print(answer, escape_for_terminal(incident.id) + "\n" + done + " (" + escape_for_terminal(incident.state) +
                            ", until " + local_time(incident.until) + ")" + describe_ended(answer) + "\n");
  return 0;
}

struct Named {
  SessionId id;
  StatementHead head;
};
Result<Named> read_named(const Context& context, const Api& api) {
  JITWG_ASSIGN(SessionId id, resolve_incident(context, api, context.arguments()[0]));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  return Named{std::move(id), std::move(head)};
}

Result<WallTime> read_end(const Context& context) {
  JITWG_ASSIGN(const std::string text, context.need("for"));
  JITWG_ASSIGN(const Seconds duration, parse_duration(text));
  return context.now() + duration;
}

}  // namespace

Result<int> run_incident_open(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  JITWG_ASSIGN(const WallTime until, read_end(context));
  const Api api(context.broker());
  JITWG_ASSIGN(StatementHead head, make_head(context));
  std::vector<std::string> targets = context.arguments();
  std::sort(targets.begin(), targets.end());
  targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
  const std::string preview = "opens an incident on " + escape_for_terminal(join(targets, ", ")) +
                              " until " + local_time(until) + "\n";
  const IncidentOpenStatement open{std::move(head), SessionId::make(context.now()), std::move(targets),
                                   reason, until};
  JITWG_ASSIGN(const json::value answer, sign_and_send(context, api, open, preview, "Open it?"));
  return print_incident(context, answer, "opened");
}

Result<int> run_incident_extend(Context& context) {
  JITWG_ASSIGN(const WallTime until, read_end(context));
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  const Api api(context.broker());
  JITWG_ASSIGN(Named named, read_named(context, api));
  const IncidentExtendStatement extend{std::move(named.head), named.id, until, reason};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, extend, "",
                             "Let incident " + named.id.str() + " last until " + local_time(until) + "?"));
  return print_incident(context, answer, "extended");
}

Result<int> run_incident_close(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  const Api api(context.broker());
  JITWG_ASSIGN(Named named, read_named(context, api));
  const Subject what{Subject::Kind::incident, named.id.str()};
  const std::string preview = context.has("save") ? "" : describe_affected(context, api, what);
  const IncidentCloseStatement close{std::move(named.head), named.id, reason};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, close, preview, "Close incident " + named.id.str() + "?"));
  return print_incident(context, answer, "closed");
}

Result<int> run_incident_review(Context& context) {
  JITWG_ASSIGN(const std::string comment, context.need("comment"));
  const Api api(context.broker());
  JITWG_ASSIGN(Named named, read_named(context, api));
  const IncidentReviewStatement review{std::move(named.head), named.id, comment};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, review, "", "Sign the review of incident " + named.id.str() + "?"));
  return print_incident(context, answer, "reviewed");
}

Result<int> run_incident_list(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/incidents"));
  if (!answer.is_array()) return fail(Code::corrupt, "the broker's list of incidents cannot be read");
  std::vector<std::vector<std::string>> rows = {{"ID", "STATE", "OPENED BY", "TARGETS", "UNTIL", "REASON"}};
  for (const json::value& one : answer.get_array()) {
    JITWG_ASSIGN(const IncidentObject incident, parse_incident(one));
    rows.push_back({incident.id.substr(incident.id.size() < 8 ? 0 : incident.id.size() - 8), incident.state,
                    incident.opened_by, shorten(incident.targets, 40), local_time(incident.until),
                    shorten(incident.reason, 40)});
  }
  context.print(answer, rows.size() == 1 ? "nothing\n" : render_table(rows));
  return 0;
}

Result<int> run_incident_show(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionId id, resolve_incident(context, api, context.arguments()[0]));
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/incidents/" + id.str()));
  JITWG_ASSIGN(const IncidentObject incident, parse_incident(answer));
  std::vector<std::pair<std::string, std::string>> fields = {
      {"incident", incident.id},
      {"state", incident.state + (incident.closed_by.empty() ? "" : " by " + incident.closed_by)},
      {"opened by", incident.opened_by + ", " + local_time(incident.opened_at)},
      {"until", local_time(incident.until)},
      {"targets", incident.targets},
      {"reason", incident.reason},
      {"warning", incident.refusal.empty() ? "" : "the signer refused it: " + incident.refusal}};
  JsonObject object(answer, "incident");
  if (const auto* reviews = object.optional_value("reviews"); reviews != nullptr && reviews->is_array())
    for (const json::value& one : reviews->get_array()) {
      JsonObject review(one, "review");
      fields.emplace_back("reviewed", review.string("person") + ": " + review.string("comment"));
    }
  std::string text = render_fields(fields);
  if (const auto* list = object.optional_value("sessions")) {
    JITWG_ASSIGN(const auto sessions, parse_session_objects(*list));
    text += "\n" + describe_list(sessions, context.now());
  }
  context.print(answer, text);
  return 0;
}

}  // namespace jitwg::cli
