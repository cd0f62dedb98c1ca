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
  const pam::Accounts accounts{rules, std::string(passwd)};
  JITWG_CHECK((pam::Accounts{{}, std::string(passwd)}.is_managed(user)));
  JITWG_CHECK((pam::Accounts{rules, ""}.is_managed(user)));
  // Whoever is managed by name is so by the kernel's word too.
  if (uid && accounts.is_managed(user)) JITWG_CHECK(accounts.is_managed(*uid));
  if (rules) {
    JITWG_CHECK(!rules->uids.empty());
    for (const auto& [first, last] : rules->uids) JITWG_CHECK(first <= last);
    for (const std::string& name : rules->except) JITWG_CHECK(!name.empty() && text.find("except " ) != text.npos && text.find(name) != text.npos);
  }
  if (!accounts.is_managed(user)) {
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
