#include "ssh-ca/signer/signer.h"

#include "broker/base/encoding.h"
#include "ssh-ca/signer/issue.h"

namespace jitwg::signer {
namespace {

Result<IssueQuestion> read_issue(JsonObject& reader) {
  const json::value* request = reader.value("request");
  const json::value* decisions = reader.value("decisions");
  IssueQuestion question{{}, {}, reader.string("gateway"), reader.string("policy_sha256")};
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(question.request, parse_document(*request, "request"));
  if (!decisions->is_array()) return fail(Code::bad_value, "\"decisions\" must be a list");
  for (const json::value& item : decisions->get_array()) {
    JITWG_ASSIGN(auto document, parse_document(item, "decision"));
    question.decisions.push_back(std::move(document));
  }
  return question;
}

}  // namespace

Result<Realm> make_realm(const Sources& sources, const ssh::CaKeys& ca, std::string_view policy_name) {
  JITWG_ASSIGN(Policy policy, load_policy(sources.policy_toml, policy_name));
  JITWG_ASSIGN(ssh::AllowedSigners people, ssh::AllowedSigners::parse(sources.allowed_signers));
  const auto must_not_know = [&](const ssh::PublicKey& key, const std::string& whose) -> Result<void> {
    if (people.knows_key(key))
      return fail(Code::bad_allowed_signers, "allowed_signers lists " + whose, "each key proves one thing only");
    return {};
  };
  for (const ssh::PublicKey& key : ca.all()) JITWG_TRY(must_not_know(key, "the CA key"));
  for (const auto& [name, gateway] : policy.gateways) JITWG_TRY(must_not_know(gateway.node_key, "the node key of " + name));
  for (const auto& [name, host] : policy.jump_hosts) {
    JITWG_TRY(must_not_know(host.node_key, "the node key of " + name));
    for (const auto& key : host.host_keys) JITWG_TRY(must_not_know(key, "a host key of " + name));
  }
  return Realm{std::move(policy), std::move(people), ca};
}

Result<void> Signer::reload(Sources sources) {
  JITWG_ASSIGN(Realm realm, make_realm(sources, realm_.ca, "policy"));
  if (realm.policy.realm != realm_.policy.realm)
    return fail(Code::bad_policy, "the realm changed from \"" + realm_.policy.realm + "\" to \"" + realm.policy.realm + "\"",
                "a realm keeps its name for life");
  realm_ = std::move(realm);
  sources_ = std::move(sources);
  return {};
}

void Signer::take_lists(SyncedFiles files, WallTime now) {
  lists_ = std::move(files);
  jitwg::take_lists(realm_.policy, lists_, now);
}

json::value Signer::answer(const json::value& question, WallTime now) {
  std::optional<SessionId> about;
  auto result = dispatch(question, now, about);
  if (result) return std::move(*result);
  if (on_refusal) on_refusal(result.error(), about);
  return render_error(result.error());
}

Result<json::value> Signer::dispatch(const json::value& question, WallTime now, std::optional<SessionId>& about) {
  JsonObject reader(question, "message");
  const std::string op = reader.string("op");
  // The whole table of permitted messages.
  if (op == "policy") return answer_policy(reader, now);
  if (op == "issue") return answer_issue(reader, now, about);
  if (op == "apply") return answer_apply(reader, now, about);
  if (!reader.ok()) JITWG_TRY(reader.finish());
  return fail(Code::unknown_message, "the signer knows no \"" + escape_for_terminal(op.substr(0, 40)) + "\"");
}

Result<json::value> Signer::answer_policy(JsonObject& reader, WallTime now) {
  JITWG_TRY(reader.finish());
  json::object answer{{"policy", base64_encode(sources_.policy_toml)},
                      {"allowed_signers", base64_encode(sources_.allowed_signers)},
                      {"policy_sha256", realm_.policy.digest},
                      {"ca_public_key", realm_.ca.first().str()},
                      {"now", render_time(now)}};
  if (!realm_.policy.lists.empty()) answer["lists"] = render_lists(lists_);
  if (realm_.ca.all().size() > 1) answer["ca_also"] = realm_.ca.all()[1].str();
  return answer;
}

Result<json::value> Signer::answer_issue(JsonObject& reader, WallTime now, std::optional<SessionId>& about) {
  JITWG_ASSIGN(const IssueQuestion question, read_issue(reader));
  if (const auto statement = parse_statement(question.request.body))
    if (const auto* request = std::get_if<RequestStatement>(&*statement)) about = request->session;
  const std::string digest = digest_of(question);
  if (about)
    if (const Issued* before = ledger_.memory().issued(*about); before && before->question_sha256 == digest) {
      // The very same answer; but a session revoked since is not handed out again.
      JITWG_TRY(check_reissue(*about, *before, ledger_.memory()));
      return before->answer;
    }

  JITWG_ASSIGN(const Permit permit, check_issue(question, realm_, ledger_.memory(), now));
  JITWG_ASSIGN(json::value answer, issue(permit, question.gateway, realm_, ledger_.memory(), *backend_, now));
  json::array statements{render_document(question.request)};
  for (const auto& decision : question.decisions) statements.push_back(render_document(decision));
  JITWG_TRY(ledger_.append({{"kind", "issued"},
                            {"at", render_time(now)},
                            {"question_sha256", digest},
                            {"statements", std::move(statements)},
                            {"answer", answer}}));
  return answer;
}

Result<json::value> Signer::answer_apply(JsonObject& reader, WallTime now, std::optional<SessionId>& about) {
  const json::value* value = reader.value("statement");
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(const ssh::SignedDocument document, parse_document(*value, "statement"));
  JITWG_ASSIGN(const Applicable applicable, check_apply(document, realm_, ledger_.memory(), now));
  const Statement& statement = applicable.verified.statement;
  about = session_of(statement);
  json::object record{{"kind", "applied"}, {"at", render_time(now)}, {"statement", *value}};
  if (applicable.claim) record["claim"] = true;
  // The same bytes again: the same answer, no new record.
  if (!ledger_.memory().nonce_digest(head_of(statement).nonce)) JITWG_TRY(ledger_.append(std::move(record)));
  return json::value{{"applied", true}};
}

}  // namespace jitwg::signer
