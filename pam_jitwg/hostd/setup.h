// `jitwg-hostd setup`: what sshd, PAM, journald and polkit of this host need, put in, looked at, or
// taken out again (jitwg-hostd(8), SETUP). Plan: setup_plan.h; all or nothing: setup_swap.h.
#pragma once

#include <vector>

#include "broker/os/config.h"
#include "pam_jitwg/hostd/setup_plan.h"

namespace jitwg::hostd {

// --dry-run, --apply or --remove, with --json or not.
Result<void> setup_host(const Config& config);

// --apply, for init: what was changed; nothing when all was in place. bad_config: something is not
// installed, sshd refuses its configuration as it is or would be, or a file's layout is not known;
// then nothing was changed.
Result<std::vector<FileChange>> apply_setup(const Config& config);
// The same errors, and nothing changed.
Result<void> check_setup(const Config& config);

// The managed file with these accounts for emergencies; bad_argument: there is no such login.
Result<std::string> new_managed_file(const std::vector<std::string>& rescue);

}  // namespace jitwg::hostd
