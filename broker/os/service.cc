#include "broker/os/service.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace jitwg {

HandedSockets take_handed_sockets() {
  HandedSockets handed;
  char** names = nullptr;
  for (int i = 0, count = sd_listen_fds_with_names(1, &names); i < count; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    handed.emplace(names[i], fd);
    std::free(names[i]);
  }
  std::free(names);
  return handed;
}

Result<Fd> listen_unix(HandedSockets handed, const std::string& path, int type, mode_t mode) {
  if (handed.size() > 1)
    return fail(Code::bad_config,
                "sockets \"" + handed.begin()->first + "\" and \"" + handed.rbegin()->first +
                    "\" were handed in for one",
                "FileDescriptorName= in a socket unit tells what it is for");
  if (!handed.empty()) {
    Fd fd = std::move(handed.begin()->second);
    if (sd_is_socket_unix(fd.get(), type, 1, nullptr, 0) <= 0)
      return fail(Code::bad_config,
                  "the socket handed in is not a listening Unix socket of the right type");
    return fd;
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(Code::bad_config, path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno("socket", errno);
  ::unlink(path.c_str());
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), mode) != 0 || ::listen(fd.get(), 512) != 0)
    return fail_errno(path, errno);
  return fd;
}

void notify_ready(const std::string& status) {
  sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
}
void notify(const char* state) { sd_notify(0, state); }

std::chrono::milliseconds watchdog_interval() {
  uint64_t microseconds = 0;
  if (sd_watchdog_enabled(0, &microseconds) <= 0) return std::chrono::hours(24);
  return std::chrono::milliseconds(microseconds / 3000);
}

void log(Level level, const std::string& message) {
  const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  if (journal)
    std::fprintf(stderr, "<%d>%s\n", static_cast<int>(level), message.c_str());
  else
    std::fprintf(stderr, "%s\n", message.c_str());
}

size_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;  // any system has more
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return fail_errno("SO_PEERCRED", errno);
  return Peer{credentials.pid, credentials.uid};
}

}  // namespace jitwg
