// Which logins belong to which session, kept on disk (<runtime-dir>/hostd/logins/<session>.<pid>),
// so that hostd may be restarted under running logins. The runtime directory is emptied at boot,
// and so are the logins.
//
// A login outlives its monitor for as long as processes of it are left (tmux, nohup): `is_open` is
// then false.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "pam_jitwg/hostd/processes.h"

namespace jitwg::hostd {

inline constexpr uid_t kNoUid = static_cast<uid_t>(-1);  // not known

struct Login {
  SessionId session;
  std::string person;
  std::string login;  // unix user
  std::string target;
  std::string client;  // inner address it came from; of a job, the service that runs it
  Process monitor;     // sshd's process for this connection
  WallTime since;
  WallTime not_after;
  std::string scope;  // logind's cgroup, once pam_systemd moved the login there
  bool is_open = true;
  uint32_t audit_session = kNoAuditSession;  // the kernel's, if it is this login's alone
  uid_t uid = kNoUid;                        // of `login`
  // Since when the session has had logins of this unix user here, without a moment when nothing of
  // them was left: first_start in clock ticks since boot, as Process::start.
  WallTime first_since = since;
  uint64_t first_start = monitor.start;
  bool operator==(const Login&) const = default;
};

std::string render_login(const Login& login);
Result<Login> parse_login(std::string_view text);

using LoginKey = std::pair<SessionId, pid_t>;

class Logins {
 public:
  // Reads what is there; a damaged file is skipped and its name returned in `damaged`.
  static Result<Logins> load(const std::string& directory, std::vector<std::string>& damaged);

  Result<void> put(const Login& login);  // on disk first
  // Of a login that is there: true at once, whatever the disk says. On error a restart would find
  // what was before, and looks at the kernel anyway.
  Result<void> update(const Login& login);
  Result<void> drop(const LoginKey& key);

  const std::map<LoginKey, Login>& all() const { return logins_; }
  const Login* find(const LoginKey& key) const;
  const Login* find(const Process& monitor) const;
  // Open or not. nullptr for kNoAuditSession, which anybody may be in.
  const Login* find_by_audit_session(uint32_t audit_session) const;
  std::vector<Login> of(const SessionId& session) const;
  std::set<std::string> persons() const;  // with a login that is open
  // Each once: those with an open login of this user; where there is none, those that a login left
  // something of.
  std::vector<SessionId> sessions_of(const std::string& user) const;

 private:
  explicit Logins(std::string directory) : directory_(std::move(directory)) {}
  std::string path(const LoginKey& key) const;
  std::string directory_;
  std::map<LoginKey, Login> logins_;
};

}  // namespace jitwg::hostd
