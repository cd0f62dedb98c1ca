#include "pam_jitwg/hostd/processes.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "broker/base/number.h"
#include "broker/os/file.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kProcBytes = 64 * 1024;
#ifdef SO_PEERPIDFD
constexpr int kPeerPidfd = SO_PEERPIDFD;
#else
constexpr int kPeerPidfd = 77;  // newer than Debian 12's headers
#endif

std::string proc(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> found;
  while (!text.empty()) {
    const size_t end = text.find_first_of(" \t\n");
    if (end != 0) found.push_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return found;
}

// Real and saved. Not the effective uid: while sshd reads what the principals command prints, its
// monitor goes by the effective uid of AuthorizedPrincipalsCommandUser.
bool is_roots(const std::string& status) {
  const size_t at = status.find("\nUid:");
  if (at == status.npos) return false;
  const auto uids =
      words(std::string_view(status).substr(at + 5, status.find('\n', at + 1) - at - 5));
  return uids.size() == 4 && uids[0] == "0" && uids[2] == "0";
}

}  // namespace

Result<ProcessStat> parse_stat(std::string_view text) {
  // The name in parentheses is the process' own choice and may hold anything, parentheses too:
  // count from its end.
  const size_t name_end = text.rfind(')');
  const auto pid = parse_number<pid_t>(text.substr(0, text.find(' ')));
  if (name_end == text.npos || !pid) return fail(Code::corrupt, "not a line of /proc/PID/stat");
  const auto fields = words(text.substr(name_end + 1));  // fields[0] is field 3, the state
  if (fields.size() < 20) return fail(Code::corrupt, "/proc/PID/stat is short");
  const auto parent = parse_number<pid_t>(fields[1]);
  const auto terminal = parse_number<int>(fields[4]);
  const auto start = parse_number<uint64_t>(fields[19]);
  if (!parent || !terminal || !start) return fail(Code::corrupt, "/proc/PID/stat has no numbers");
  return ProcessStat{{*pid, *start}, *parent, *terminal};
}

Result<ProcessStat> observe_process(pid_t pid) {
  const auto text =
      pid > 0 ? read_file(proc(pid, "stat"), kProcBytes) : Result<std::string>(std::string());
  if (text && !text->empty()) return parse_stat(*text);
  if (pid <= 0 || (::kill(pid, 0) != 0 && errno == ESRCH))
    return fail(Code::not_live, "there is no process " + std::to_string(pid));
  return text ? fail(Code::io, proc(pid, "stat") + " is empty")
              : tl::unexpected<Error>(text.error());
}

uint32_t audit_session_of(pid_t pid) {
  const auto text =
      pid > 0 ? read_file(proc(pid, "sessionid"), kProcBytes) : Result<std::string>(std::string());
  const auto session = text ? parse_number<uint32_t>(*text) : std::nullopt;
  return session && *session != 0 ? *session : kNoAuditSession;
}

uid_t login_uid_of(pid_t pid) {
  const auto text =
      pid > 0 ? read_file(proc(pid, "loginuid"), kProcBytes) : Result<std::string>(std::string());
  return text ? parse_number<uid_t>(*text).value_or(static_cast<uid_t>(-1)) : static_cast<uid_t>(-1);
}

bool is_root_sshd(pid_t pid) {
  const auto status = read_file(proc(pid, "status"), kProcBytes);
  if (pid <= 0 || !status || !is_roots(*status)) return false;
  char target[4096];
  const ssize_t n = ::readlink(proc(pid, "exe").c_str(), target, sizeof target);
  struct stat st {};
  if (n <= 0 || ::stat(proc(pid, "exe").c_str(), &st) != 0 || st.st_uid != 0) return false;
  std::string_view path(target, static_cast<size_t>(n));
  constexpr std::string_view kReplaced = " (deleted)";  // sshd was upgraded while it ran
  if (path.ends_with(kReplaced)) path.remove_suffix(kReplaced.size());
  const std::string_view file = path.substr(path.rfind('/') + 1);
  return file == "sshd" || file == "sshd-session" || file == "sshd-auth";
}

Fd open_pidfd(pid_t pid) { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

Result<Fd> open_pidfd(const Process& process) {
  Fd fd = open_pidfd(process.pid);
  if (!fd.valid() && errno != ESRCH) return fail_errno("pidfd_open", errno);
  const auto now = observe_process(process.pid);
  // Looked at after the pidfd was taken: if the start time is right now, the pidfd is of that
  // process.
  if (!now && now.error().code != Code::not_live) return tl::unexpected<Error>(now.error());
  if (!fd.valid() || !now || now->process != process)
    return fail(Code::not_live, "process " + std::to_string(process.pid) + " is gone");
  return fd;
}

Fd peer_pidfd(int socket) {
  int fd = -1;
  socklen_t size = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &fd, &size) != 0) return Fd();
  return Fd(fd);
}

bool has_exited(int pidfd) {
  pollfd p{pidfd, POLLIN, 0};
  return ::poll(&p, 1, 0) != 0;
}

bool send_signal(const Fd& pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
}

}  // namespace jitwg::hostd
