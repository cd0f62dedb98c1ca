#include "pam_jitwg/hostd/ending.h"

#include <signal.h>

#include <algorithm>

#include "broker/os/service.h"
#include "pam_jitwg/hostd/judge.h"
#include "pam_jitwg/hostd/leftovers.h"
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
    login.scope = cgroups_.scope_of(login.monitor);
    if (login.scope.empty()) continue;
    if (const auto stored = logins_.update(login); !stored)
      log(Level::warning, stored.error().render() + " session=" + session.str());
  }
}

// Whoever sits there may have typed into the one that ends, too.
void Ending::tell_others(const SessionId& session, CloseReason reason) {
  const std::vector<Login> ended = logins_.of(session);
  for (const auto& [key, other] : logins_.all()) {
    const bool same_user = std::any_of(ended.begin(), ended.end(), [&other = other](const Login& l) {
      return l.uid == other.uid && l.login == other.login;
    });
    if (!same_user || !other.is_open || states_.contains(other.session)) continue;
    const auto processes = belongings_.processes(other);
    if (!processes) continue;
    write_to_terminals(terminals_of(*processes),
                       "jitwg: session " + session.str() + " ended (" + std::string(name(reason)) +
                           "). This login's session " + other.session.str() + " goes on");
  }
}

Result<bool> Ending::finish(const SessionId& session) {
  for (const Login& login : logins_.of(session)) {
    if (login.is_open) tell_.closed(login);
    leave(login);
    JITWG_TRY(logins_.drop({session, login.monitor.pid}));
  }
  cgroups_.remove(session);
  states_.erase(session);
  return true;
}

void Ending::leave(const Login& login) {
  if (login.uid == kNoUid || belongings_.has_sibling(login)) return;
  std::vector<std::string> found = end_leftovers({}, login.login, login.uid, login.first_since);
  const auto unattributed = belongings_.unattributed(login);
  if (!unattributed)
    found.push_back(unattributed.error().message);
  else if (*unattributed > 0)
    found.push_back(std::to_string(*unattributed) + " of the processes of user@" +
                    std::to_string(login.uid) +
                    ".service, which may be another session's and end with it");
  if (found.empty()) return;
  std::string text = login.login + " left behind: ";
  for (const std::string& each : found) text += (&each == &found[0] ? "" : "; ") + each;
  tell_.left_behind(login, text);
}

Result<bool> Ending::forget(const LoginKey& key) {
  const Login* login = logins_.find(key);
  if (login == nullptr || login->is_open) return false;
  JITWG_ASSIGN(const bool may_go, belongings_.may_go(*login));
  if (!may_go) return false;
  leave(*login);
  cgroups_.remove(key.first, key.second);
  JITWG_TRY(logins_.drop(key));
  return true;
}

Result<bool> Ending::step(const SessionId& session, CloseReason reason, const std::string& target,
                          BootTime now) {
  note_scopes(session);
  JITWG_ASSIGN(const std::vector<pid_t> before, belongings_.processes(session));
  const auto logins = logins_.of(session);
  const bool monitor_lives = std::any_of(logins.begin(), logins.end(), [](const Login& l) {
    return open_pidfd(l.monitor).has_value();
  });
  // The walk through /proc comes last, when it decides.
  if (before.empty() && !monitor_lives) {
    JITWG_ASSIGN(const std::vector<pid_t> anywhere, belongings_.all_processes(session));
    if (anywhere.empty()) return finish(session);
  }
  const auto [entry, is_first] =
      states_.try_emplace(session, State{reason, target, now, now + grace_});
  State& state = entry->second;
  if (is_first) tell_others(session, reason);
  if (is_first && write_to_terminals(terminals_of(before), ended_text(session, reason, target)) > 0)
    state.term_at = std::min(now + kNoticeFirst, state.kill_at);
  if (now >= state.term_at && !state.asked) {
    state.asked = true;
    for (const Login& login : logins)
      if (const auto pidfd = open_pidfd(login.monitor)) send_signal(*pidfd, SIGTERM);
    belongings_.ask_managers(session);
  }
  // Every time from then on: what was forked between two looks dies with the next one.
  if (now >= state.kill_at) JITWG_TRY(belongings_.kill(session));
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
