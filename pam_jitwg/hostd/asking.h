// Who asks, as the kernel sees it: the process, its parent, the login it belongs to. Nothing here
// is taken from the packet or from the process' environment.
#pragma once

#include <functional>

#include "broker/os/service.h"
#include "pam_jitwg/hostd/cgroup.h"
#include "pam_jitwg/hostd/judge.h"
#include "pam_jitwg/hostd/logins.h"

namespace jitwg::hostd {

struct Asking {
  Process monitor;  // whose login or job this is about: sshd's, sudo's or cron's process
  Asker asker;
  bool monitor_is_sshd = false;  // looked at for principals and open alone
};

// not_live if the asker is gone: what was read may then be another's, who got its pid.
Result<Asking> observe_asking(Phase phase, const Peer& peer, int socket);

// The session that a process belongs to: the leaf it is in, else the login scope, else the audit
// session that is one login's alone.
std::optional<SessionId> session_of(pid_t pid, const Cgroups& cgroups, const Logins& logins);

}  // namespace jitwg::hostd
