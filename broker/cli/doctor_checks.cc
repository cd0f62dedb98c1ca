#include "broker/cli/doctor_checks.h"

#include <algorithm>

#include "broker/doctor/text.h"

namespace jitwg::cli {

using namespace doctor;

Finding check_ssh_include(std::string_view text, const std::string& ours, const std::string& home) {
  const std::string short_form =
      ours.starts_with(home + "/") ? "~" + ours.substr(home.size()) : ours;
  for (std::string line : lines_of(text)) {
    std::ranges::replace(line, '=', ' ');
    const auto words = words_of(line);
    const std::string keyword = words.empty() ? "" : lower(words[0]);
    if (keyword == "host" || keyword == "match") break;
    for (const std::string& path : words)
      if (keyword == "include" && (path == ours || path == short_form))
        return ok("ssh_config", "~/.ssh/config includes " + short_form);
  }
  return warning("ssh_config", "plain ssh does not know the sessions; jitwg ssh does",
                 "~/.ssh/config, first line: Include " + short_form);
}

Finding check_sudo(const Ran& ran, const std::string& user) {
  const auto says = [&](const char* words) { return ran.output.find(words) != std::string::npos; };
  const std::string remedy =
      "/etc/sudoers.d/jitwg: " + user + " ALL=(root) NOPASSWD: /usr/bin/wg-quick";
  if (ran.code == 0) return ok("sudo", "wg-quick runs as root without a password");
  if (says("password is required"))
    return warning("sudo", "sudo will ask for your password when a tunnel goes up or down", remedy);
  return problem("sudo", "you may not run wg-quick through sudo: no tunnel comes up", remedy);
}

Finding check_wireguard(const WireguardSeen& seen) {
  if (!seen.wg_quick)
    return problem("wireguard", "there is no wg-quick", "apt install wireguard-tools");
  if (!seen.kernel && !seen.userspace)
    return problem("wireguard", "neither this kernel nor a program here carries WireGuard",
                   "apt install wireguard-go");
  return ok("wireguard", seen.kernel ? "the kernel carries it" : "wireguard-go carries it");
}

}  // namespace jitwg::cli
