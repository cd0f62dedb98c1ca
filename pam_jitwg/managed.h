// Who needs a live session to log in here (DESIGN §8): /etc/jitwg/managed.
//
//   uids 0,1000-59999     # once at most; this is also the default
//   except rescue         # a name in /etc/passwd
//
// A missing file means the default. A file that cannot be read, may be written by others than root,
// or holds a line that is none of these, manages everybody. So does a user whom /etc/passwd does
// not name. NSS is never asked: a directory server that is down or owned must not decide who is let
// in unasked.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace jitwg::pam {

struct ManagedRules {
  std::vector<std::pair<uid_t, uid_t>> uids;  // first, last
  std::vector<std::string> except;
};

std::optional<ManagedRules> parse_managed(std::string_view text);
// The uid of `user` in the text of a passwd(5) file: its first line counts, as for getpwnam(3).
std::optional<uid_t> find_uid(std::string_view passwd, std::string_view user);
// The first name of `uid`; "uid 2001" if there is none.
std::string find_name(std::string_view passwd, uid_t uid);

struct ManagedFiles {
  std::string managed;
  std::string passwd;
  uid_t owner = 0;  // the only uid whose file is believed
};
// What both files say. A file that does not count is no value, and is why everybody is managed.
struct Accounts {
  std::optional<ManagedRules> rules;
  std::string passwd;  // empty too if it does not count: then it names nobody
  bool is_managed(std::string_view user) const;
  bool is_managed(uid_t uid) const;  // excepted only with all its names
};
// `why`, if given, says so when a file does not count.
Accounts load_accounts(const ManagedFiles& files, std::string* why = nullptr);
inline bool is_managed(const ManagedFiles& files, std::string_view user,
                       std::string* why = nullptr) {
  return load_accounts(files, why).is_managed(user);
}

// Who acts, by the kernel's word: the uid, and the loginuid that pam_loginuid(8) gave the login it
// comes from and that children keep through sudo and su. kNoLogin: no login's; no value: it could
// not be read.
inline constexpr uid_t kNoLogin = static_cast<uid_t>(-1);
std::optional<uid_t> read_loginuid(const std::string& path);
// Root whom no person's login made: units and their scripts, and cron's own jobs, whose loginuid
// Debian's stack sets to 0. It needs no session: there is nothing that root could not do without
// asking.
bool is_system(std::optional<uid_t> uid, std::optional<uid_t> loginuid);
// Does who runs sudo or su need a session: uid or loginuid managed? Root is nobody: whose login it
// was counts.
bool needs_session(const Accounts& accounts, uid_t uid, std::optional<uid_t> loginuid);

}  // namespace jitwg::pam
