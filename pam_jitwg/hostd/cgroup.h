// The cgroup v2 leaves that hold logins: <root>/jitwg/<session>/<monitor's pid>. A process cannot
// leave its leaf (the directories are root's), children are born into it, and one write to
// cgroup.kill ends the whole session: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
//
// Where logind runs, pam_systemd moves the login on into a session-*.scope; scopes are named by
// their path below `root`, as /proc/PID/cgroup gives it. Nothing else is ever killed: a monitor
// that neither holds is in ssh.service, with sshd itself.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/session_id.h"

namespace jitwg::hostd {

class Cgroups {
 public:
  // `root`: where cgroup v2 is mounted (/sys/fs/cgroup), or a subtree of it that is ours.
  explicit Cgroups(std::string root) : root_(std::move(root)) {}

  Result<void> prepare();  // makes <root>/jitwg
  // Makes the leaf, moves the process, reads back that it is there. Nothing to do if it is.
  Result<void> attach(const SessionId& session, pid_t pid);
  // What the kernel holds of ours.
  Result<std::vector<SessionId>> sessions() const;
  // All processes below the session's directory, or of a scope; none if it does not exist.
  Result<std::vector<pid_t>> processes(const SessionId& session) const;
  Result<std::vector<pid_t>> processes(const SessionId& session,
                                       pid_t login) const;  // of one login's leaf
  Result<std::vector<pid_t>> processes_of_scope(const std::string& scope) const;
  // SIGKILL for everything in it. Does not wait: read back with processes().
  Result<void> kill(const SessionId& session) const;
  Result<void> kill_scope(const std::string& scope) const;
  // Removes a login's leaf, and the session's directory with the last; does nothing while processes
  // are in it.
  void remove(const SessionId& session, pid_t login) const;
  void remove(const SessionId& session) const;

  // The session in whose directory the kernel lists the process.
  std::optional<SessionId> session_of(pid_t pid) const;
  // The scope a process is in: "" unless logind made it.
  std::string scope_of(pid_t pid) const;

 private:
  std::string base() const { return root_ + "/jitwg"; }
  std::string directory(const SessionId& session) const { return base() + "/" + session.str(); }
  std::string leaf(const SessionId& session, pid_t pid) const {
    return directory(session) + "/" + std::to_string(pid);
  }
  std::string root_;
};

// The path of a login scope in the text of /proc/PID/cgroup, or "".
std::string parse_scope_path(std::string_view proc_cgroup);

}  // namespace jitwg::hostd
