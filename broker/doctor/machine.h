// What every doctor looks at: files and directories, the unit, a socket, the clock. observe_* reads
// the machine, check_* is pure, examine_* is both.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "broker/base/time.h"
#include "broker/doctor/finding.h"

namespace jitwg::doctor {

bool exists(const std::string& path);
// What cannot be read is empty.
std::string read_text(const std::string& path);
std::vector<std::string> names_in(const std::string& folder);

// Whom a program runs as. Where the machine has no such user, whoever asks stands for them.
struct User {
  std::string name;
  uid_t uid = 0;
  bool exists = true;
};
User find_user(const std::string& name);
Finding check_user(const User& user);

// A path as it is, symlinks followed.
struct PathSeen {
  std::string path;
  mode_t mode = 0;  // st_mode: type and permissions
  uid_t uid = 0;
};
Result<PathSeen> observe_path(const std::string& path);
// Every directory above it, / first.
std::vector<Result<PathSeen>> observe_parents(const std::string& path);

// Belongs to `owner`, and has no permission that `most` has not.
Finding check_path(const std::string& what, const Result<PathSeen>& seen, const User& owner,
                   mode_t most);
// Root's, and nobody else's to write: who may write in one can put anything in the path's place.
Finding check_parents(const std::string& what, const std::vector<Result<PathSeen>>& seen);
// Both of the above.
Finding examine_path(const std::string& what, const std::string& path, const User& owner,
                     mode_t most);
// What decides (a configuration, the CA's public key): root's, writable by root alone, also all the
// way there.
Finding examine_trusted(const std::string& what, const std::string& path);

struct Space {
  uint64_t bytes = 0,
           inodes = 0;  // free, for others than root; inodes: some file systems do not count
};
Finding check_space(const std::string& path, const Result<Space>& space);
// state_dir: `owner`'s alone, below root's directories; state_space.
Findings examine_state_dir(const std::string& path, const User& owner);

struct UnitSeen {
  bool systemd = false;  // it runs this machine
  bool active = false, enabled = false;
};
Finding check_unit(const std::string& unit, const UnitSeen& seen);
Finding examine_unit(const std::string& unit);  // "jitwgd": its service, or its socket, enabled

// Does somebody listen at this Unix socket? `type` is SOCK_STREAM or SOCK_SEQPACKET.
Finding examine_socket(const std::string& path, int type, const std::string& unit);

// `whose`: "the broker". Up to limits::kNodeClockSkew off is bearable.
Finding check_clock(WallTime own, WallTime theirs, const std::string& whose);

}  // namespace jitwg::doctor
