// `selftest.ok` in the runtime directory: these chains did what they must on this kernel, since it booted. The daemon
// serves on nothing else.
#pragma once

#include <string>

#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg::gateway {

// Makes the directory, if there is none.
Result<void> store_proof(const std::string& runtime_dir, const std::string& ruleset, WallTime now);
Result<void> remove_proof(const std::string& runtime_dir);  // none is fine
// When it was made. not_confirmed: there is none, or it is of another boot, of other chains, or somebody else than root
// and this process' user could have written it.
Result<WallTime> check_proof(const std::string& runtime_dir, const std::string& ruleset);

}  // namespace jitwg::gateway
