// What on this host belongs to a session, wherever the kernel holds it: the leaves and login scopes
// of its logins, what its audit sessions have outside of them, and the user's manager, which says
// of nothing that it runs on whose behalf.
//
// While no other live session has a login of the same unix user here, all of that manager is the
// session's. Otherwise only what was started between its own first login and the other's; what came
// later may be either's, goes on, and ends with the last of them.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "pam_jitwg/hostd/cgroup.h"
#include "pam_jitwg/hostd/logins.h"

namespace jitwg::hostd {

class Belongings {
 public:
  // `is_ending`: a session that is being ended owns no manager any more that another may need.
  Belongings(const Cgroups& cgroups, const Logins& logins,
             std::function<bool(const SessionId&)> is_ending)
      : cgroups_(cgroups), logins_(logins), is_ending_(std::move(is_ending)) {}

  // In cgroups. Cheap enough for every look.
  Result<std::vector<pid_t>> processes(const SessionId& session) const;
  Result<std::vector<pid_t>> processes(const Login& login) const;  // without the manager
  // The same and whatever is in its audit sessions: one walk through /proc more.
  Result<std::vector<pid_t>> all_processes(const SessionId& session) const;
  // SIGTERM to the managers that are the session's alone: they stop what they run, in order.
  void ask_managers(const SessionId& session) const;
  // SIGKILL to all of it, and to its monitors wherever they are. Does not wait.
  Result<void> kill(const SessionId& session) const;

  // Processes that the manager of this login's user has run since the session's first login and
  // that go on, since they may be another live session's.
  Result<size_t> unattributed(const Login& login) const;
  // Nothing of the login is left, or what may be is held by another login of the session.
  Result<bool> may_go(const Login& login) const;
  bool has_sibling(const Login& login) const;  // of the same session and unix user

 private:
  Result<std::vector<pid_t>> manager_part(const Login& login) const;
  std::optional<uint64_t> first_of_others(const Login& login) const;

  const Cgroups& cgroups_;
  const Logins& logins_;
  const std::function<bool(const SessionId&)> is_ending_;
};

}  // namespace jitwg::hostd
