// hostd's record of a login on disk: one login has one record. And the file that `status` reads.
#include "pam_jitwg/hostd/logins.h"
#include "pam_jitwg/hostd/status.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
  if (const auto state = hostd::parse_state(input)) {
    const auto again = hostd::parse_state(hostd::render_state(*state));
    JITWG_CHECK(again && *again == *state);
    return true;
  }
  const auto login = hostd::parse_login(input);
  if (!login) {
    check_error(login.error());
    return false;
  }
  JITWG_CHECK(login->monitor.pid > 0);
  const auto again = hostd::parse_login(hostd::render_login(*login));
  JITWG_CHECK(again && *again == *login);
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
