#include "broker/transport/server.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <list>

#include "broker/os/service.h"
#include "broker/transport/connection.h"

namespace jitwg::http {

namespace asio = boost::asio;

struct Server::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io_context, Fd listening, Handler answer, ServerLimits server_limits)
      : io(io_context),
        listener(io_context, listening.release()),
        handler(std::move(answer)),
        limits(server_limits) {}

  // A connection and the means to end its coroutine wherever it waits.
  struct Entry {
    std::unique_ptr<Connection<SocketStream>> connection;
    asio::cancellation_signal cancel;
    bool ended = false;
  };

  asio::awaitable<void> accept_loop();
  void take(Fd fd);
  bool make_room();
  void stop();

  asio::io_context& io;
  asio::posix::stream_descriptor listener;
  const Handler handler;
  const ServerLimits limits;
  std::list<Entry> connections;
  bool stopped = false;
};

asio::awaitable<void> Server::Impl::accept_loop() {
  asio::steady_timer pause(io);
  while (!stopped) {
    // One connection a turn, so that a flood of newcomers does not starve those being served.
    const auto [broken] =
        co_await listener.async_wait(asio::posix::stream_descriptor::wait_read, kAsync);
    if (broken) co_return;
    // Not Asio's acceptor: its descriptors are not close-on-exec from birth.
    Fd fd(::accept4(listener.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const int failure = fd.valid() ? 0 : errno;
    if (fd.valid()) {
      take(std::move(fd));
    } else if (failure != EAGAIN && failure != EINTR && failure != ECONNABORTED) {
      // EMFILE and its like pass when a connection ends; spinning until then would only keep it
      // from ending.
      log(Level::error, std::string("accept: ") + std::strerror(failure) + ", trying again");
      if (failure == EMFILE) make_room();
      pause.expires_after(std::chrono::milliseconds(200));
      co_await pause.async_wait(kAsync);
    }
  }
}

void Server::Impl::take(Fd fd) {
  if (connections.size() >= limits.connections && !make_room()) {
    const Response refusal = error_response(
        {Code::too_many_requests, "too many connections", "try again when others have ended"});
    const std::string bytes =
        render_answer_head(refusal.status, refusal.body.size(), false) + refusal.body;
    // Best effort: a fresh socket's buffer has room for it.
    (void)::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  int family = AF_UNSPEC;
  socklen_t length = sizeof family;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &family, &length);
  SocketStream stream(io);
  error_code error;
  stream.socket().assign(asio::generic::stream_protocol(family, 0), fd.get(), error);
  if (error) {
    log(Level::error, "accepted socket: " + error.message());
    return;
  }
  (void)fd.release();
  const auto entry = connections.emplace(connections.end());
  entry->connection =
      std::make_unique<Connection<SocketStream>>(std::move(stream), handler, limits);
  const auto done = [self = shared_from_this(), entry](const std::exception_ptr& thrown) {
    // stop() cancels by exception; anything else that gets here broke the handler's promise.
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const std::exception& problem) {
      if (!self->stopped)
        log(Level::error, std::string("a request's handler threw: ") + problem.what());
    }
    // Later: a cancellation that is already queued still looks at the signal inside.
    entry->ended = true;
    asio::post(self->io, [self, entry] { self->connections.erase(entry); });
  };
  asio::co_spawn(io, entry->connection->run(),
                 asio::bind_cancellation_slot(entry->cancel.slot(), done));
}

// Ends the connection that has owed us a request for longest; false when all are at work. The
// entry goes when its coroutine has ended; until then it counts no more as idle.
bool Server::Impl::make_room() {
  Connection<SocketStream>* longest = nullptr;
  for (const Entry& entry : connections)
    if (entry.connection->idle_since &&
        (!longest || *entry.connection->idle_since < *longest->idle_since))
      longest = entry.connection.get();
  if (!longest) return false;
  longest->idle_since.reset();
  longest->close();
  return true;
}

void Server::Impl::stop() {
  if (std::exchange(stopped, true)) return;
  error_code ignored;
  listener.close(ignored);
  for (Entry& entry : connections) {
    if (entry.ended) continue;
    entry.connection->close();
    entry.cancel.emit(asio::cancellation_type::terminal);
  }
}

Server::Server(asio::io_context& io, Fd listener, Handler handler, ServerLimits limits)
    : impl_(std::make_shared<Impl>(io, std::move(listener), std::move(handler), limits)) {}

Server::~Server() { stop(); }

void Server::start() {
  const int fd = impl_->listener.native_handle();
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  asio::co_spawn(
      impl_->io, [](std::shared_ptr<Impl> impl) { return impl->accept_loop(); }(impl_),
      [impl = impl_](const std::exception_ptr&) {});
}

void Server::stop() { impl_->stop(); }

}  // namespace jitwg::http
