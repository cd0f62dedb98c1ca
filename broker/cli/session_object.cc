#include "broker/cli/session_object.h"

namespace jitwg::cli {
namespace {

constexpr const char* kKeys[] = {
    "session",   "state",    "close_reason",  "person",    "target",       "reason",
    "ticket",    "duration", "login",         "gateway",   "jump_hosts",   "address",
    "scope",     "names",    "wg_public_key", "serial",    "requested_at", "not_before",
    "not_after", "incident", "break_glass",   "approvals", "evidence"};

tl::unexpected<Error> off(std::string_view what) {
  return fail(Code::corrupt,
              "the broker's session object is not as it should be: " + std::string(what),
              "are broker and jitwg of the same version?");
}

// A key that may be null. The object holds every key by now.
std::optional<std::string> text(const json::object& object, std::string_view key) {
  const json::value& value = object.at(key);
  if (!value.is_string()) return std::nullopt;
  return std::string(value.get_string());
}

std::vector<std::string> texts(const json::object& object, std::string_view key) {
  std::vector<std::string> list;
  const json::value& value = object.at(key);
  if (value.is_array())
    for (const json::value& item : value.get_array())
      if (item.is_string()) list.emplace_back(item.get_string());
  return list;
}

Result<std::optional<WallTime>> time(const json::object& object, std::string_view key) {
  const auto value = text(object, key);
  if (!value) return std::nullopt;
  JITWG_ASSIGN(const WallTime at, parse_time(*value));
  return at;
}

Result<Approval> parse_approval(const json::value& value) {
  JsonObject object(value, "an approval");
  const std::string person = object.string("person"), decision = object.string("decision"),
                    at = object.string("at");
  const json::value* comment = object.optional_value("comment");
  if (!object.ok()) return tl::unexpected<Error>(object.finish().error());
  if (decision != "approve" && decision != "deny") return off("decision " + decision);
  JITWG_ASSIGN(const WallTime when, parse_time(at));
  Approval approval{person, decision == "approve", when, std::nullopt};
  if (comment != nullptr && comment->is_string()) approval.comment = comment->get_string();
  return approval;
}

Result<SessionObject> parse(const json::value& value) {
  if (!value.is_object()) return off("no object");
  json::object all;
  for (const char* key : kKeys) {
    const json::value* found = value.get_object().if_contains(key);
    all[key] = found == nullptr ? json::value(nullptr) : *found;
  }
  for (const char* key : {"session", "state", "person", "target", "reason", "requested_at"})
    if (!all.at(key).is_string()) return off(std::string(key) + " is missing");
  if (!all.at("duration").is_int64()) return off("duration is missing");

  JITWG_ASSIGN(SessionId id, SessionId::parse(*text(all, "session")));
  SessionObject session{std::move(id)};
  JITWG_ASSIGN(session.state, parse_state(*text(all, "state")));
  if (const auto reason = text(all, "close_reason")) {
    JITWG_ASSIGN(const CloseReason parsed, parse_close_reason(*reason));
    session.close_reason = parsed;
  }
  session.person = *text(all, "person");
  session.target = *text(all, "target");
  session.reason = *text(all, "reason");
  session.duration = Seconds(all.at("duration").get_int64());
  session.ticket = text(all, "ticket");
  session.login = text(all, "login");
  session.gateway = text(all, "gateway");
  session.incident = text(all, "incident");
  session.jump_hosts = texts(all, "jump_hosts");
  session.address = texts(all, "address");
  session.scope = texts(all, "scope");
  if (!all.at("names").is_null()) {
    JITWG_ASSIGN(session.names, parse_host_names(all.at("names")));
  }
  JITWG_ASSIGN(session.requested_at, parse_time(*text(all, "requested_at")));
  JITWG_ASSIGN(session.not_before, time(all, "not_before"));
  JITWG_ASSIGN(session.not_after, time(all, "not_after"));
  if (all.at("approvals").is_array())
    for (const json::value& item : all.at("approvals").get_array()) {
      JITWG_ASSIGN(Approval approval, parse_approval(item));
      session.approvals.push_back(std::move(approval));
    }
  session.all = std::move(all);
  return session;
}

}  // namespace

Result<SessionObject> parse_session_object(const json::value& value) {
  auto session = parse(value);
  if (!session && session.error().code != Code::corrupt) return off(session.error().message);
  return session;
}

Result<std::vector<SessionObject>> parse_session_objects(const json::value& value) {
  if (!value.is_array()) return off("no list");
  std::vector<SessionObject> sessions;
  for (const json::value& item : value.get_array()) {
    JITWG_ASSIGN(SessionObject session, parse_session_object(item));
    sessions.push_back(std::move(session));
  }
  return sessions;
}

json::array objects_of(const std::vector<SessionObject>& sessions) {
  json::array list;
  for (const SessionObject& session : sessions) list.push_back(session.all);
  return list;
}

std::optional<Error> refusal_of(const SessionObject& session) {
  switch (session.state) {
    case State::pending:
    case State::approved:
    case State::opening:
    case State::active:
      return std::nullopt;
    case State::denied:
      for (const Approval& approval : session.approvals)
        if (!approval.approved)
          return Error{Code::decision_denied,
                       approval.person + " denied it" +
                           (approval.comment ? ": " + *approval.comment : std::string()),
                       "talk to " + approval.person + ", then make a new request"};
      return Error{Code::not_permitted,
                   "policy does not let " + session.person + " reach " + session.target + " so",
                   "jitwg policy explain --person " + session.person + " --target " +
                       session.target + " says why"};
    case State::cancelled:
      return Error{Code::session_ended, "the request was cancelled", "make a new request"};
    case State::lapsed:
      return Error{Code::session_ended, "nobody decided or activated in time: the request lapsed",
                   "make a new request"};
    case State::closing:
    case State::closed:
      return Error{Code::session_ended,
                   "the session has ended" + (session.close_reason
                                                  ? ": " + std::string(name(*session.close_reason))
                                                  : std::string()),
                   "make a new request"};
  }
  return Error{Code::bug, "a state nobody knows", ""};
}

}  // namespace jitwg::cli
