#include "broker/cli/access.h"

#include "broker/base/encoding.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/ssh_config.h"
#include "broker/cli/subject.h"
#include "broker/cli/tunnel.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

std::optional<std::string> optional_option(const Context& context, const std::string& name) {
  if (!context.has(name)) return std::nullopt;
  return context.option(name);
}

// Keys of a session that is over have no use; its interface, if it is still up, needs its file to
// come down.
Result<void> tidy(const SessionFiles& files, const SessionObject& session) {
  JITWG_TRY(files.note_state(session));
  if (session.is_ending() && !is_up(files.id())) return files.wipe();
  return {};
}

// What stays here of a request that brought an error: all of it if it may have arrived, its record
// if policy denied it (the broker keeps that too, as `denied`), otherwise nothing.
tl::unexpected<Error> refused_request(const Api& api, const SessionFiles& files, Error error) {
  if (kind(error.code) == Kind::unavailable) {
    error.hint = "it may have arrived: jitwg up " + files.id().str() + " goes on with it";
    return tl::unexpected<Error>(std::move(error));
  }
  const auto token = files.token();
  const auto kept = token ? api.session(files.id(), *token) : tl::unexpected<Error>(error);
  const auto cleaned = kept ? tidy(files, *kept) : files.remove();
  if (!cleaned) return tl::unexpected<Error>(cleaned.error());
  if (kept)
    error.hint += (error.hint.empty() ? "" : "; ") + ("it is on record as " + files.id().str());
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace

Result<Requested> make_request(const Context& context, const Api& api, const std::string& target) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  std::optional<Seconds> asked;
  if (context.has("for")) {
    JITWG_ASSIGN(asked, parse_duration(context.option("for")));
  }
  JITWG_ASSIGN(StatementHead head, make_head(context));
  JITWG_ASSIGN(const Seconds duration, check_realm(context, api));

  const SessionId id = SessionId::make(context.now());
  std::optional<SessionId> incident;
  if (context.has("incident")) {
    JITWG_ASSIGN(incident, resolve_incident(context, api, context.option("incident")));
  }
  const SessionFiles files(context.paths().state, id);
  const WireguardKey wireguard = WireguardKey::generate();
  const ssh::PrivateKey ssh_key = ssh::PrivateKey::generate();
  const std::string token = random_bytes(32);
  const RequestStatement statement{.head = std::move(head),
                                   .session = id,
                                   .target = target,
                                   .reason = reason,
                                   .duration = asked.value_or(duration),
                                   .wg_public_key = wireguard.public_key,
                                   .ssh_public_key = ssh_key.public_key(),
                                   .token_sha256 = sha256_hex(token),
                                   .ticket = optional_option(context, "ticket"),
                                   .incident = incident};
  JITWG_ASSIGN(const ssh::SignedDocument document, sign_statement(context, statement));
  JITWG_TRY(make_directory(context.paths().state, 0700));
  if (auto made = files.create(document, wireguard, ssh_key, hex_encode(token)); !made) {
    (void)
        files.remove();  // what is half there is keys of no request; the reason is the first error
    return tl::unexpected<Error>(std::move(made.error()));
  }

  auto session = resend_request(api, files);
  if (!session) return refused_request(api, files, session.error());
  JITWG_TRY(tidy(files, *session));
  return Requested{files, std::move(*session)};
}

Result<SessionObject> resend_request(const Api& api, const SessionFiles& files) {
  JITWG_ASSIGN(const ssh::SignedDocument document, files.request_document());
  JITWG_ASSIGN(const json::value answer, api.post_statement(document));
  JITWG_ASSIGN(SessionObject session, parse_session_object(answer));
  if (session.session != files.id())
    return fail(Code::corrupt, "the broker answered with another session");
  return session;
}

Result<SessionObject> read_own(const Context& context, const Api& api, const SessionFiles& files) {
  JITWG_ASSIGN(const std::string token, files.token());
  auto session = api.session(files.id(), token);
  // A request that never arrived has no token there either. Sent again, it has one effect at most.
  if (!session &&
      (session.error().code == Code::unknown_session || session.error().code == Code::bad_token))
    session = resend_request(api, files);
  if (!session) return session;
  JITWG_TRY(tidy(files, *session));
  if (session->is_ending()) JITWG_TRY(refresh_ssh_config(context));
  return session;
}

