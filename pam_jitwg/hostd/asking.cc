#include "pam_jitwg/hostd/asking.h"

#include <unistd.h>

namespace jitwg::hostd {

Result<Asking> observe_asking(Phase phase, const Peer& peer, int socket) {
  const Fd pidfd = peer_pidfd(socket);
  JITWG_ASSIGN(const ProcessStat stat, observe_process(peer.pid));
  Asking asking;
  asking.monitor = stat.process;
  asking.asker.is_root = peer.uid == 0;
  if (phase == Phase::principals)
    if (const auto parent = observe_process(stat.parent)) asking.monitor = parent->process;
  if (phase == Phase::principals || phase == Phase::open)
    asking.monitor_is_sshd = is_root_sshd(asking.monitor.pid);
  asking.asker.parent_is_monitor = asking.monitor != stat.process && asking.monitor_is_sshd;
  static const auto self = observe_process(::getpid());
  asking.asker.is_older = self && asking.monitor.start < self->process.start;
  if (phase == Phase::sudo)
    asking.asker.loginuid = pam::read_loginuid("/proc/" + std::to_string(peer.pid) + "/loginuid");
  if (pidfd.valid() && has_exited(pidfd)) return fail(Code::not_live, "the asking process is gone");
  return asking;
}

std::optional<SessionId> session_of(pid_t pid, const Cgroups& cgroups, const Logins& logins) {
  if (const auto session = cgroups.session_of(pid)) return session;
  const std::string scope = cgroups.scope_of(pid);
  for (const auto& [key, login] : logins.all()) {
    if (scope.empty()) break;
    // pam_systemd moved the monitor after it asked us: the record may not know yet.
    const bool same = login.scope.empty() && login.is_open
                          ? cgroups.scope_of(login.monitor) == scope
                          : login.scope == scope;
    if (same) return key.first;
  }
  const Login* login = logins.find_by_audit_session(audit_session_of(pid));
  return login == nullptr ? std::nullopt : std::optional(login->session);
}

}  // namespace jitwg::hostd
