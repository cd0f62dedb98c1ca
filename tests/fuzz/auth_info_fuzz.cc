// SSH_AUTH_INFO_0 as sshd sets it (sshd's auth.c, auth_method_info): what is taken is one line of one method, written again it
// is the input, and no second method hides in it.
#include "pam_jitwg/login.h"
#include "pam_jitwg/wire.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
  const std::string client = pam::first_word(input);
  JITWG_CHECK(input.starts_with(client) && client.find(' ') == client.npos);
  const auto certificate = pam::certificate_of(input);
  if (!certificate) return false;
  JITWG_CHECK(!certificate->empty() && certificate->size() <= pam::kCertificateBytes);
  JITWG_CHECK(certificate->find_first_of(" \n") == certificate->npos);
  std::string_view rest = input;
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  JITWG_CHECK(rest.starts_with("publickey ") && rest.ends_with(" " + *certificate));
  const std::string_view type = rest.substr(10, rest.size() - 10 - certificate->size() - 1);
  JITWG_CHECK(type.ends_with("-cert-v01@openssh.com") && type.find_first_of(" \n") == type.npos);
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
