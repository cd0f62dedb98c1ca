#include "pam_jitwg/login.h"

#include <algorithm>

#include "pam_jitwg/wire.h"

namespace jitwg::pam {

std::optional<Arguments> parse_arguments(int argc, const char* const* argv) {
  constexpr std::string_view kModes[] = {"mode=login", "mode=sudo", "mode=job"};
  Arguments arguments;
  bool mode = false;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto* const known = std::find(std::begin(kModes), std::end(kModes), word);
    bool& given = word == "debug" ? arguments.debug : mode;
    if ((word != "debug" && known == std::end(kModes)) || given) return std::nullopt;
    given = true;
    if (known != std::end(kModes)) arguments.mode = static_cast<Mode>(known - kModes);
  }
  return mode ? std::optional(arguments) : std::nullopt;
}

std::optional<std::string> certificate_of(std::string_view auth_info) {
  constexpr std::string_view kMethod = "publickey ";
  constexpr std::string_view kSuffix = "-cert-v01@openssh.com";
  if (auth_info.size() > kAuthInfoBytes) return std::nullopt;
  if (auth_info.ends_with('\n')) auth_info.remove_suffix(1);
  if (!auth_info.starts_with(kMethod) || auth_info.find('\n') != auth_info.npos)
    return std::nullopt;
  auth_info.remove_prefix(kMethod.size());
  const size_t space = auth_info.find(' ');
  if (space == auth_info.npos || !auth_info.substr(0, space).ends_with(kSuffix))
    return std::nullopt;
  const std::string_view base64 = auth_info.substr(space + 1);
  if (base64.empty() || base64.size() > kCertificateBytes) return std::nullopt;
  if (base64.find(' ') != base64.npos) return std::nullopt;
  return std::string(base64);
}

std::string first_word(std::string_view ssh_connection) {
  size_t words = ssh_connection.empty() ? 0 : 1;
  for (const char c : ssh_connection) words += c == ' ';
  return std::string(ssh_connection.substr(0, words == 4 ? ssh_connection.find(' ') : 0));
}

}  // namespace jitwg::pam
