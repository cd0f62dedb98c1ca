// The lists of people that policy takes from files (policy/policy.h), as they are on this host. The signer's own event loop asks
// before it answers, so a changed list counts from the next question on, without SIGHUP.
#pragma once

#include <optional>
#include <string>

#include "policy/policy.h"

namespace jitwg::signer {

// A list that cannot be read, or not be trusted, is an error in what is returned.
SyncedFiles read_lists(const Policy& policy, const std::string& policy_path);

class ListKeeper {
 public:
  explicit ListKeeper(std::string policy_path) : policy_path_(std::move(policy_path)) {}

  // All lists, if a file is not what it was or a list has become stale; a stat(2) for each list otherwise.
  std::optional<SyncedFiles> look(const Policy& policy, WallTime now);
  void forget() { mark_.reset(); }  // another policy: the next look() reads

 private:
  std::string policy_path_;
  std::optional<std::string> mark_;
};

}  // namespace jitwg::signer
