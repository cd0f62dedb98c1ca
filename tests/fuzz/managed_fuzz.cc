// /etc/jitwg/managed and passwd(5), from one input with a NUL between them. Read here a second time, plainly: whoever comes
// out as unmanaged must be so by both.
#include "pam_jitwg/managed.h"

#include <algorithm>
#include <sstream>

#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {
namespace {

// The uid of `user` by the first line that is theirs, as getpwnam(3) would find it.
std::optional<unsigned long> plain_uid(const std::string& passwd, const std::string& user) {
  std::istringstream text(passwd);
  for (std::string line; std::getline(text, line);) {
    std::istringstream fields(line);
    std::string name, password, uid;
    std::getline(fields, name, ':'), std::getline(fields, password, ':'), std::getline(fields, uid, ':');
    if (name != user) continue;
    if (uid.empty() || uid.find_first_not_of("0123456789") != uid.npos) return std::nullopt;
    uid.erase(0, std::min(uid.find_first_not_of('0'), uid.size() - 1));
    if (uid.size() > 10) return std::nullopt;
    return std::stoul(uid);
  }
  return std::nullopt;
}

}  // namespace

bool try_input(std::string_view input) {
  const size_t cut = input.find('\0');
  const std::string_view text = input.substr(0, cut), passwd = cut == input.npos ? "" : input.substr(cut + 1);
  const auto rules = pam::parse_managed(text);
  const std::string user(passwd.substr(0, passwd.find_first_of(":\n")));
  const auto uid = pam::find_uid(passwd, user);
  JITWG_CHECK(pam::is_managed({}, uid, user) && pam::is_managed(rules, {}, user));
  if (rules) {
    JITWG_CHECK(!rules->uids.empty());
    for (const auto& [first, last] : rules->uids) JITWG_CHECK(first <= last);
    for (const std::string& name : rules->except) JITWG_CHECK(!name.empty() && text.find("except " ) != text.npos && text.find(name) != text.npos);
  }
  if (!pam::is_managed(rules, uid, user)) {
    const auto plain = plain_uid(std::string(passwd), user);
    JITWG_CHECK(plain && *plain == *uid);
    bool in_range = false, excepted = false;
    for (const auto& [first, last] : rules->uids) in_range |= *plain >= first && *plain <= last;
    for (const std::string& name : rules->except) excepted |= name == user;
    JITWG_CHECK(excepted || !in_range);
  }
  return rules.has_value();
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
