#include "pam_jitwg/hostd/doctor_checks.h"

#include <algorithm>
#include <optional>

#include "broker/base/number.h"
#include "broker/doctor/text.h"

namespace jitwg::hostd {
namespace {

using namespace doctor;

constexpr const char* kSshdFile = "/etc/ssh/sshd_config.d/00-jitwg.conf";

// " (now set by FILE:LINE)" of the first line that gives this value; "" when it is a default.
std::string set_by(const std::string& keyword, const std::string& value,
                   const std::vector<ConfigFile>& files) {
  for (const ConfigFile& file : files) {
    size_t number = 0;
    for (const std::string& line : lines_of(file.text)) {
      ++number;
      const auto words = words_of(line);
      if (words.size() > 1 && lower(words[0]) == lower(keyword) && value.starts_with(words[1]))
        return " (now set by " + file.path + ":" + std::to_string(number) + ")";
    }
  }
  return "";
}

int number_of(const std::string& text) {
  return parse_number<int>(text.substr(0, text.find(':'))).value_or(0);
}

struct Wanted {
  const char* line;  // as in sshd_config
  const char* why;
};

// All but those below that are judged by a range.
constexpr Wanted kExactly[] = {
    {"AuthorizedPrincipalsCommand /usr/local/lib/jitwg/jitwg-principals %u %k",
     "nobody is asked whether the session is live"},
    {"AuthorizedPrincipalsCommandUser jitwg", "the principals command runs as somebody else"},
    {"AuthorizedPrincipalsFile none", "a file can name other principals than the live session's"},
    {"AuthorizedKeysFile none", "a key planted in a home opens the door without a session"},
    {"AuthorizedKeysCommand none", "a program hands out keys beside the certificates"},
    {"AuthenticationMethods publickey", "what comes after the certificate is not tried, or another way is"},
    {"PermitUserEnvironment no", "a home says what is in the login's environment"},
    {"PubkeyAuthentication yes", "certificates are not taken"},
    {"PasswordAuthentication no", "a password opens the door"},
    {"KbdInteractiveAuthentication no", "a password opens the door"},
    {"HostbasedAuthentication no", "another host can vouch for its users"},
    {"GSSAPIAuthentication no", "a Kerberos ticket opens the door"},
    {"UsePAM yes", "pam_jitwg is never asked"},
    {"UseDNS no", "the client's address is a name that its DNS chooses"},
};

}  // namespace

SshdSettings parse_sshd_settings(std::string_view text) {
  SshdSettings settings;
  for (const std::string& line : lines_of(text))
    if (const size_t blank = line.find(' '); blank != line.npos) {
      const auto [it, is_new] = settings.emplace(lower(line.substr(0, blank)), line.substr(blank + 1));
      if (!is_new) it->second += " " + line.substr(blank + 1);
    }
  return settings;
}

Findings check_sshd(const std::string& user, const SshdSettings& settings,
                    const std::string& ca_file, const std::vector<ConfigFile>& files) {
  Findings found;
  const auto value = [&](const std::string& keyword) {
    const auto it = settings.find(lower(keyword));
    return it == settings.end() ? std::string() : it->second;
  };
  const auto expect = [&](bool good, const std::string& line, const std::string& why) {
    const std::string keyword = line.substr(0, line.find(' '));
    if (good) return;
    found.push_back(
        problem("sshd", "for " + user + ", " + keyword + " is \"" + value(keyword) + "\": " + why,
                std::string(kSshdFile) + ": " + line + set_by(keyword, value(keyword), files) +
                    "; jitwg-hostd setup --apply sees to it; then systemctl reload ssh"));
  };
  for (const auto& [line, why] : kExactly) {
    const std::string text = line;
    const size_t blank = text.find(' ');
    expect(value(text.substr(0, blank)) == text.substr(blank + 1), line, why);
  }
  expect(value("TrustedUserCAKeys") == ca_file, "TrustedUserCAKeys " + ca_file,
         "certificates of our CA do not count, or others do");
  const int unused = number_of(value("UnusedConnectionTimeout"));
  expect(unused > 0 && unused <= 60, "UnusedConnectionTimeout 15",
         "a login that was refused stays connected");
  const int alive =
      number_of(value("ClientAliveInterval")) * number_of(value("ClientAliveCountMax"));
  expect(alive > 0 && alive <= 120, "ClientAliveInterval 15",
         "with ClientAliveCountMax 3 a cut tunnel's connection ends in 45 s");
  expect(number_of(value("MaxStartups")) >= 50, "MaxStartups 100:30:200",
         "ansible's many connections at once are dropped at random");
  if (found.empty())
    found.push_back(ok("sshd", "takes " + user + " by a live session's certificate alone"));
  return found;
}

std::vector<std::string> connections(const std::vector<ConfigFile>& files) {
  using Criteria = std::map<std::string, std::string>;  // the key of -C to its value
  const std::map<std::string, std::string> keys = {{"address", "addr"}, {"host", "host"}, {"localaddress", "laddr"}, {"localport", "lport"}};
  std::vector<Criteria> all = {{{"addr", "127.0.0.1"}, {"host", "localhost"}, {"laddr", "127.0.0.1"}, {"lport", "22"}, {"rdomain", ""}}};
  for (const ConfigFile& file : files)
    for (const std::string& line : lines_of(file.text)) {
      const auto words = words_of(line);
      if (words.empty() || lower(words[0]) != "match") continue;
      // The first, second, … name of every list together.
      for (size_t n = 0, more = 1; n < more; ++n) {
        Criteria one = all.front();
        for (size_t i = 1; i + 1 < words.size(); i += 2) {
          const auto key = keys.find(lower(words[i]));
          if (key == keys.end()) continue;
          std::string names = words[i + 1];
          std::ranges::replace(names, ',', ' ');
          std::ranges::replace(names, '*', '1');
          std::ranges::replace(names, '?', '1');
          const auto list = words_of(names);
          if (list.empty()) continue;
          const std::string name = list[std::min(n, list.size() - 1)];
          const std::string value = name.substr(0, name.find('/'));  // a network is its first address
          if (!value.empty() && value[0] != '!') one[key->second] = value;
          more = std::max(more, list.size());
        }
        if (std::ranges::find(all, one) == all.end()) all.push_back(one);
      }
    }
  std::vector<std::string> texts;
  for (const Criteria& one : all) {
    std::string text;
    for (const auto& [key, value] : one) text += (text.empty() ? "" : ",") + key + "=" + value;
    texts.push_back(std::move(text));
  }
  return texts;
}

Findings check_sshd_login(const std::string& user, const SshdSettings& settings) {
  Findings found;
  const auto value = [&](const std::string& keyword) {
    const auto it = settings.find(keyword);
    return it == settings.end() ? std::string() : it->second;
  };
  for (const std::string& pattern : words_of(value("acceptenv")))
    for (const std::string name : {"LD_PRELOAD", "BASH_ENV", "JITWG_SESSION_ID", "PATH"})
      // As far as one '*' at the end goes, which is how they are written.
      if (found.empty() && (pattern == name || (pattern.ends_with('*') && name.starts_with(pattern.substr(0, pattern.size() - 1)))))
        found.push_back(warning("sshd_environment", "for " + user + ", AcceptEnv " + pattern + " takes " + name + " from the client",
                                "sshd_config: no AcceptEnv " + pattern + "; then systemctl reload ssh"));
  if (const std::string command = value("forcecommand"); !command.empty() && command != "none")
    found.push_back(warning("sshd_command", "every login of " + user + " runs " + command + " instead of what was asked for",
                            "sshd_config: no ForceCommand " + command + " for managed people; then systemctl reload ssh"));
  return found;
}

Findings check_pam(const PamFile& file, std::string_view text, const PamSetup& setup) {
  Findings found;
  const std::string name = file.name;
  for (const PamLine& line : file.lines) {
    const std::string type = line.type;
    const bool behind = line.place == PamPlace::behind_loginuid;
    found.push_back(check(is_in_place(file, line, text, setup) || is_in_place(file, line, text, {setup.module, {}}), "pam_" + (name == "sshd" ? type : name),
                          name + "'s " + type + (behind ? " has pam_loginuid, then pam_jitwg, then the rest" : " asks pam_jitwg first"),
                          "/etc/pam.d/" + name + ": its " + type + " lines " +
                              (behind ? "are not pam_loginuid, pam_jitwg (requisite), pam_systemd: what it starts is not bound to a session"
                                      : "may let in before pam_jitwg (requisite, mode=" + std::string(line.mode) + ") is asked"),
                          "jitwg-hostd setup --apply"));
  }
  return found;
}

std::string module_path(std::string_view text) {
  for (const std::string& line : lines_of(text))
    for (const std::string& word : words_of(line))
      if (word.ends_with("pam_jitwg.so")) return word;
  return "";
}

Finding check_journald(const std::vector<ConfigFile>& files) {
  std::optional<std::string> audit;
  for (const ConfigFile& file : files)
    for (const std::string& line : lines_of(file.text))
      if (line.starts_with("Audit=")) audit = line.substr(6);
  return check(audit && (audit->empty() || *audit == "yes"), "journald_audit",
               "journald leaves the kernel's auditing on",
               "journald turns the kernel's auditing off: commands would not be recorded",
               "/etc/systemd/journald.conf.d/jitwg.conf: [Journal], and below it Audit= with "
               "nothing behind; then systemctl restart systemd-journald",
               Finding::Level::warning);
}

}  // namespace jitwg::hostd
