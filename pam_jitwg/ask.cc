#include "pam_jitwg/ask.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace jitwg::pam {
namespace {

using Clock = std::chrono::steady_clock;

class Socket {
 public:
  Socket() : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int remaining_ms(Clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::max<decltype(left)>(left, 0));
}

// False when the time is over. Signals of the host program only make it look again.
bool wait_for(int fd, short events, Clock::time_point end) {
  while (true) {
    pollfd p{fd, events, 0};
    const int left = remaining_ms(end);
    const int n = ::poll(&p, 1, left);
    if (n > 0) return true;
    if (left == 0 || (n < 0 && errno != EINTR)) return false;
  }
}

const char* connect_in_time(int fd, const Server& server, Clock::time_point end) {
  struct stat st {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (server.socket.size() >= sizeof address.sun_path) return "the socket's path is too long";
  std::memcpy(address.sun_path, server.socket.c_str(), server.socket.size() + 1);
  if (::lstat(server.socket.c_str(), &st) != 0)
    return "there is no socket: jitwg-hostd does not run";
  if (!S_ISSOCK(st.st_mode) || st.st_uid != server.owner)
    return "what stands at the socket's path is not root's socket";
  // A full backlog is EAGAIN, and nothing to poll for: look again shortly.
  while (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno != EAGAIN && errno != EINTR)
      return "nobody listens on the socket: jitwg-hostd does not run";
    if (remaining_ms(end) == 0) return "jitwg-hostd is too busy";
    ::poll(nullptr, 0, std::min(remaining_ms(end), 10));
  }
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
  if (socket.get() < 0) return give_up("no socket to be had");
  if (const char* reason = connect_in_time(socket.get(), server, end)) return give_up(reason);

  while (::send(socket.get(), packet->data(), packet->size(), MSG_NOSIGNAL) < 0) {
    if (errno != EAGAIN && errno != EINTR) return give_up("jitwg-hostd hung up");
    if (!wait_for(socket.get(), POLLOUT, end)) return give_up("jitwg-hostd takes no question");
  }
  std::string bytes(kPacketBytes + 1, '\0');
  while (true) {
    if (!wait_for(socket.get(), POLLIN, end)) return give_up("jitwg-hostd does not answer");
    const ssize_t n = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return give_up("jitwg-hostd hung up without an answer");
    bytes.resize(static_cast<size_t>(n));
    break;
  }
  auto answer = parse_answer(bytes);
  if (!answer) return give_up("jitwg-hostd's answer makes no sense");
  return answer;
}

}  // namespace jitwg::pam
