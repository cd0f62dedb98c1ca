#include "pam_jitwg/hostd/doctor_rescue.h"

#include <algorithm>

#include "broker/base/number.h"
#include "broker/doctor/text.h"
#include "pam_jitwg/hostd/setup_plan.h"

namespace jitwg::hostd {
namespace {

using namespace doctor;

std::string field(std::string_view line, size_t number) {
  for (; number > 0 && !line.empty(); --number) line.remove_prefix(std::min(line.find(':'), line.size() - 1) + 1);
  return std::string(line.substr(0, line.find(':')));
}

// Is it over by shadow(5)'s days? sshd asks for a new password then, and there is none to be had.
bool has_expired(const std::string& shadow, int64_t today) {
  const auto days = [&](size_t number) { return parse_number<int64_t>(field(shadow, number)); };
  const auto changed = days(2), most = days(4), end = days(7);
  return (end && *end > 0 && *end <= today) || (changed && (*changed == 0 || (most && *changed + *most < today)));
}

}  // namespace

Finding check_rescue_account(const RescueSeen& seen) {
  const std::string keys = std::string(kRescueKeys) + "/" + seen.name, shell = field(seen.passwd, 6);
  const auto value = [&](const std::string& key) {
    const auto it = seen.sshd.find(key);
    return it == seen.sshd.end() ? std::string() : it->second;
  };
  for (const char* method : {"passwordauthentication", "kbdinteractiveauthentication", "hostbasedauthentication", "gssapiauthentication"})
    if (value(method) != "no")
      return problem("rescue", "for " + seen.name + ", " + method + " is \"" + value(method) + "\": it needs no session, so a key is to be its only way in",
                     "jitwg-hostd setup --apply; then systemctl reload ssh");
  const std::string file = value("authorizedkeysfile");
  const bool ours = file == std::string(kRescueKeys) + "/%u", none = file == "none" || file.empty();
  if ((!ours && !none) || value("authorizedkeyscommand") != "none" || (ours && value("trustedusercakeys") != "none"))
    return problem("rescue", seen.name + " comes in by other keys than root's in " + keys,
                   "jitwg-hostd setup --apply; then systemctl reload ssh");
  const auto warn = [&](const std::string& why, const std::string& remedy) {
    return warning("rescue", seen.name + ", for emergencies, would not come in: " + why, remedy);
  };
  if (seen.passwd.empty()) return warn("there is no such account", "useradd -m -s /bin/bash " + seen.name);
  if (shell.ends_with("nologin") || shell.ends_with("false")) return warn("its shell is " + shell, "usermod -s /bin/bash " + seen.name);
  if (has_expired(seen.shadow, seen.today)) return warn("account or password has expired", "chage -d -1 -M -1 -E -1 " + seen.name);
  if (!ours || !seen.jumps) return warn("sshd's or PAM's files do not know it", "jitwg-hostd setup --apply; then systemctl reload ssh");
  const auto lines = lines_of(seen.keys);
  if (std::ranges::none_of(lines, [](const std::string& line) { return words_of(line).size() > 1; }))
    return warn("it has no key", "a public key into " + keys);
  for (const char* list : {"allowusers", "denyusers", "allowgroups", "denygroups"})
    if (const std::string names = value(list); !names.empty() && (list[0] == 'd' || list[5] == 'g' || std::ranges::count(words_of(names), seen.name) == 0))
      return warn("sshd may refuse it by " + std::string(list) + " " + names, "try it: ssh " + seen.name + "@…; or name it in /etc/ssh/sshd_config");
  return ok("rescue", seen.name + " comes in by its key when nothing of jitwg works");
}

}  // namespace jitwg::hostd
