#include "broker/transport/connect.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "broker/os/fd.h"

namespace jitwg::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using Instant = std::chrono::steady_clock::time_point;

namespace {

tl::unexpected<Error> unavailable(const std::string& why) {
  return fail(Code::broker_unavailable, why);
}

// Not Asio's own socket: its descriptors are not close-on-exec from birth.
Result<SocketStream> make_stream(asio::io_context& io, int family) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno("socket", errno);
  SocketStream stream(io);
  error_code error;
  stream.socket().assign(asio::generic::stream_protocol(family, 0), fd.get(), error);
  if (error) return unavailable(error.message());
  (void)fd.release();
  return stream;
}

asio::awaitable<Result<SocketStream>> connect_to(asio::io_context& io, tcp::endpoint endpoint,
                                                 Instant deadline) {
  Result<SocketStream> stream = make_stream(io, endpoint.protocol().family());
  if (!stream) co_return stream;
  const int on = 1;
  ::setsockopt(stream->socket().native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  stream->expires_at(deadline);
  const auto [error] = co_await stream->async_connect(endpoint, kAsync);
  if (!error) co_return stream;
  const bool late = error == boost::beast::error::timeout;
  co_return unavailable(endpoint.address().to_string() + ": " +
                        (late ? "no answer in time" : error.message()));
}

// The deadline holds although getaddrinfo(3) knows none: a late answer is dropped where it arrives.
asio::awaitable<Result<std::vector<tcp::endpoint>>> resolve(asio::io_context& io,
                                                            const std::string& host, uint16_t port,
                                                            Instant deadline) {
  error_code no_address;
  const auto ip = asio::ip::make_address(host, no_address);
  if (!no_address) co_return std::vector{tcp::endpoint(ip, port)};
  struct Lookup {
    Lookup(asio::io_context& io_context, Instant end) : resolver(io_context), done(io_context, end) {}
    tcp::resolver resolver;
    asio::steady_timer done;
    error_code error = asio::error::timed_out;
    std::vector<tcp::endpoint> found;
  };
  const auto lookup = std::make_shared<Lookup>(io, deadline);
  lookup->resolver.async_resolve(
      host, std::to_string(port), tcp::resolver::numeric_service,
      [lookup](const error_code& error, const tcp::resolver::results_type& found) {
        lookup->error = error;
        for (const auto& entry : found) lookup->found.push_back(entry.endpoint());
        lookup->done.cancel();
      });
  co_await lookup->done.async_wait(kAsync);
  if (lookup->error)
    co_return unavailable("the name cannot be resolved: " + lookup->error.message());
  co_return std::move(lookup->found);
}

}  // namespace

asio::awaitable<Result<SocketStream>> connect_unix(asio::io_context& io, const std::string& path,
                                                   Instant deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    co_return fail(Code::bad_argument, "the path is too long for a socket");
  std::memcpy(address.sun_path, path.data(), path.size());
  Result<SocketStream> stream = make_stream(io, AF_UNIX);
  if (!stream) co_return stream;
  const int fd = stream->socket().native_handle();
  // By hand: on a full backlog Linux says EAGAIN, which Asio takes for "in progress" and then for
  // success.
  asio::steady_timer pause(io);
  while (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int failure = errno;
    if (failure == EINTR) continue;
    if (failure != EAGAIN || std::chrono::steady_clock::now() >= deadline)
      co_return unavailable(std::strerror(failure));
    pause.expires_after(std::chrono::milliseconds(20));
    co_await pause.async_wait(kAsync);
  }
  co_return stream;
}

asio::awaitable<Result<SocketStream>> connect_tcp(asio::io_context& io, const std::string& host,
                                                  uint16_t port, Instant deadline) {
  const Result<std::vector<tcp::endpoint>> endpoints = co_await resolve(io, host, port, deadline);
  if (!endpoints) co_return tl::unexpected<Error>(endpoints.error());
  Error last{Code::broker_unavailable, "the name has no address", {}};
  auto left = static_cast<int>(endpoints->size());
  for (const tcp::endpoint& endpoint : *endpoints) {
    const Instant now = std::chrono::steady_clock::now();
    Result<SocketStream> stream = co_await connect_to(io, endpoint, now + (deadline - now) / left--);
    if (stream) co_return stream;
    last = std::move(stream.error());
  }
  co_return tl::unexpected<Error>(std::move(last));
}

}  // namespace jitwg::http
