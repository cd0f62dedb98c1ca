#include "pam_jitwg/hostd/server.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

namespace jitwg::hostd {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kAskDeadline{2000};  // the module's own: nobody waits longer
constexpr int kAskersPerUser = 64;                       // logins in one second, and some to spare
constexpr int kAskersAtOnce = 1024;                      // descriptors

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& loop, Fd fd, Handler answer)
      : io(loop), listener(loop, fd.release()), pause(loop), handler(std::move(answer)) {}

  // One asker that has not said anything yet. Alive as long as one of its two waits is: for the
  // packet, or for the deadline.
  struct Asking {
    Asking(std::shared_ptr<Impl> impl, Fd fd, Peer who)
        : server(std::move(impl)),
          socket(server->io, fd.release()),
          deadline(server->io),
          peer(who) {
      ++server->askers[peer.uid];
      ++server->total;
    }
    ~Asking() {
      --server->total;
      if (--server->askers[peer.uid] == 0) server->askers.erase(peer.uid);
    }

    std::shared_ptr<Impl> server;
    Descriptor socket;
    asio::steady_timer deadline;
    Peer peer;
  };

  void accept_next();
  void take(Fd fd);
  bool answer(int socket, const Peer& peer);

  asio::io_context& io;
  Descriptor listener;
  asio::steady_timer pause;
  Handler handler;
  std::array<char, pam::kPacketBytes + 1> packet;
  std::map<uid_t, int> askers;
  int total = 0;
  bool stopped = false;
  bool is_starved = false;  // that was said
};

// False: nothing was asked yet.
bool Server::Impl::answer(int socket, const Peer& peer) {
  const ssize_t n = ::recv(socket, packet.data(), packet.size(), MSG_DONTWAIT);
  if (n <= 0) return n == 0 || errno != EAGAIN;
  const auto question = parse_question({packet.data(), static_cast<size_t>(n)});
  const Answer reply = question ? handler(*question, peer, socket)
                                : Answer{false, std::string(name(Code::unknown_message)), "", 0,
                                         "jitwg: not a question of protocol jitwg1"};
  const std::string bytes = render(reply);
  // A fresh socket has room for one packet. Who left already is not told.
  (void)::send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return true;
}

void Server::Impl::take(Fd fd) {
  const auto peer = peer_of(fd.get());
  if (!peer || answer(fd.get(), *peer)) return;  // most have asked by the time they are seen
  const auto same = askers.find(peer->uid);
  // Root asks for logins that are on their way: it waits behind nobody's flood.
  if (peer->uid != 0 &&
      (total >= kAskersAtOnce || (same != askers.end() && same->second >= kAskersPerUser)))
    return;
  const auto asking = std::make_shared<Asking>(shared_from_this(), std::move(fd), *peer);
  asking->deadline.expires_after(kAskDeadline);
  asking->deadline.async_wait([asking](error_code cancelled) {
    error_code ignored;
    if (!cancelled) asking->socket.cancel(ignored);
  });
  asking->socket.async_wait(Descriptor::wait_read, [asking](error_code failed) {
    asking->deadline.cancel();
    if (!failed) asking->server->answer(asking->socket.native_handle(), asking->peer);
  });
}

void Server::Impl::accept_next() {
  listener.async_wait(Descriptor::wait_read, [self = shared_from_this()](error_code failed) {
    if (failed || self->stopped) return;
    // Asio's own accept does not make descriptors close-on-exec from birth.
    Fd fd(
        ::accept4(self->listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const int number = errno;
    if (fd.valid()) {
      self->is_starved = false;
      self->take(std::move(fd));
    } else if (number != EAGAIN && number != EINTR && number != ECONNABORTED) {
      // Out of descriptors: askers end within their deadline, and spinning would keep them from it.
      if (!std::exchange(self->is_starved, true))
        log(Level::error, std::string("accept: ") + std::strerror(number) + ", trying again");
      self->pause.expires_after(std::chrono::milliseconds(100));
      self->pause.async_wait([self](error_code) { self->accept_next(); });
      return;
    }
    self->accept_next();
  });
}

Server::Server(asio::io_context& io, Fd listener, Handler handler)
    : impl_(std::make_shared<Impl>(io, std::move(listener), std::move(handler))) {
  impl_->accept_next();
}

Server::~Server() {
  error_code ignored;
  impl_->stopped = true;
  impl_->listener.cancel(ignored);
  impl_->pause.cancel();
}

}  // namespace jitwg::hostd
