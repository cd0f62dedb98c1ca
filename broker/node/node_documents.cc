#include "broker/node/node_documents.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"

namespace jitwg::node {
namespace {

constexpr int64_t kVersion = 1;
constexpr size_t kNonceDigits = 32;

json::object render_head(std::string_view type, const NodeHead& head) {
  return {{"type", type},
          {"v", kVersion},
          {"realm", head.realm},
          {"node", head.node},
          {"at", render_time(head.at)},
          {"nonce", head.nonce}};
}

NodeHead parse_head(JsonObject& reader, std::string_view type) {
  NodeHead head;
  if (reader.string("type") != type)
    reader.problem({Code::unknown_type, "this is no " + std::string(type), {}});
  if (reader.integer("v") != kVersion)
    reader.problem(
        {Code::unsupported_version, "a " + std::string(type) + " of another version", {}});
  head.realm = reader.string("realm");
  head.node = reader.string("node");
  head.nonce = reader.string("nonce");
  const Result<WallTime> at = parse_time(reader.string("at"));
  if (at)
    head.at = *at;
  else
    reader.problem(at.error());
  if (!is_name(head.node)) reader.problem({Code::bad_value, "not a node's name", {}});
  if (head.nonce.size() != kNonceDigits || !hex_decode(head.nonce))
    reader.problem({Code::bad_value, "the nonce is not 32 hex digits", {}});
  return head;
}

Result<Reported> parse_reported(std::string_view word) {
  for (const Reported state : {Reported::open, Reported::closed, Reported::refused})
    if (name(state) == word) return state;
  return fail(Code::bad_value, "a report of an unknown state");
}

Result<Finding> take_finding(JsonObject& reader) {
  JITWG_ASSIGN(const Reported state, parse_reported(reader.string("state")));
  Finding finding{.state = state};
  if (state == Reported::refused) {
    const auto code = parse_code(reader.string("reason"));
    if (!code) return fail(Code::bad_value, "refused for an unknown reason");
    finding.refusal = *code;
  }
  if (state == Reported::closed) {
    const json::value* evidence = reader.value("evidence");
    if (!evidence || !evidence->is_object())
      return fail(Code::bad_value, "closed without evidence");
    finding.evidence = *evidence;
  }
  return finding;
}

// As a gateway read it; null where it could not.
bool is_usage(std::string_view key, const json::value& value) {
  if (value.is_null()) return true;
  if (key == "last_handshake") return value.is_string() && parse_time(value.get_string());
  return value.is_int64() && value.get_int64() >= 0;
}

// The parsed document, once the node that it names has been shown to have signed it.
template <typename Document>
Result<Document> verify(const ssh::SignedDocument& document, std::string_view realm,
                        const NodeKeys& keys, Result<Document> (*parse)(std::string_view)) {
  JITWG_ASSIGN(const ssh::SignedBy signer, ssh::verify(document, kNodeNamespace));
  JITWG_ASSIGN(Document parsed, parse(document.body));
  if (parsed.head.realm != realm)
    return fail(Code::wrong_realm,
                "signed for the realm \"" + escape_for_terminal(parsed.head.realm) + "\"",
                "check realm in the node's configuration");
  JITWG_ASSIGN(const ssh::PublicKey expected, keys(parsed.head.node));
  if (signer.key != expected)
    return fail(
        Code::wrong_key,
        "signed by " + signer.key.fingerprint() + ", which is not the key of " + parsed.head.node,
        "policy names " + expected.fingerprint() + " as its node_key");
  return parsed;
}

}  // namespace

std::string_view name(Reported state) {
  switch (state) {
    case Reported::open:
      return "open";
    case Reported::closed:
      return "closed";
    case Reported::refused:
      return "refused";
  }
  JITWG_CHECK(!"a report of no state");
  return {};
}

std::string render_watch(const Watch& watch) {
  json::object object = render_head("watch", watch.head);
  object["revision"] = watch.revision;
  if (!watch.ca_keys.empty())
    object["ca_keys"] = json::array(watch.ca_keys.begin(), watch.ca_keys.end());
  return render_json(object);
}

std::string render_report(const Report& report) {
  json::object object = render_head("report", report.head);
  object["session"] = report.session.str();
  object["state"] = name(report.finding.state);
  if (report.finding.refusal) object["reason"] = jitwg::name(*report.finding.refusal);
  if (report.finding.state == Reported::closed) object["evidence"] = report.finding.evidence;
  return render_json(object);
}

Result<Watch> parse_watch(std::string_view body) {
  JITWG_ASSIGN(const json::value value, parse_json(body, limits::kStatementBytes));
  JsonObject reader(value, "watch");
  Watch watch{parse_head(reader, "watch"), reader.integer("revision")};
  if (reader.optional_value("ca_keys")) watch.ca_keys = reader.strings("ca_keys");
  if (watch.revision < 0) reader.problem({Code::bad_value, "a negative revision", {}});
  JITWG_TRY(reader.finish());
  return watch;
}

Result<Report> parse_report(std::string_view body) {
  JITWG_ASSIGN(const json::value value, parse_json(body, limits::kStatementBytes));
  JsonObject reader(value, "report");
  NodeHead head = parse_head(reader, "report");
  const std::string id = reader.string("session");
  const Result<Finding> finding = take_finding(reader);
  JITWG_TRY(reader.finish());
  if (!finding) return tl::unexpected<Error>(finding.error());
  JITWG_ASSIGN(const SessionId session, SessionId::parse(id));
  return Report{std::move(head), session, *finding};
}

Result<Watch> verify_watch(const ssh::SignedDocument& document, std::string_view realm,
                           const NodeKeys& keys) {
  return verify<Watch>(document, realm, keys, parse_watch);
}

Result<Report> verify_report(const ssh::SignedDocument& document, std::string_view realm,
                             const NodeKeys& keys) {
  return verify<Report>(document, realm, keys, parse_report);
}

bool proves_closed(Role role, const json::value& evidence) {
  static const json::value kGateway = {{"peer", false}, {"elements", 0}, {"flows", 0}};
  static const json::value kJumpHost = {{"processes", 0}};
  if (role == Role::jump_host) return evidence == kJumpHost;
  if (!evidence.is_object()) return false;
  json::object proof = evidence.get_object();
  if (proof.contains("rx"))  // gateways of earlier versions tell no usage
    for (const std::string_view key : {"rx", "tx", "last_handshake"}) {
      const auto found = proof.find(key);
      if (found == proof.end() || !is_usage(key, found->value())) return false;
      proof.erase(found);
    }
  return proof == kGateway;
}

}  // namespace jitwg::node
