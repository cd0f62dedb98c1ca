// statement show and statement verify: what was signed, without a broker.
#include <unistd.h>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/describe.h"
#include "broker/cli/login.h"
#include "broker/os/file.h"
#include "policy/statement.h"

namespace jitwg::cli {
namespace {

// A document, or a body with its signature beside it (empty when there is none).
Result<ssh::SignedDocument> read_statement_file(const std::string& path) {
  JITWG_ASSIGN(std::string text, read_file(path, limits::kHttpBodyBytes));
  if (const auto value = parse_json(text, limits::kHttpBodyBytes);
      value && value->is_object() && value->get_object().contains("signature"))
    return parse_document(*value, path);
  auto signature = read_file(path + ".sig", limits::kHttpBodyBytes);
  return ssh::SignedDocument{std::move(text), signature ? std::move(*signature) : std::string()};
}

std::string describe(const json::object& fields) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [key, value] : fields)
    lines.emplace_back(std::string(key),
                       value.is_string() ? std::string(value.get_string()) : render_json(value));
  return render_fields(lines);
}

// Read whole by the one parser that counts, then shown key by key.
Result<json::object> fields_of(const ssh::SignedDocument& document) {
  JITWG_TRY(parse_statement(document.body));
  JITWG_ASSIGN(json::value fields, parse_json(document.body, limits::kStatementBytes));
  return std::move(fields.get_object());
}

std::string beside(const std::string& path, const std::string& name) {
  const size_t slash = path.rfind('/');
  return (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + name;
}

// Named, or beside the file, or else the broker's.
Result<std::string> read_signers(const Context& context, const std::string& path) {
  if (context.has("allowed-signers"))
    return read_file(context.option("allowed-signers"), limits::kPolicyBytes);
  const std::string near = beside(path, "allowed_signers");
  if (::access(near.c_str(), F_OK) == 0) return read_file(near, limits::kPolicyBytes);
  if (!context.realm())
    return fail(Code::bad_argument, "there is no " + near, "say --allowed-signers FILE");
  context.note("judged by the broker's allowed_signers; the signer's host has those that count");
  JITWG_ASSIGN(const json::value answer, get_as_person(context, Api(context.broker()), "/v1/policy"));
  JsonObject object(answer, "policy");
  return from_broker(base64_decode(object.string("allowed_signers")));
}

}  // namespace

Result<int> run_statement_show(Context& context) {
  JITWG_ASSIGN(const auto document, read_statement_file(context.arguments()[0]));
  JITWG_ASSIGN(const json::object fields, fields_of(document));
  context.print(fields, describe(fields) + "sha256  " + sha256_hex(document.body) + "\n");
  return 0;
}

Result<int> run_statement_verify(Context& context) {
  const std::string& path = context.arguments()[0];
  JITWG_ASSIGN(const auto document, read_statement_file(path));
  if (document.signature.empty())
    return fail(Code::bad_argument, path + " holds no signature, and there is no " + path + ".sig");
  JITWG_ASSIGN(const std::string text, read_signers(context, path));
  JITWG_ASSIGN(const ssh::AllowedSigners people, ssh::AllowedSigners::parse(text));
  JITWG_ASSIGN(const json::object fields, fields_of(document));
  JITWG_ASSIGN(const Statement parsed, parse_statement(document.body));
  const StatementHead& head = head_of(parsed);
  JITWG_ASSIGN(const VerifiedStatement verified,
               verify_statement(document, people, head.realm, head.at));
  const ssh::PublicKey& key = verified.signed_by.key;
  const std::string type(type_of(parsed));
  context.print({{"valid", true},
                 {"person", head.by},
                 {"type", type},
                 {"at", render_time(head.at)},
                 {"realm", head.realm},
                 {"key", key.fingerprint()},
                 {"key_type", name(key.type())},
                 {"user_verified", verified.signed_by.user_verified},
                 {"sha256", verified.digest},
                 {"statement", fields}},
                "good: a " + type + " signed by " + escape_for_terminal(head.by) + " at " +
                    render_time(head.at) + " with " + key.fingerprint() + " (" +
                    std::string(name(key.type())) + ")\n" + describe(fields));
  return 0;
}

}  // namespace jitwg::cli
