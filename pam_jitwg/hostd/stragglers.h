// Processes by their audit session, wherever they are: what left its login's cgroups, which only
// root can make it do. Children have their parent's; whoever may write loginuids (CAP_AUDIT_CONTROL)
// can leave an audit session too, and has then to be in the cgroup to be found.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "broker/base/error.h"

namespace jitwg::hostd {

// One walk through /proc. kNoAuditSession is never looked for. An error when /proc cannot be read or
// descriptors have run out: then nobody knows, and nobody may say that none is left.
Result<std::map<uint32_t, std::vector<pid_t>>> find_in_audit_sessions(
    const std::set<uint32_t>& wanted);
// SIGKILL to each, walk after walk until one finds none or it has been tried enough: what forks
// faster than a walk may be left, and is found by the next call. False: some were found.
bool kill_in_audit_sessions(const std::set<uint32_t>& wanted);

}  // namespace jitwg::hostd
