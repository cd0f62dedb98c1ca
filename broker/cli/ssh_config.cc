#include "broker/cli/ssh_config.h"

#include <algorithm>
#include <set>

#include "broker/cli/text.h"

namespace jitwg::cli {
namespace {

std::string alias(const GrantJumpHost& jump) { return "jitwg-" + jump.name; }

// Paths stand in double quotes, with % doubled: IdentityFile and friends expand tokens.
Result<std::string> quoted(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return fail(Code::bad_value, "the path " + path + " cannot be written into ssh_config",
                  "use a home directory without quotes and control characters");
    text += c == '%' ? "%%" : std::string(1, c);
  }
  return '"' + text + '"';
}

// The jump host's first address that the tunnel has an inner address for.
struct Way {
  const GrantJumpHost* jump;
  IpAddress to, from;
};
std::optional<Way> way_in(const Grant& grant) {
  if (!grant.login) return std::nullopt;
  for (const GrantJumpHost& jump : grant.jump_hosts)
    for (const IpAddress& to : jump.addresses)
      for (const Prefix& from : grant.address)
        if (from.address.family == to.family) return Way{&jump, to, from.address};
  return std::nullopt;
}

}  // namespace

std::string render_known_hosts(const Grant& grant) {
  std::string text;
  for (const GrantJumpHost& jump : grant.jump_hosts)
    for (const std::string& key : jump.host_keys) text += alias(jump) + " " + key + "\n";
  return text;
}

Result<std::string> render_ssh_config(std::vector<SshSession> sessions) {
  std::sort(sessions.begin(), sessions.end(), [](const SshSession& a, const SshSession& b) {
    return std::tie(b.grant.not_before, b.grant.session) <
           std::tie(a.grant.not_before, a.grant.session);
  });
  std::string text =
      "# Written by jitwg from the live sessions' grants; changes are lost.\n"
      "# ~/.ssh/config takes it in with:  Include ~/.config/jitwg/ssh_config\n";
  std::set<std::string> targets;
  for (const SshSession& session : sessions) {
    const Grant& grant = session.grant;
    const auto way = way_in(grant);
    if (!way) continue;
    std::string hosts = "jitwg-" + grant.session.short_form();
    if (targets.insert(grant.target).second) hosts = "jitwg-" + grant.target + " " + hosts;
    JITWG_ASSIGN(const std::string key, quoted(session.directory + "/id"));
    JITWG_ASSIGN(const std::string certificate, quoted(session.directory + "/id-cert.pub"));
    JITWG_ASSIGN(const std::string known_hosts, quoted(session.directory + "/known_hosts"));
    // All that could vouch for another host key is set, so that what stands behind our Include cannot
    // (ssh before 8.5 has no KnownHostsCommand).
    // A tunnel that was cut says nothing: ssh finds out by its own questions, within 20 seconds.
    // Multiplexing is off: a master's socket is named by host and user, which two sessions share,
    // and a login through another session's connection would count as that session's.
    text += fill(
        "\n# {}: {} until {}\n"
        "Host {}\n"
        "  HostName {}\n"
        "  User {}\n"
        "  Port 22\n"
        "  BindAddress {}\n"
        "  IdentityFile {}\n"
        "  CertificateFile {}\n"
        "  IdentitiesOnly yes\n"
        "  IdentityAgent none\n"
        "  PreferredAuthentications publickey\n"
        "  HostKeyAlias {}\n"
        "  HostKeyAlgorithms ssh-ed25519\n"
        "  UserKnownHostsFile {}\n"
        "  GlobalKnownHostsFile /dev/null\n"
        "  IgnoreUnknown KnownHostsCommand\n"
        "  KnownHostsCommand none\n"
        "  VerifyHostKeyDNS no\n"
        "  NoHostAuthenticationForLocalhost no\n"
        "  StrictHostKeyChecking yes\n"
        "  UpdateHostKeys no\n"
        "  CanonicalizeHostname no\n"
        "  ProxyCommand none\n"
        "  ControlMaster no\n"
        "  ControlPath none\n"
        "  ConnectTimeout 15\n"
        "  ServerAliveInterval 5\n"
        "  ServerAliveCountMax 3\n",
        {grant.session.str(), grant.target, render_time(grant.not_after), hosts, way->to.str(),
         *grant.login, way->from.str(), key, certificate, alias(*way->jump), known_hosts});
  }
  return text;
}

}  // namespace jitwg::cli
