#include "pam_jitwg/hostd/stragglers.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "broker/base/number.h"
#include "pam_jitwg/hostd/processes.h"

namespace jitwg::hostd {
namespace {

constexpr int kWalks = 10;

// The kernel lists /proc by rising pid, as it is asked: what is forked during the walk has a higher
// one, as long as pids do not wrap, and is still met by it.
// False: /proc cannot be read, and nobody knows.
template <typename Visit>
bool walk(const std::set<uint32_t>& wanted, Visit visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return false;
  {  // As many as the walk holds at once; what fails below for want of one would look like nobody.
    const Fd one = open_pidfd(::getpid()), two = open_pidfd(::getpid());
    if (!one.valid() || !two.valid()) return false;
  }
  while (const dirent* entry = ::readdir(proc.get())) {
    const auto pid = parse_number<pid_t>(entry->d_name);
    if (!pid || *pid <= 1 || *pid == ::getpid()) continue;
    const uint32_t session = audit_session_of(*pid);
    if (session == kNoAuditSession || !wanted.contains(session)) continue;
    const Fd pidfd = open_pidfd(*pid);
    // Without a pidfd for another reason than that it is gone (no descriptors left), it counts.
    const bool unknown = !pidfd.valid() && errno != ESRCH;
    // Once more: from here on it is this process or nothing. Who has exited waits for its parent.
    if (unknown ||
        (pidfd.valid() && !has_exited(pidfd) && audit_session_of(*pid) == session))
      visit(*pid, session, pidfd);
  }
  return true;
}

}  // namespace

Result<std::map<uint32_t, std::vector<pid_t>>> find_in_audit_sessions(
    const std::set<uint32_t>& wanted) {
  std::map<uint32_t, std::vector<pid_t>> found;
  const auto note = [&](pid_t pid, uint32_t session, const Fd&) { found[session].push_back(pid); };
  if (!wanted.empty() && !walk(wanted, note)) return fail_errno("/proc", errno);
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
