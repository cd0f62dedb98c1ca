// Files of /proc/PID that a process can have a say in: its name in stat, its cgroup's path. A process chooses no other
// process' pid, parent or start time by them, and no directory that is not a login scope.
#include "pam_jitwg/hostd/cgroup.h"
#include "pam_jitwg/hostd/processes.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
  const std::string scope = hostd::parse_scope_path(input);
  if (!scope.empty()) {
    JITWG_CHECK(input.find("0::" + scope) != input.npos && scope.starts_with('/') && scope.ends_with(".scope"));
    JITWG_CHECK(scope.find("/..") == scope.npos && scope.find('\n') == scope.npos);
    JITWG_CHECK(scope.substr(scope.rfind('/') + 1).starts_with("session-"));
  }
  const auto stat = hostd::parse_stat(input);
  if (!stat) {
    check_error(stat.error());
    return !scope.empty();
  }
  JITWG_CHECK(input.starts_with(std::to_string(stat->process.pid)) || input.starts_with('0') || input.starts_with('-'));
  // Whatever the name holds: another name in the same line changes nothing.
  const size_t open = input.find('('), close = input.rfind(')');
  if (open != input.npos && open < close) {
    const std::string other = std::string(input.substr(0, open)) + "(9) R 1 2)" + std::string(input.substr(close + 1));
    const auto again = hostd::parse_stat(other);
    JITWG_CHECK(again && again->process == stat->process && again->parent == stat->parent && again->terminal == stat->terminal);
  }
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
