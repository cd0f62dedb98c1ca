#include "broker/daemon/routes.h"

#include "broker/base/encoding.h"
#include "broker/base/number.h"
#include "broker/daemon/reading.h"
#include "broker/daemon/session_json.h"

namespace jitwg::broker {
namespace {

namespace asio = boost::asio;
constexpr int64_t kLongestWait = 60;

Result<ssh::SignedDocument> document_of(const http::Request& request) {
  JITWG_ASSIGN(const json::value value, parse_json(request.body, limits::kHttpBodyBytes));
  return parse_document(value, "document");
}

struct Wait {
  Seconds time{0};
  std::optional<State> state;  // waits while this is the state
};
Result<Wait> parse_wait(const std::map<std::string, std::string>& query) {
  Wait wait;
  for (const auto& [key, value] : query) {
    if (key == "wait") {
      const auto seconds = parse_number<int64_t>(value);
      if (!seconds || *seconds < 0 || *seconds > kLongestWait)
        return fail(Code::bad_value, "wait is 0 to 60 seconds");
      wait.time = Seconds(*seconds);
    } else if (key == "state") {
      JITWG_ASSIGN(wait.state, parse_state(value));
    } else {
      return fail(Code::unknown_key, "a session knows no \"" + escape_for_terminal(key) + "\"");
    }
  }
  if (!wait.state) wait.time = Seconds(0);
  return wait;
}

// A session as read, and as shown.
struct Shown {
  State state;
  json::value object;
};

// The node that the caller proved to be, by its key.
json::value node_of(const Rules& rules, const http::Caller& caller) {
  for (const auto& [name, gateway] : rules.policy.gateways)
    if (caller.key == gateway.node_key) return json::string(name);
  for (const auto& [name, host] : rules.policy.jump_hosts)
    if (caller.key == host.node_key) return json::string(name);
  return nullptr;
}

// Which nodes lack a key of the CA, for whoever is on this machine.
json::value lacking_json(const Rules& rules, const http::Caller& caller, const NodeDoor& door) {
  if (!caller.local) return nullptr;
  json::object lacking;
  for (const auto& [node, keys] : door.without_ca(rules)) lacking[node] = json::array(keys.begin(), keys.end());
  return lacking;
}

json::value realm_json(const Rules& rules, const http::Caller& caller, const NodeDoor& door, WallTime now) {
  return {{"realm", rules.policy.realm},
          {"version", JITWG_VERSION},
          {"now", render_time(now)},
          {"ca_public_key", rules.ca.first().str()},
          {"ca_also", rules.ca.all().size() > 1 ? json::value(rules.ca.all()[1].str()) : nullptr},
          {"duration", rules.policy.duration.count()},
          {"nodes_without_ca", lacking_json(rules, caller, door)},
          {"node", node_of(rules, caller)}};
}

// "kind" and "name" of a subject, out of the query.
Result<Subject> parse_subject(const std::map<std::string, std::string>& query) {
  using enum Subject::Kind;
  for (const auto& [key, value] : query)
    if (key == "all") return Subject{all, {}};
    else if (key == "person") return Subject{person, value};
    else if (key == "target") return Subject{target, value};
    else if (key == "node") return Subject{node, value};
    else if (key == "session" || key == "incident") {
      JITWG_ASSIGN(const SessionId id, SessionId::parse(value));
      return Subject{key == "session" ? session : incident, id.str()};
    }
  return fail(Code::bad_value, "of what?", "person, target, node, session, incident or all");
}

// "/v1/sessions/ID[/verb]": the ID and the verb.
Result<std::pair<SessionId, std::string>> parse_session_path(std::string_view rest) {
  const size_t slash = rest.find('/');
  const auto id = SessionId::parse(rest.substr(0, slash));
  if (!id)
    return fail(Code::unknown_session,
                "no session ID: \"" + escape_for_terminal(rest.substr(0, slash)) + "\"",
                "give the whole UUID");
  return std::pair(*id, slash == rest.npos ? std::string() : std::string(rest.substr(slash + 1)));
}

}  // namespace

asio::awaitable<http::Answer> Routes::handle(http::Request request) {
  const Result<RulesPtr> rules = broker_.rules();
  if (!rules) co_return http::Answer{http::error_response(rules.error()), nullptr};
  if (request.method == "POST" && request.path == "/v1/watch") {
    auto stream = open_watch(request, **rules);
    if (!stream) co_return http::Answer{http::error_response(stream.error()), nullptr};
    co_return http::Answer{{}, std::move(*stream)};
  }
  const Body body = co_await dispatch(request, *rules);
  if (!body) co_return http::Answer{http::error_response(body.error()), nullptr};
  co_return http::Answer{{200, render_json(*body)}, nullptr};
}

asio::awaitable<Routes::Body> Routes::dispatch(const http::Request& request, RulesPtr rules) {
  constexpr std::string_view kSession = "/v1/sessions/", kIncident = "/v1/incidents/";
  const bool get = request.method == "GET";
  const bool post = request.method == "POST";
  const std::string& path = request.path;
  std::function<Body(Change&)> read;
  if (get && path == "/v1/realm") co_return realm_json(*rules, request.caller, door_, broker_.clock().now());
  if (post && path == "/v1/statements") co_return co_await post_statement(request, rules);
  if (post && path == "/v1/report") co_return co_await post_report(request, rules);
  if (get && path == "/v1/policy") co_return co_await get_policy(request, rules);
  if (get && path == "/v1/pending") {
    read = [&](Change& change) { return list_pending(change, *rules, request.bearer); };
    co_return co_await broker_.change(std::move(read));
  }
  if (get && path == "/v1/sessions") {
    const auto live = request.query.find("live");
    const bool live_only = live != request.query.end() && live->second == "1";
    read = [&, live_only](Change& change) {
      return list_sessions(change, *rules, request.bearer, live_only);
    };
    co_return co_await broker_.change(std::move(read));
  }
  if (get && (path == "/v1/locks" || path == "/v1/incidents" || path == "/v1/affected")) {
    read = [&](Change& change) -> Body {
      if (path == "/v1/locks") return list_locks(change, *rules, request.bearer);
      if (path == "/v1/incidents") return list_incidents(change, *rules, request.bearer);
      JITWG_ASSIGN(const Subject what, parse_subject(request.query));
      return list_affected(change, *rules, request.bearer, what);
    };
    co_return co_await broker_.change(std::move(read));
  }
  if (get && path.starts_with(kIncident)) {
    const auto id = SessionId::parse(std::string_view(path).substr(kIncident.size()));
    if (!id) co_return fail(Code::unknown_incident, "no incident's ID", "give the whole UUID");
    read = [&](Change& change) { return read_incident(change, *rules, request.bearer, *id); };
    co_return co_await broker_.change(std::move(read));
  }
  if (path.starts_with(kSession)) {
    const auto parsed = parse_session_path(std::string_view(path).substr(kSession.size()));
    if (!parsed) co_return tl::unexpected<Error>(parsed.error());
    const auto& [id, verb] = *parsed;
    if (get && verb.empty()) co_return co_await get_session(request, rules, id);
    if (post && verb == "activate") co_return co_await activate(request, id);
    if (post && verb == "return") co_return co_await give_back(request, id);
    if (get && (verb == "request" || verb == "export")) {
      read = [&, key = id, show = verb == "request" ? request_json : export_session](
                 Change& change) { return show(change, *rules, request.bearer, key); };
      co_return co_await broker_.change(std::move(read));
    }
  }
  co_return fail(Code::unknown_path,
                 "there is no " + escape_for_terminal(request.method + " " + path));
}

asio::awaitable<Routes::Body> Routes::post_statement(const http::Request& request, RulesPtr rules) {
  const auto document = document_of(request);
  if (!document) {
    refused(document.error(), {}, {});
    co_return tl::unexpected<Error>(document.error());
  }
  const auto verified =
      verify_statement(*document, rules->people, rules->policy.realm, broker_.clock().now());
  if (!verified) {
    refused(verified.error(), {}, {});
    co_return tl::unexpected<Error>(verified.error());
  }
  struct Answered {
    json::value body;
    std::optional<Error> refusal;
  };
  std::function<Result<Answered>(Change&)> work = [&](Change& change) -> Result<Answered> {
    JITWG_ASSIGN(Accepted accepted, accept_statement(change, *rules, *verified));
    Answered answered{nullptr, std::move(accepted.refusal)};
    if (accepted.session) {
      JITWG_ASSIGN(answered.body, session_json(change.tx, *accepted.session));
    } else if (accepted.read_until) {
      answered.body = {{"read_until", render_time(*accepted.read_until)}};
    } else if (accepted.incident) {
      JITWG_ASSIGN(const store::Incident incident, change.incident(*accepted.incident));
      JITWG_ASSIGN(answered.body, incident_json(change.tx, incident, change.now));
    } else if (accepted.subject) {
      answered.body = {{"subject", subject_json(*accepted.subject)}};
    }
    if (!accepted.session && (accepted.incident || accepted.subject)) {
      json::array ended;
      for (const SessionId& id : accepted.ended) ended.emplace_back(id.str());
      answered.body.as_object()["ended"] = std::move(ended);
    }
    return answered;
  };
  auto answered = co_await broker_.change(std::move(work));
  const std::optional<Error> error = answered ? answered->refusal : std::optional(answered.error());
  if (!error) co_return std::move(answered->body);
  const auto session = session_of(verified->statement);
  if (!answered) refused(*error, head_of(verified->statement).by, session);
  co_return tl::unexpected<Error>(*error);
}

asio::awaitable<Routes::Body> Routes::get_session(const http::Request& request, RulesPtr rules,
                                                  SessionId id) {
  const auto wait = parse_wait(request.query);
  if (!wait) co_return tl::unexpected<Error>(wait.error());
  const auto deadline = std::chrono::steady_clock::now() + wait->time;
  for (;;) {
    std::function<Result<Shown>(Change&)> read = [&](Change& change) -> Result<Shown> {
      JITWG_ASSIGN(const store::Session session, read_session(change, *rules, request.bearer, id));
      JITWG_ASSIGN(json::value object, session_json(change.tx, session));
      return Shown{session.state, std::move(object)};
    };
    auto shown = co_await broker_.change(std::move(read));
    if (!shown) co_return tl::unexpected<Error>(shown.error());
    if (shown->state != wait->state || std::chrono::steady_clock::now() >= deadline)
      co_return std::move(shown->object);
    co_await broker_.wait_for_change(id, deadline);
  }
}

asio::awaitable<Routes::Body> Routes::activate(const http::Request& request, SessionId id) {
  std::function<Result<bool>(Change&)> check = [&](Change& change) -> Result<bool> {
    JITWG_TRY(own_session(change, request.bearer, id));
    return true;
  };
  if (const auto may = co_await broker_.change(std::move(check)); !may)
    co_return tl::unexpected<Error>(may.error());
  const auto session = co_await broker_.activate(id);
  if (!session) co_return tl::unexpected<Error>(session.error());
  Body::value_type grant = render_document(*session->grant);
  std::function<Body(Change&)> show = [&](Change& change) {
    return session_json(change.tx, *session);
  };
  auto object = co_await broker_.change(std::move(show));
  if (!object) co_return object;
  json::value certificate;
  if (session->certificate) certificate = *session->certificate;
  co_return json::value{{"session", std::move(*object)},
                        {"certificate", std::move(certificate)},
                        {"grant", std::move(grant)}};
}

asio::awaitable<Routes::Body> Routes::give_back(const http::Request& request, SessionId id) {
  std::function<Body(Change&)> work = [&](Change& change) -> Body {
    JITWG_TRY(own_session(change, request.bearer, id));
    JITWG_ASSIGN(const store::Session session, return_session(change, id));
    return session_json(change.tx, session);
  };
  co_return co_await broker_.change(std::move(work));
}

asio::awaitable<Routes::Body> Routes::get_policy(const http::Request& request, RulesPtr rules) {
  std::function<Body(Change&)> work = [&](Change& change) -> Body {
    JITWG_TRY(reader_of(change, *rules, request.bearer));
    return json::value{{"policy", base64_encode(rules->policy_bytes)},
                       {"policy_sha256", rules->policy.digest},
                       {"allowed_signers", base64_encode(rules->people_bytes)},
                       {"lists", render_lists(rules->lists)}};
  };
  co_return co_await broker_.change(std::move(work));
}

Result<std::shared_ptr<http::LineSource>> Routes::open_watch(const http::Request& request,
                                                             const Rules& rules) {
  JITWG_ASSIGN(const ssh::SignedDocument document, document_of(request));
  const auto let_in = door_.watch(document, request.caller, rules, broker_.clock().now());
  if (!let_in) {
    refused(let_in.error(), {}, {});
    return tl::unexpected<Error>(let_in.error());
  }
  const node::Watch& watch = let_in->watch;
  return broker_.nodes().watch(watch.head.node, watch.revision, let_in->clock_is_right);
}

asio::awaitable<Routes::Body> Routes::post_report(const http::Request& request, RulesPtr rules) {
  const auto document = document_of(request);
  if (!document) co_return tl::unexpected<Error>(document.error());
  const json::value accepted{{"accepted", true}};
  const auto report = door_.report(*document, request.caller, *rules, broker_.clock().now());
  if (!report) {
    refused(report.error(), {}, {});
    co_return tl::unexpected<Error>(report.error());
  }
  if (!*report) co_return accepted;
  const node::Report& said = **report;
  using State = store::NodeReport::State;
  const State state = said.finding.state == node::Reported::open     ? State::open
                      : said.finding.state == node::Reported::closed ? State::closed
                                                                     : State::refused;
  std::function<Result<void>(Change&)> work = [&](Change& change) {
    return take_report(
        change,
        {.session = said.session,
         .node = said.head.node,
         .state = state,
         .at = change.now,
         .refusal = said.finding.refusal,
         .evidence = state == State::closed ? render_json(said.finding.evidence) : std::string()});
  };
  const auto taken = co_await broker_.run(std::move(work));
  if (!taken) {
    refused(taken.error(), said.head.node, said.session);
    co_return tl::unexpected<Error>(taken.error());
  }
  co_return accepted;
}

void Routes::refused(const Error& error, const std::string& who,
                     const std::optional<SessionId>& session) {
  broker_.events().emit({.name = EventName::statement_refused,
                         .session = session,
                         .person = who,
                         .code = error.code,
                         .text = error.message});
}

}  // namespace jitwg::broker
