#include "pam_jitwg/hostd/ending.h"

#include <signal.h>

#include <algorithm>

#include "broker/os/service.h"
#include "pam_jitwg/hostd/judge.h"
#include "pam_jitwg/hostd/terminal.h"

namespace jitwg::hostd {

namespace {
// sshd carries what stands in the terminal to the client, and stops to at SIGTERM.
constexpr std::chrono::milliseconds kNoticeFirst{150};
}  // namespace

std::optional<Seconds> due_warning(WallTime not_after, WallTime last, WallTime now) {
  for (const Seconds before : {Seconds(60), Seconds(300), Seconds(900)}) {
    const WallTime due = not_after - before;
    if (due > last && due <= now && now < not_after) return before;
  }
  return std::nullopt;
}

// pam_systemd runs after us: only the monitor itself can say into which scope it was moved.
void Ending::note_scopes(const SessionId& session) {
  for (Login login : logins_.of(session)) {
    if (!login.scope.empty() || !login.is_open) continue;
    const auto pidfd = open_pidfd(login.monitor);
    if (!pidfd) continue;
    login.scope = cgroups_.scope_of(login.monitor.pid);
    if (has_exited(*pidfd) || login.scope.empty()) continue;
    if (const auto stored = logins_.put(login); !stored)
      log(Level::warning, stored.error().render() + " session=" + session.str());
  }
}

Result<std::vector<pid_t>> Ending::left(const SessionId& session) {
  JITWG_ASSIGN(std::vector<pid_t> pids, cgroups_.processes(session));
  for (const Login& login : logins_.of(session)) {
    if (login.scope.empty()) continue;
    JITWG_ASSIGN(const std::vector<pid_t> more, cgroups_.processes_of_scope(login.scope));
    pids.insert(pids.end(), more.begin(), more.end());
  }
  return pids;
}

Result<void> Ending::kill(const SessionId& session) {
  JITWG_TRY(cgroups_.kill(session));
  for (const Login& login : logins_.of(session)) {
    if (!login.scope.empty()) JITWG_TRY(cgroups_.kill_scope(login.scope));
    // In neither cgroup (somebody moved it away): the monitor itself is still ours to end, and no
    // more than it.
    if (const auto pidfd = open_pidfd(login.monitor)) send_signal(*pidfd, SIGKILL);
  }
  return {};
}

Result<bool> Ending::step(const SessionId& session, CloseReason reason, const std::string& target,
                          BootTime now) {
  note_scopes(session);
  JITWG_ASSIGN(const std::vector<pid_t> before, left(session));
  const auto logins = logins_.of(session);
  const bool monitor_lives = std::any_of(logins.begin(), logins.end(), [](const Login& l) {
    return open_pidfd(l.monitor).has_value();
  });
  if (before.empty() && !monitor_lives) {
    cgroups_.remove(session);
    for (const Login& login : logins) {
      if (login.is_open) on_end_(login);
      JITWG_TRY(logins_.drop({session, login.monitor.pid}));
    }
    states_.erase(session);
    return true;
  }
  const auto [entry, is_first] =
      states_.try_emplace(session, State{reason, target, now, now + grace_});
  State& state = entry->second;
  if (is_first && write_to_terminals(terminals_of(before), ended_text(session, reason, target)) > 0)
    state.term_at = std::min(now + kNoticeFirst, state.kill_at);
  if (now >= state.term_at && !state.asked) {
    state.asked = true;
    for (const Login& login : logins)
      if (const auto pidfd = open_pidfd(login.monitor)) send_signal(*pidfd, SIGTERM);
  }
  // Every time from then on: what was forked between two looks dies with the next one.
  if (now >= state.kill_at) JITWG_TRY(kill(session));
  return false;
}

std::vector<SessionId> Ending::under_way() const {
  std::vector<SessionId> sessions;
  for (const auto& [session, state] : states_) sessions.push_back(session);
  return sessions;
}

Result<bool> Ending::again(const SessionId& session, BootTime now) {
  const auto it = states_.find(session);
  if (it == states_.end()) return true;
  const State state = it->second;
  return step(session, state.reason, state.target, now);
}

}  // namespace jitwg::hostd
