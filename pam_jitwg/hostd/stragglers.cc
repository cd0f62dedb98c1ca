#include "pam_jitwg/hostd/stragglers.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <memory>

#include "broker/base/number.h"
#include "pam_jitwg/hostd/processes.h"

namespace jitwg::hostd {
namespace {

constexpr int kWalks = 10;

// The kernel lists /proc by rising pid, as it is asked: what is forked during the walk has a higher
// one, as long as pids do not wrap, and is still met by it.
template <typename Visit>
void walk(const std::set<uint32_t>& wanted, Visit visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
    const auto pid = parse_number<pid_t>(entry->d_name);
    if (!pid || *pid <= 1 || *pid == ::getpid()) continue;
    const uint32_t session = audit_session_of(*pid);
    if (session == kNoAuditSession || !wanted.contains(session)) continue;
    const Fd pidfd = open_pidfd(*pid);
    // Once more: from here on it is this process or nothing. Who has exited waits for its parent.
    if (pidfd.valid() && !has_exited(pidfd) && audit_session_of(*pid) == session)
      visit(*pid, session, pidfd);
  }
}

}  // namespace

std::map<uint32_t, std::vector<pid_t>> find_in_audit_sessions(const std::set<uint32_t>& wanted) {
  std::map<uint32_t, std::vector<pid_t>> found;
  if (!wanted.empty())
    walk(wanted, [&](pid_t pid, uint32_t session, const Fd&) { found[session].push_back(pid); });
  return found;
}

bool kill_in_audit_sessions(const std::set<uint32_t>& wanted) {
  bool any = false, again = !wanted.empty();
  for (int round = 0; again && round < kWalks; ++round) {
    again = false;
    walk(wanted, [&](pid_t, uint32_t, const Fd& pidfd) { again |= send_signal(pidfd, SIGKILL); });
    any |= again;
  }
  return !any;
}

}  // namespace jitwg::hostd
