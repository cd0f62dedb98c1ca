// What `init` makes on a host: directories, keys and files, each with its owner and mode. A step makes what is missing
// and leaves alone what is there, so a second run changes nothing and one that was cut off is continued. Nothing is
// ever overwritten. A file appears whole, with its owner and mode, or not at all: full and read-only disks leave no
// half.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg::setup {

struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};
// Of a user of this system. bad_config: there is none; the hint makes it.
Result<Owner> owner_of(const std::string& user);

// Only root may make files of others: not_permitted, with the command to type. From here on the umask is 022, so that
// the caller's does not keep jitwg's users out of a directory.
Result<void> need_root(const std::string& command);

// Held while files in `directory` are made or edited, so that two commands never meet; wrong_state when one is at it.
Result<Fd> lock_files_of(const std::string& directory);

// Puts `bytes` in place of the file at `path`, which keeps its owner and mode: whole, or not at all. Follows symlinks.
Result<void> replace_file(const std::string& path, const std::string& bytes);

class HostFiles {
 public:
  struct Step {
    std::string path;
    bool made;  // false: it was there
  };

  // An existing one gets this owner and mode.
  Result<void> directory(const std::string& path, Owner owner, mode_t mode);
  // An existing file is left as it is, whatever it holds.
  Result<void> file(const std::string& path, const std::string& bytes, Owner owner = {}, mode_t mode = 0644);
  // Mode 0600. The content of the file that is there, otherwise of a new one with what `make` gives.
  // unsafe_file: the one there is not `owner`'s alone, so it may be known to others, or another program's.
  Result<std::string> secret(const std::string& path, Owner owner,
                             const std::function<Result<std::string>()>& make);

  // What was done by other means, for the list.
  void record(Step step) { steps_.push_back(std::move(step)); }
  const std::vector<Step>& steps() const { return steps_; }

 private:
  std::vector<Step> steps_;
};

}  // namespace jitwg::setup
