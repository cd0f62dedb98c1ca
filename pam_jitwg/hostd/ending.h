// Ends what is left of a session on this host, and reads back that nothing is: notice to its
// terminals, SIGTERM to its sshd monitors and the user's manager, and after the grace SIGKILL for
// all that belongs to it (belongings.h). sshd itself and other sessions, of the same person too, are
// never touched.
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
#include "pam_jitwg/hostd/belongings.h"
#include "pam_jitwg/hostd/cgroup.h"
#include "pam_jitwg/hostd/logins.h"

namespace jitwg::hostd {

class Ending {
 public:
  struct Tell {
    // A login that was open when its session's end took it, before its record goes.
    std::function<void(const Login&)> closed;
    // What the last login of a unix user left that no kill ends, in plain words.
    std::function<void(const Login&, const std::string&)> left_behind;
  };
  Ending(Cgroups& cgroups, Logins& logins, Seconds grace, Tell tell)
      : cgroups_(cgroups),
        logins_(logins),
        belongings_(cgroups, logins, [this](const SessionId& s) { return states_.contains(s); }),
        grace_(grace),
        tell_(std::move(tell)) {}
  Ending(const Ending&) = delete;

  // The first step of a session starts its end; each later one goes as far as `now` lets it. True:
  // the kernel was read, holds no process of it, and the leaves and login records are gone.
  Result<bool> step(const SessionId& session, CloseReason reason, const std::string& target,
                    BootTime now);
  std::vector<SessionId> under_way() const;
  // Once more with what step() was first given.
  Result<bool> again(const SessionId& session, BootTime now);

  const Belongings& belongings() const { return belongings_; }
  // Drops the record and the leaf of a login that is over, when nothing of it is left; false:
  // something is, and stays bound to its session. It is ended with it.
  Result<bool> forget(const LoginKey& key);

 private:
  struct State {
    CloseReason reason;
    std::string target;
    BootTime term_at;  // once the notice has had its moment to get through
    BootTime kill_at;
    bool asked = false;
  };
  Result<bool> finish(const SessionId& session);
  void leave(const Login& login);
  void tell_others(const SessionId& session, CloseReason reason);
  void note_scopes(const SessionId& session);

  Cgroups& cgroups_;
  Logins& logins_;
  const Belongings belongings_;
  const Seconds grace_;
  const Tell tell_;
  std::map<SessionId, State> states_;
};

// The warning that falls due in (last, now]: 15, 5 or 1 minute before the end; the shortest if
// several do.
std::optional<Seconds> due_warning(WallTime not_after, WallTime last, WallTime now);

}  // namespace jitwg::hostd
