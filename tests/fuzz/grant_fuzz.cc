// The body of a grant, as nodes and people read it: written again it is the same grant, and one that names a jump host names
// whose login and which certificate.
#include "broker/session/grant.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
  const auto grant = parse_grant(input);
  if (!grant) {
    check_error(grant.error());
    return false;
  }
  JITWG_CHECK(grant->not_before < grant->not_after && !grant->address.empty());
  JITWG_CHECK(grant->login.has_value() == !grant->jump_hosts.empty() && grant->certificate_sha256.has_value() == grant->login.has_value());
  const auto again = parse_grant(render_grant(*grant));
  JITWG_CHECK(again && *again == *grant);
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
