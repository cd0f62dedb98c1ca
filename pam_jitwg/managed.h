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
bool is_managed(const std::optional<ManagedRules>& rules, const std::optional<uid_t>& uid,
                std::string_view user);

struct ManagedFiles {
  std::string managed;
  std::string passwd;
  uid_t owner = 0;  // the only uid whose file is believed
};
// Reads both files and decides. `why`, if given, says so when a file does not count.
bool is_managed(const ManagedFiles& files, std::string_view user, std::string* why = nullptr);

}  // namespace jitwg::pam
