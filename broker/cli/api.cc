#include "broker/cli/api.h"

#include "broker/base/limits.h"
#include "broker/cli/context.h"
#include "broker/transport/client.h"
#include "policy/statement.h"

namespace jitwg::cli {
namespace {

constexpr size_t kMaxAnswer = 32 << 20;  // `list` of some ten thousand sessions
constexpr Seconds kDefaultDuration = std::chrono::minutes(60);

}  // namespace

Result<json::value> read_answer(const http::Response& response) {
  if (response.status < 200 || response.status > 299)
    return tl::unexpected<Error>(http::parse_error_response(response));
  return from_broker(parse_json(response.body, kMaxAnswer));
}

Result<json::value> Api::call(http::Request request, std::chrono::milliseconds deadline) const {
  JITWG_ASSIGN(const http::Response response,
               http::call_once(broker_, std::move(request), deadline));
  return read_answer(response);
}

Result<json::value> Api::get(const std::string& path, const std::string& bearer,
                             std::map<std::string, std::string> query) const {
  return call({"GET", path, std::move(query), bearer, ""});
}

Result<json::value> Api::post_statement(const ssh::SignedDocument& document) const {
  return call({"POST", "/v1/statements", {}, "", render_json(render_document(document))});
}

http::Request session_request(const SessionId& id, const std::string& bearer) {
  return {"GET", "/v1/sessions/" + id.str(), {}, bearer, ""};
}

Result<SessionObject> Api::session(const SessionId& id, const std::string& bearer) const {
  JITWG_ASSIGN(const json::value value, call(session_request(id, bearer)));
  JITWG_ASSIGN(SessionObject session, parse_session_object(value));
  if (session.session != id) return fail(Code::corrupt, "the broker answered with another session");
  return session;
}

Result<Seconds> check_realm(const Context& context, const Api& api) {
  JITWG_ASSIGN(const std::string realm, context.realm());
  JITWG_ASSIGN(const ssh::CaKeys ca, context.ca());
  JITWG_ASSIGN(const json::value answer, api.get("/v1/realm"));
  JsonObject object(answer, "realm");
  const std::string theirs = object.string("realm"), key = object.string("ca_public_key"),
                    time = object.string("now");
  const auto duration = object.optional_integer("duration");
  if (!object.ok()) return from_broker<Seconds>(tl::unexpected<Error>(object.finish().error()));
  if (theirs != realm)
    return fail(Code::wrong_realm, "this broker serves the realm " + theirs + ", not " + realm,
                "is it the right broker? see " + context.paths().config);
  const auto their_ca = ssh::PublicKey::parse(key);
  if (!their_ca || !ca.contains(*their_ca))
    return fail(
        Code::foreign_grant, "this broker names a CA key that is not pinned here",
        "ask your administrator whether the CA key was changed; see " + context.paths().config);
  if (const auto now = parse_time(time)) {
    const Seconds off = context.now() - *now;
    if (off > limits::kNodeClockSkew || -off > limits::kNodeClockSkew)
      context.note("this machine's clock is " + render_duration(std::chrono::abs(off)) +
                   (off.count() > 0 ? " ahead of the broker's" : " behind the broker's"));
  }
  return duration && *duration > 0 ? Seconds(*duration) : kDefaultDuration;
}

}  // namespace jitwg::cli
