#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "policy/statement.h"

namespace jitwg {

Result<VerifiedStatement> verify_statement(const ssh::SignedDocument& document, const ssh::AllowedSigners& people,
                                           std::string_view realm, WallTime now) {
  JITWG_ASSIGN(ssh::SignedBy by, ssh::verify(document, kStatementNamespace));
  JITWG_ASSIGN(Statement statement, parse_statement(document.body));
  const StatementHead& head = head_of(statement);
  if (head.realm != realm)
    return fail(Code::wrong_realm,
                "signed for the realm \"" + escape_for_terminal(head.realm) + "\", this is \"" + std::string(realm) + "\"",
                "check realm in your configuration");
  JITWG_ASSIGN(const std::string person, people.person_of(by.key, head.at));
  if (person != head.by)
    return fail(Code::wrong_key, "signed with " + person + "'s key, but it says it is by " + head.by);
  if (head.at > now + limits::kClockSkew)
    return fail(Code::clock, "signed at " + render_time(head.at) + ", but it is only " + render_time(now) + " here",
                "set your clock");
  std::string digest = sha256_hex(document.body);
  return VerifiedStatement{std::move(statement), document, std::move(digest), std::move(by)};
}

}  // namespace jitwg
