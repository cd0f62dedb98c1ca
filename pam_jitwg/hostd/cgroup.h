// The cgroup v2 leaves that hold logins: <root>/jitwg/<session>/<monitor's pid>. A process cannot
// leave its leaf (the directories are root's), children are born into it, and one write to
// cgroup.kill ends the whole session: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
//
// Where logind runs, pam_systemd moves the login on into a session-*.scope, and what the person has
// systemd start is in their user@UID.service (systemd-logind(8), user@.service(5)). Both are named
// by their path below `root`, as /proc/PID/cgroup gives it, and are what is called "theirs" here.
// Nothing else is ever killed: a monitor that none of these holds is in ssh.service, with sshd
// itself.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/session_id.h"
#include "pam_jitwg/hostd/processes.h"

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
  // The leaves, by session and monitor's pid, also empty ones: a leaf stays until it is removed.
  Result<std::vector<std::pair<SessionId, pid_t>>> leaves() const;
  // All processes below the session's directory, or in what is theirs; none if it does not exist.
  Result<std::vector<pid_t>> processes(const SessionId& session) const;
  Result<std::vector<pid_t>> processes(const SessionId& session,
                                       pid_t login) const;  // of one login's leaf
  Result<std::vector<pid_t>> processes_of(const std::string& theirs) const;
  // The manager itself and what holds its PAM session, without what it runs.
  Result<std::vector<pid_t>> managers_own(uid_t uid) const;
  // SIGKILL for everything in it. Does not wait: read back with processes().
  Result<void> kill(const SessionId& session) const;
  Result<void> kill_theirs(const std::string& theirs) const;
  // Removes a login's leaf, and the session's directory with the last; does nothing while processes
  // are in it.
  void remove(const SessionId& session, pid_t login) const;
  void remove(const SessionId& session) const;

  // The session in whose directory the kernel lists the process.
  std::optional<SessionId> session_of(pid_t pid) const;
  // The scope a process is in: "" unless logind made it.
  std::string scope_of(pid_t pid) const;
  // Also "" when exactly this process is gone.
  std::string scope_of(const Process& process) const;

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
// Of the systemd that serves this user: whatever they have it start, on whose behalf nobody says.
std::string manager_path(uid_t uid);

}  // namespace jitwg::hostd
