// hostd's record of a login on disk: one login has one record.
#include "pam_jitwg/hostd/logins.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
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
