#include "broker/cli/decide_request.h"

#include <iostream>

#include "broker/base/encoding.h"
#include "broker/cli/api.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/identity.h"
#include "broker/cli/login.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/text.h"

namespace jitwg::cli {
namespace {

struct Question {
  RequestStatement request;
  std::string digest;  // of the bytes that the requester signed
  std::string key;     // fingerprint of the key that signed them
  Access access;
  std::string keys;     // "sk", "verify-required": what the rule wants the approver to sign with
};

// The person's name in it is the signer's to check, who has allowed_signers; here: the bytes are
// whole, signed by some key, of this session and this realm.
Result<Question> read_question(const Context& context, const Api& api, const SessionId& id) {
  JITWG_ASSIGN(const std::string realm, context.realm());
  JITWG_ASSIGN(const json::value answer,
               get_as_person(context, api, "/v1/sessions/" + id.str() + "/request"));
  JsonObject object(answer, "request");
  const json::value* request = object.value("request");
  const json::value* access = object.value("access");
  const std::string keys = object.optional_string("keys").value_or("any");
  if (!object.ok()) return from_broker<Question>(tl::unexpected<Error>(object.finish().error()));
  JITWG_ASSIGN(const ssh::SignedDocument document,
               from_broker(parse_document(*request, "request")));
  JITWG_ASSIGN(const ssh::SignedBy by, from_broker(ssh::verify(document, kStatementNamespace)));
  JITWG_ASSIGN(Statement statement, from_broker(parse_statement(document.body)));
  auto* parsed = std::get_if<RequestStatement>(&statement);
  if (parsed == nullptr || parsed->session != id)
    return fail(Code::wrong_request, "the broker showed another request than the one asked for",
                "tell your administrator");
  if (parsed->head.realm != realm)
    return fail(Code::wrong_realm,
                "the request is of the realm " + parsed->head.realm + ", not " + realm);
  JITWG_ASSIGN(Access resolved, from_broker(parse_access(*access)));
  return Question{std::move(*parsed), sha256_hex(document.body), by.key.fingerprint(),
                  std::move(resolved), keys};
}

std::string describe_question(const Question& q, const std::optional<Seconds>& shorter,
                              WallTime now) {
  return render_fields(
      {{"session", q.request.session.str()},
       {"person", q.request.head.by + ", signed with " + q.key},
       {"asked", local_time(q.request.head.at) + ", " + time_since(q.request.head.at, now)},
       {"target", q.request.target},
       {"scope", join(render_scope(q.access.scope), "; ")},
       {"names", describe_names(q.access.names)},
       {"nat", q.access.nat ? "the target sees the gateway's address" : ""},
       {"login", q.access.login.value_or("none")},
       {"gateways", join(q.access.gateways, ", ")},
       {"jump hosts", q.access.jump_hosts.empty() ? "none" : join(q.access.jump_hosts, ", ")},
       {"duration",
        render_duration(shorter.value_or(q.request.duration)) +
            (shorter ? " (asked for " + render_duration(q.request.duration) + ")" : "")},
       {"keys", q.keys == "any" ? "" : "the rule counts hardware keys only (" + q.keys + "): yours must be one"},
       {"ticket", q.request.ticket.value_or("")},
       {"incident", q.request.incident ? q.request.incident->str() : ""},
       {"reason", q.request.reason}});
}

}  // namespace

Result<int> decide_request(const Context& context, Choice choice, std::optional<Seconds> duration,
                           std::optional<std::string> comment) {
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionId id, resolve_anywhere(context, api, context.arguments()[0]));
  JITWG_ASSIGN(const Question question, read_question(context, api, id));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  if (choice == Choice::approve && head.by == question.request.head.by)
    return fail(Code::self_approval, "nobody approves their own request", "ask somebody else");
  if (duration && *duration > question.request.duration)
    return fail(Code::bad_argument,
                "--for is longer than the " + render_duration(question.request.duration) +
                    " that were asked for",
                "approve for less, or leave --for out");
  if (duration == question.request.duration) duration.reset();

  (context.json() ? std::cerr : std::cout)
      << describe_question(question, duration, context.now()) << std::flush;
  if (!context.confirm(choice == Choice::approve ? "Approve exactly this?" : "Deny this?"))
    return fail(Code::bad_argument, "nothing was signed");
  const DecisionStatement decision{std::move(head), id,       question.digest,   choice,
                                   question.access, duration, std::move(comment)};
  JITWG_ASSIGN(const ssh::SignedDocument document, sign_statement(context, decision));
  JITWG_ASSIGN(const json::value answer, api.post_statement(document));
  JITWG_ASSIGN(const SessionObject session, parse_session_object(answer));
  context.print(session.all, (choice == Choice::approve ? "approved; the session is "
                                                        : "denied; the session is ") +
                                 std::string(name(session.state)) + "\n");
  return 0;
}

}  // namespace jitwg::cli
