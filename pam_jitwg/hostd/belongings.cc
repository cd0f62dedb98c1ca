#include "pam_jitwg/hostd/belongings.h"

#include <signal.h>

#include <algorithm>
#include <map>
#include <set>

#include "pam_jitwg/hostd/stragglers.h"

namespace jitwg::hostd {
namespace {

void append(std::vector<pid_t>& pids, const std::vector<pid_t>& more) {
  pids.insert(pids.end(), more.begin(), more.end());
}

// One login for each unix user: their manager is looked at once.
std::vector<Login> one_per_user(const std::vector<Login>& logins) {
  std::map<uid_t, Login> users;
  for (const Login& login : logins)
    if (login.uid != kNoUid) users.emplace(login.uid, login);
  std::vector<Login> found;
  for (const auto& [uid, login] : users) found.push_back(login);
  return found;
}

std::set<uint32_t> audit_sessions(const std::vector<Login>& logins) {
  std::set<uint32_t> found;
  for (const Login& login : logins) found.insert(login.audit_session);
  found.erase(kNoAuditSession);
  return found;
}

}  // namespace

std::optional<uint64_t> Belongings::first_of_others(const Login& login) const {
  std::optional<uint64_t> first;
  for (const auto& [key, other] : logins_.all())
    if (other.uid == login.uid && other.session != login.session && !is_ending_(other.session))
      first = std::min(first.value_or(UINT64_MAX), other.first_start);
  return first;
}

Result<std::vector<pid_t>> Belongings::manager_part(const Login& login) const {
  JITWG_ASSIGN(const std::vector<pid_t> pids, cgroups_.processes_of(manager_path(login.uid)));
  const auto others = first_of_others(login);
  if (!others || pids.empty()) return pids;
  JITWG_ASSIGN(const std::vector<pid_t> itself, cgroups_.managers_own(login.uid));
  std::vector<pid_t> part;
  for (const pid_t pid : pids) {
    const auto stat = observe_process(pid);
    if (!stat && stat.error().code != Code::not_live) return tl::unexpected<Error>(stat.error());
    if (stat && stat->process.start >= login.first_start && stat->process.start < *others &&
        std::find(itself.begin(), itself.end(), pid) == itself.end())
      part.push_back(pid);
  }
  return part;
}

Result<std::vector<pid_t>> Belongings::processes(const Login& login) const {
  JITWG_ASSIGN(std::vector<pid_t> pids, cgroups_.processes(login.session, login.monitor.pid));
  if (login.scope.empty()) return pids;
  JITWG_ASSIGN(const std::vector<pid_t> more, cgroups_.processes_of(login.scope));
  append(pids, more);
  return pids;
}

Result<std::vector<pid_t>> Belongings::processes(const SessionId& session) const {
  JITWG_ASSIGN(std::vector<pid_t> pids, cgroups_.processes(session));
  const std::vector<Login> logins = logins_.of(session);
  for (const Login& login : logins) {
    if (login.scope.empty()) continue;
    JITWG_ASSIGN(const std::vector<pid_t> more, cgroups_.processes_of(login.scope));
    append(pids, more);
  }
  for (const Login& login : one_per_user(logins)) {
    JITWG_ASSIGN(const std::vector<pid_t> more, manager_part(login));
    append(pids, more);
  }
  return pids;
}

Result<std::vector<pid_t>> Belongings::all_processes(const SessionId& session) const {
  JITWG_ASSIGN(std::vector<pid_t> pids, processes(session));
  JITWG_ASSIGN(const auto elsewhere, find_in_audit_sessions(audit_sessions(logins_.of(session))));
  for (const auto& [audit, more] : elsewhere) append(pids, more);
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

void Belongings::ask_managers(const SessionId& session) const {
  for (const Login& login : one_per_user(logins_.of(session))) {
    if (first_of_others(login)) continue;
    const auto itself = cgroups_.managers_own(login.uid);
    if (!itself) continue;
    for (const pid_t pid : *itself) {
      const auto stat = observe_process(pid);
      if (!stat || stat->parent != 1) continue;  // what holds its PAM session ends with it
      if (const auto pidfd = open_pidfd(stat->process)) send_signal(*pidfd, SIGTERM);
    }
  }
}

Result<void> Belongings::kill(const SessionId& session) const {
  const std::vector<Login> logins = logins_.of(session);
  JITWG_TRY(cgroups_.kill(session));
  for (const Login& login : logins) {
    if (!login.scope.empty()) JITWG_TRY(cgroups_.kill_theirs(login.scope));
    // In neither cgroup (somebody moved it away): the monitor itself is still ours to end, and no
    // more than it.
    if (const auto pidfd = open_pidfd(login.monitor)) send_signal(*pidfd, SIGKILL);
  }
  for (const Login& login : one_per_user(logins)) {
    if (!first_of_others(login)) {
      JITWG_TRY(cgroups_.kill_theirs(manager_path(login.uid)));
      continue;
    }
    JITWG_ASSIGN(const std::vector<pid_t> pids, manager_part(login));
    for (const pid_t pid : pids)
      if (const auto stat = observe_process(pid))
        if (const auto pidfd = open_pidfd(stat->process)) send_signal(*pidfd, SIGKILL);
  }
  kill_in_audit_sessions(audit_sessions(logins));
  return {};
}

Result<size_t> Belongings::unattributed(const Login& login) const {
  if (login.uid == kNoUid || !first_of_others(login)) return size_t{0};
  JITWG_ASSIGN(const std::vector<pid_t> pids, cgroups_.processes_of(manager_path(login.uid)));
  JITWG_ASSIGN(const std::vector<pid_t> itself, cgroups_.managers_own(login.uid));
  return static_cast<size_t>(std::count_if(pids.begin(), pids.end(), [&](pid_t pid) {
    const auto stat = observe_process(pid);
    return stat && stat->process.start >= login.first_start &&
           std::find(itself.begin(), itself.end(), pid) == itself.end();
  }));
}

bool Belongings::has_sibling(const Login& login) const {
  const std::vector<Login> logins = logins_.of(login.session);
  return std::any_of(logins.begin(), logins.end(), [&](const Login& other) {
    return other.uid == login.uid && other.monitor != login.monitor;
  });
}

Result<bool> Belongings::may_go(const Login& login) const {
  JITWG_ASSIGN(const std::vector<pid_t> held, processes(login));
  if (!held.empty()) return false;
  if (login.uid != kNoUid && !has_sibling(login)) {
    JITWG_ASSIGN(const std::vector<pid_t> pids, cgroups_.processes_of(manager_path(login.uid)));
    if (!pids.empty()) return false;
  }
  JITWG_ASSIGN(const auto elsewhere, find_in_audit_sessions(audit_sessions({login})));
  return elsewhere.empty();
}

}  // namespace jitwg::hostd
