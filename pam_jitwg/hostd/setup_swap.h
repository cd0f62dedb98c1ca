// Changes several files together: all of them, or none.
//
// The new ones are written beside the old (".jitwg-new") with their owner, mode and extended
// attributes, and only when every one is on the disk do they get their names; the old ones stay
// reachable (".jitwg-old") until `accept` says yes. A crash in between leaves each file whole, old or
// new. Symlinks are followed: the file they name changes.
#pragma once

#include <functional>
#include <vector>

#include "pam_jitwg/hostd/setup_plan.h"

namespace jitwg::hostd {

// wrong_state: a file is not what `before` says any more. io: full, read-only, …. Or what `accept`
// said. After any error everything is as before; otherwise the message names what could not be put
// back.
Result<void> swap_files(const std::vector<FileChange>& changes, const std::function<Result<void>()>& accept);

// What an interrupted one left beside these paths.
void sweep_asides(const std::vector<std::string>& paths);

// None: there is no such file. unsafe_file: no regular one; too_large; io.
Result<std::optional<std::string>> read_seen(const std::string& path);

}  // namespace jitwg::hostd