Result<Activated> activate_session(const Context& context, const Api& api,
                                   const SessionFiles& files) {
  JITWG_ASSIGN(const ssh::CaKeys ca, context.ca());
  JITWG_ASSIGN(const std::string realm, context.realm());
  JITWG_ASSIGN(const RequestStatement own, files.request());
  JITWG_ASSIGN(const SessionObject before, read_own(context, api, files));
  if (const auto refusal = refusal_of(before)) return tl::unexpected<Error>(*refusal);
  if (before.state == State::pending)
    return fail(Code::still_pending, "nobody has approved session " + files.id().str() + " yet",
                "jitwg up " + files.id().str() + " waits for it");

  JITWG_ASSIGN(const std::string token, files.token());
  JITWG_ASSIGN(const json::value answer,
               api.call({"POST", "/v1/sessions/" + files.id().str() + "/activate", {}, token, ""},
                        kActivateDeadline));
  JsonObject object(answer, "activation");
  const json::value* session = object.value("session");
  const json::value* grant = object.value("grant");
  const json::value* certificate = object.optional_value("certificate");
  if (!object.ok()) return from_broker<Activated>(tl::unexpected<Error>(object.finish().error()));
  JITWG_ASSIGN(SessionObject now_active, parse_session_object(*session));
  JITWG_ASSIGN(const ssh::SignedDocument document, from_broker(parse_document(*grant, "grant")));
  std::optional<std::string> line;
  if (certificate != nullptr && certificate->is_string()) {
    line = std::string(certificate->get_string());
    while (!line->empty() && line->back() == '\n') line->pop_back();
  }
  JITWG_ASSIGN(Verified verified, verify_activation(own, document, line, ca, realm, context.now()));
  JITWG_TRY(files.store_activation(verified, document));
  JITWG_TRY(files.note_state(now_active));
  JITWG_TRY(refresh_ssh_config(context));
  return Activated{std::move(now_active), std::move(verified)};
}

Result<SessionObject> give_back(const Context& context, const Api& api, const SessionFiles& files) {
  // The tunnel goes first: giving back holds on this machine even if the broker is away.
  JITWG_TRY(take_down(files));
  JITWG_ASSIGN(const std::string token, files.token());
  JITWG_ASSIGN(const json::value answer,
               api.call({"POST", "/v1/sessions/" + files.id().str() + "/return", {}, token, ""}));
  JITWG_ASSIGN(SessionObject session, parse_session_object(answer));
  JITWG_TRY(files.note_state(session));
  JITWG_TRY(clear_away(context, files));
  return session;
}

Result<void> clear_away(const Context& context, const SessionFiles& files) {
  JITWG_TRY(take_down(files));
  JITWG_TRY(files.wipe());
  return refresh_ssh_config(context);
}

Result<void> refresh_ssh_config(const Context& context) {
  JITWG_ASSIGN(const ssh::CaKeys ca, context.ca());
  JITWG_ASSIGN(const std::string realm, context.realm());
  JITWG_TRY(make_directory(context.paths().state, 0700));
  JITWG_ASSIGN(const Fd lock, lock_directory(context.paths().state));
  std::vector<SshSession> live;
  for (const SessionFiles& files : local_sessions(context.paths().state)) {
    if (files.meta().is_over()) continue;
    auto verified = files.load_activation(ca, realm, context.now());
    if (verified) {
      live.push_back({std::move(verified->grant), files.directory()});
    } else if (verified.error().code == Code::session_ended && !is_up(files.id())) {
      JITWG_TRY(files.wipe());  // its end came while nobody was looking
    }
  }
  JITWG_ASSIGN(const std::string text, render_ssh_config(std::move(live)));
  JITWG_TRY(make_directory(
      context.paths().ssh_config.substr(0, context.paths().ssh_config.rfind('/')), 0700));
  return write_file(context.paths().ssh_config, text, 0600);
}

}  // namespace jitwg::cli
