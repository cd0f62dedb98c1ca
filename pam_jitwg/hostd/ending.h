// Ends what is left of a session on this host, and reads back that nothing is: notice to its
// terminals, SIGTERM to its sshd monitors, and after the grace SIGKILL for everything in its
// cgroups. Only cgroups that are ours or a login scope of one of its logins: sshd itself and other
// sessions, of the same person too, are never touched.
//
// A step never waits: ask again until it says that nothing is left.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/session/state.h"
#include "pam_jitwg/hostd/cgroup.h"
#include "pam_jitwg/hostd/logins.h"

namespace jitwg::hostd {

class Ending {
 public:
  // `on_end`: told of each login that was open when its session's end took it, before its record
  // goes.
  Ending(Cgroups& cgroups, Logins& logins, Seconds grace, std::function<void(const Login&)> on_end)
      : cgroups_(cgroups), logins_(logins), grace_(grace), on_end_(std::move(on_end)) {}

  // The first step of a session starts its end; each later one goes as far as `now` lets it. True:
  // the kernel was read, holds no process of it, and the leaves and login records are gone.
  Result<bool> step(const SessionId& session, CloseReason reason, const std::string& target,
                    BootTime now);
  std::vector<SessionId> under_way() const;
  // Once more with what step() was first given.
  Result<bool> again(const SessionId& session, BootTime now);

 private:
  struct State {
    CloseReason reason;
    std::string target;
    BootTime term_at;  // once the notice has had its moment to get through
    BootTime kill_at;
    bool asked = false;
  };
  // All that belongs to the session: below our directory and in its logins' scopes.
  Result<std::vector<pid_t>> left(const SessionId& session);
  Result<void> kill(const SessionId& session);
  void note_scopes(const SessionId& session);

  Cgroups& cgroups_;
  Logins& logins_;
  const Seconds grace_;
  const std::function<void(const Login&)> on_end_;
  std::map<SessionId, State> states_;
};

// The warning that falls due in (last, now]: 15, 5 or 1 minute before the end; the shortest if
// several do.
std::optional<Seconds> due_warning(WallTime not_after, WallTime last, WallTime now);

}  // namespace jitwg::hostd
