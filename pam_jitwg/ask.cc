#include "pam_jitwg/ask.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace jitwg::pam {
namespace {

using Clock = std::chrono::steady_clock;

struct Socket {
  Socket() = default;
  Socket(const Socket&) = delete;
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
};

// What is left until `end`, for the next call that may wait by that limit (connect(2):
// SO_SNDTIMEO). Signals of the host program only make us try again with less.
bool allow_wait(int fd, int limit, Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::microseconds>(end - Clock::now()).count();
  if (left <= 0) return false;  // and never 0, which would mean no limit
  const timeval t{left / 1000000, left % 1000000};
  return ::setsockopt(fd, SOL_SOCKET, limit, &t, sizeof t) == 0;
}

template <typename Call>
ssize_t in_time(int fd, int limit, Clock::time_point end, Call call) {
  ssize_t result = -1;
  do {
    if (!allow_wait(fd, limit, end)) return -1;
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

// Why not, or nullptr.
const char* connect_to(int fd, const Server& server, Clock::time_point end) {
  struct stat st {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (server.socket.size() >= sizeof address.sun_path) return "the socket's path is too long";
  std::memcpy(address.sun_path, server.socket.c_str(), server.socket.size() + 1);
  if (::lstat(server.socket.c_str(), &st) != 0)
    return "there is no socket: jitwg-hostd does not run";
  if (!S_ISSOCK(st.st_mode) || st.st_uid != server.owner)
    return "what stands at the socket's path is not root's socket";
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  if (in_time(fd, SO_SNDTIMEO, end, [&] { return ::connect(fd, name, sizeof address); }) != 0)
    return "jitwg-hostd does not run, or takes no question";
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != server.owner)
    return "the process behind the socket is not root's";
  return nullptr;
}

}  // namespace

std::optional<Answer> ask(const Server& server, const Question& question,
                          std::chrono::milliseconds deadline, std::string& why) {
  const Clock::time_point end = Clock::now() + deadline;
  const auto give_up = [&why](const char* reason) {
    why = reason;
    return std::nullopt;
  };
  const auto packet = render(question);
  if (!packet) return give_up("the question does not fit a packet");
  const Socket socket;
  const int fd = socket.fd;
  if (fd < 0) return give_up("no socket to be had");
  if (const char* reason = connect_to(fd, server, end)) return give_up(reason);
  // A fresh socket has room for it.
  if (::send(fd, packet->data(), packet->size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
    return give_up("jitwg-hostd takes no question");
  const auto bytes = std::make_unique_for_overwrite<char[]>(kPacketBytes + 1);
  const ssize_t n =
      in_time(fd, SO_RCVTIMEO, end, [&] { return ::recv(fd, bytes.get(), kPacketBytes + 1, 0); });
  if (n <= 0) return give_up("jitwg-hostd does not answer");
  if (auto answer = parse_answer({bytes.get(), static_cast<size_t>(n)})) return answer;
  return give_up("jitwg-hostd's answer makes no sense");
}

}  // namespace jitwg::pam
