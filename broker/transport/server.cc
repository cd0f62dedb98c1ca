#include "broker/transport/server.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <list>
#include <map>

#include "broker/os/service.h"
#include "broker/transport/connection.h"

namespace jitwg::http {

namespace asio = boost::asio;

namespace {

// A peer whose machine is gone acknowledges nothing: without this, what is sent to it would fail only
// after a quarter of an hour, and its heartbeats never fill a buffer.
void tune_tcp(int fd, const ServerLimits& limits) {
  const int on = 1;
  const auto patience = static_cast<unsigned>(limits.unacknowledged.count());
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
}

// Where a connection comes from; 0.0.0.0 for a Unix socket.
asio::ip::address source_of(int fd) {
  asio::ip::tcp::endpoint peer;
  auto size = static_cast<socklen_t>(peer.capacity());
  const bool known = ::getpeername(fd, peer.data(), &size) == 0 && peer.data()->sa_family != AF_UNIX;
  return known ? peer.address() : asio::ip::address();
}

// Whoever has one IPv6 address has 2^64 of them.
asio::ip::address neighbourhood(const asio::ip::address& source) {
  if (!source.is_v6() || source.to_v6().is_v4_mapped()) return source;
  return asio::ip::make_network_v6(source.to_v6(), 64).canonical().address();
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io_context, Fd listening, Handler answer, ServerLimits server_limits,
       std::shared_ptr<ServerTls> server_tls)
      : io(io_context),
        listener(io_context, listening.release()),
        handler(std::move(answer)),
        limits(server_limits),
        tls(std::move(server_tls)) {}

  // A connection and the means to end its coroutine wherever it waits.
  struct Entry {
    std::unique_ptr<OpenConnection> connection;
    asio::ip::address source;
    asio::cancellation_signal cancel;
    bool ended = false;
  };

  asio::awaitable<void> accept_loop();
  void take(Fd fd);
  std::unique_ptr<OpenConnection> make_connection(SocketStream stream);
  bool make_room();
  void stop();

  asio::io_context& io;
  asio::posix::stream_descriptor listener;
  const Handler handler;
  const ServerLimits limits;
  const std::shared_ptr<ServerTls> tls;
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
    if (tls) return;  // no word is worth a handshake now
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
  if (family != AF_UNIX) tune_tcp(fd.get(), limits);
  const auto entry = connections.emplace(connections.end());
  entry->source = source_of(fd.release());
  entry->connection = make_connection(std::move(stream));
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

std::unique_ptr<OpenConnection> Server::Impl::make_connection(SocketStream stream) {
  if (tls)
    return std::make_unique<Connection<TlsStream>>(TlsStream(std::move(stream), tls->context),
                                                   handler, limits);
  return std::make_unique<Connection<SocketStream>>(std::move(stream), handler, limits);
}

// Ends one connection that owes us a request; false when all are at work. The entry goes when its
// coroutine has ended; until then it counts no more as idle.
bool Server::Impl::make_room() {
  std::map<asio::ip::address, size_t> idle;
  for (const Entry& entry : connections)
    if (entry.connection->idle_since) ++idle[neighbourhood(entry.source)];
  OpenConnection* first = nullptr;
  std::pair<size_t, std::chrono::nanoseconds> most;
  for (const Entry& entry : connections) {
    if (!entry.connection->idle_since) continue;
    const std::pair rank(idle[neighbourhood(entry.source)],
                         std::chrono::steady_clock::now() - *entry.connection->idle_since);
    if (first && rank <= most) continue;
    first = entry.connection.get();
    most = rank;
  }
  if (!first) return false;
  first->idle_since.reset();
  first->close();
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

Server::Server(asio::io_context& io, Fd listener, Handler handler, ServerLimits limits,
               std::shared_ptr<ServerTls> tls)
    : impl_(std::make_shared<Impl>(io, std::move(listener), std::move(handler), limits,
                                   std::move(tls))) {}

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
