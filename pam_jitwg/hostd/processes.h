// Processes by pid *and* start time, so that a pid used again is never mistaken for the one meant:
// proc(5) /proc/PID/stat, pidfd_open(2).
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <string_view>

#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg::hostd {

struct Process {
  pid_t pid = 0;
  uint64_t start = 0;  // clock ticks since boot (field 22 of stat)
  auto operator<=>(const Process&) const = default;
};

struct ProcessStat {
  Process process;
  pid_t parent = 0;
  int terminal = 0;  // tty_nr: kernel device number, 0 = none
};

Result<ProcessStat> parse_stat(std::string_view text);
// not_live: there is none. io: nobody knows (no descriptor is left).
Result<ProcessStat> observe_process(pid_t pid);

// The kernel's audit session (/proc/PID/sessionid): children have their parent's, and only who may
// set loginuids gets another. kNoAuditSession: none was set, the process is gone, or there is no
// auditing in this kernel.
inline constexpr uint32_t kNoAuditSession = 4294967295;
uint32_t audit_session_of(pid_t pid);

// The user that the kernel holds answerable (/proc/PID/loginuid); -1: nobody, or it cannot say.
uid_t login_uid_of(pid_t pid);

// Is this an sshd process that only root can have made: real and saved uid 0, and the executable
// root's and named sshd, sshd-session or sshd-auth (OpenSSH ≥ 9.8)?
bool is_root_sshd(pid_t pid);

// A pidfd of exactly this process; not_live if it is gone or the pid is another's by now; io as
// above. Readable on exit.
Result<Fd> open_pidfd(const Process& process);
// Of whoever has this pid now; invalid if nobody.
Fd open_pidfd(pid_t pid);
// The pidfd that the kernel kept from connect(2) on (SO_PEERPIDFD, Linux 6.5); invalid on older
// kernels.
Fd peer_pidfd(int socket);
bool has_exited(int pidfd);
inline bool has_exited(const Fd& pidfd) { return has_exited(pidfd.get()); }
// False if it is gone already.
bool send_signal(const Fd& pidfd, int signal);

}  // namespace jitwg::hostd
