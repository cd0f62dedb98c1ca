// What the module reads from its PAM line and from sshd, as pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pam_jitwg/verdict.h"

namespace jitwg::pam {

inline constexpr size_t kAuthInfoBytes = 80 * 1024;  // SSH_AUTH_INFO_0 that we look at

struct Arguments {
  Mode mode = Mode::login;
  bool debug = false;
};
// `mode=login|sudo|job [debug]`, each once, in any order. An argument that were skipped would be a
// control that does not exist.
std::optional<Arguments> parse_arguments(int argc, const char* const* argv);

// The base64 of the certificate in SSH_AUTH_INFO_0: exactly one line `publickey <certificate type>
// <base64>`. Several methods, another method or a plain key: no value.
std::optional<std::string> certificate_of(std::string_view auth_info);

// The client's address in SSH_CONNECTION ("10.90.0.7 51000 10.60.0.5 22"); empty unless there are
// four words.
std::string first_word(std::string_view ssh_connection);

}  // namespace jitwg::pam
