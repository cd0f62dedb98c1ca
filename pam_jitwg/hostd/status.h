// `jitwg-hostd status [--json]`: whether the daemon runs and how old its knowledge is, from the file
// that it leaves every few seconds, and the logins of this host, from their records (logins.h) and
// the kernel. Needs no running daemon; needs root.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/base/json.h"
#include "pam_jitwg/hostd/belongings.h"

namespace jitwg::hostd {

// What the daemon leaves in <runtime-dir>/hostd/state.
struct State {
  std::string node;
  Process daemon;
  WallTime written;
  std::optional<WallTime> heard;  // the broker, last; unset: never since start
  int64_t revision = 0;           // of the replica, as the broker counts
  Seconds fresh_within{0}, lost_contact_after{0};
  bool operator==(const State&) const = default;
};
std::string render_state(const State& state);
Result<State> parse_state(std::string_view text);

struct LoginStatus {
  Login login;
  std::optional<size_t> processes;  // of its leaf and scope; unset: the kernel does not say
};
struct Status {
  std::optional<State> state;  // unset: it never ran since boot, or left no file that can be read
  bool is_running = false;
  std::vector<LoginStatus> logins;
  std::vector<std::string> damaged;  // names of records that cannot be read
};
// `directory`: <runtime-dir>/hostd. hostd_unavailable: it cannot be read.
Result<Status> observe_status(const std::string& directory, const std::string& cgroup_root);

// {"node","running","heard","revision","replica":"fresh|stale|lost","logins":[{"session","person",
// "login","target","client","since","not_after","time_left","open","pid","processes",
// "audit_session","leaf","scope"}],"damaged":[…]}; unset = null, time_left in seconds.
json::object render_status(const Status& status, WallTime now);
// For people, times in the reader's zone (TZ, otherwise the machine's).
std::string render_status_table(const Status& status, WallTime now);

}  // namespace jitwg::hostd
