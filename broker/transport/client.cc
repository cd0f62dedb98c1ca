#include "broker/transport/client.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <cstring>
#include <optional>

#include "broker/base/limits.h"
#include "broker/os/fd.h"
#include "broker/transport/stream_io.h"
#include "broker/transport/target.h"

namespace jitwg::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = boost::beast::http;
using Instant = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

namespace {

// An answer whose head is read; how its body is read is decided after.
using Head = beast_http::response_parser<beast_http::empty_body>;

Result<std::string> parse_where(const std::string& where) {
  constexpr std::string_view kUnix = "unix:";
  if (where.starts_with("https:"))
    return fail(Code::bad_argument, "TLS is not built yet", "use unix:PATH");
  if (!where.starts_with(kUnix) || where.size() == kUnix.size())
    return fail(Code::bad_argument, "\"" + where + "\" is no address of a broker", "use unix:PATH");
  return where.substr(kUnix.size());
}

tl::unexpected<Error> unavailable(const std::string& where, const std::string& why) {
  return fail(Code::broker_unavailable, where + ": " + why);
}

// For people: Beast's and Asio's own words for these say little.
std::string describe(const error_code& error) {
  if (error == beast::error::timeout) return "no answer in time";
  if (error == beast_http::error::end_of_stream || error == beast_http::error::partial_message ||
      error == asio::error::eof)
    return "the connection was closed";
  return error.message();
}

std::string render_request(const Request& request) {
  std::string text = request.method + " " + render_target(request) + " HTTP/1.1\r\nHost: jitwg\r\n";
  if (!request.bearer.empty()) text += "Authorization: Bearer " + request.bearer + "\r\n";
  if (!request.body.empty()) text += "Content-Type: application/json\r\n";
  text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n\r\n";
  return text + request.body;
}

}  // namespace

struct Client::Impl {
  using Lines = beast_http::response_parser<beast_http::buffer_body>;

  Impl(asio::io_context& io_context, std::string address)
      : io(io_context), where(std::move(address)) {}

  asio::awaitable<Result<void>> connect(Instant deadline);
  asio::awaitable<Result<std::unique_ptr<Head>>> send(const Request& request, Instant deadline);
  asio::awaitable<Result<Response>> read_body(Head& head);
  asio::awaitable<Result<void>> read_some(milliseconds deadline);
  std::optional<std::string> take_line();
  void close();

  asio::io_context& io;
  const std::string where;
  std::unique_ptr<SocketStream> stream;  // null: not connected
  bool kept = false;                     // it has answered before
  beast::flat_buffer buffer;

  std::unique_ptr<Lines> lines;  // set while a stream is open
  std::string pending;           // its bytes that are no whole line yet
  size_t searched = 0;           // of them, known to hold no newline
};

void Client::Impl::close() {
  stream.reset();
  lines.reset();
  kept = false;
  buffer.clear();
  pending.clear();
  searched = 0;
}

asio::awaitable<Result<void>> Client::Impl::connect(Instant deadline) {
  const Result<std::string> path = parse_where(where);
  if (!path) co_return tl::unexpected<Error>(path.error());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path->size() >= sizeof address.sun_path)
    co_return fail(Code::bad_argument, where + " is too long for a socket");
  std::memcpy(address.sun_path, path->data(), path->size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) co_return fail_errno("socket", errno);

  // By hand: on a full backlog Linux says EAGAIN, which Asio takes for "in progress" and then for
  // success.
  asio::steady_timer pause(io);
  while (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int failure = errno;
    if (failure == EINTR) continue;
    if (failure != EAGAIN || std::chrono::steady_clock::now() >= deadline)
      co_return unavailable(where, std::strerror(failure));
    pause.expires_after(milliseconds(20));
    co_await pause.async_wait(kAsync);
  }
  auto fresh = std::make_unique<SocketStream>(io);
  error_code error;
  fresh->socket().assign(asio::generic::stream_protocol(AF_UNIX, 0), fd.get(), error);
  if (error) co_return unavailable(where, error.message());
  (void)fd.release();
  stream = std::move(fresh);
  co_return Result<void>{};
}

// Sends the request and reads the answer's head.
asio::awaitable<Result<std::unique_ptr<Head>>> Client::Impl::send(const Request& request,
                                                                  Instant deadline) {
  const std::string bytes = render_request(request);
  while (true) {
    if (!stream) {
      const Result<void> connected = co_await connect(deadline);
      if (!connected) co_return tl::unexpected<Error>(connected.error());
    }
    stream->expires_at(deadline);
    const auto [write_error, written] =
        co_await asio::async_write(*stream, asio::buffer(bytes), kAsync);
    auto head = std::make_unique<Head>();
    head->body_limit(limits::kStreamLineBytes);
    // A failed write may mean that the answer came before we had finished (too_large): look for it
    // first.
    const auto [read_error, count] =
        co_await beast_http::async_read_header(*stream, buffer, *head, kAsync);
    if (!read_error) co_return head;
    const bool silent_close = kept && count == 0 && buffer.size() == 0 && !head->got_some() &&
                              read_error != beast::error::timeout;
    close();
    if (!silent_close)
      co_return unavailable(where, describe(write_error ? write_error : read_error));
  }
}

asio::awaitable<Result<Response>> Client::Impl::read_body(Head& head) {
  beast_http::response_parser<beast_http::string_body> parser(std::move(head));
  const auto [error, count] = co_await beast_http::async_read(*stream, buffer, parser, kAsync);
  if (error) {
    close();
    co_return unavailable(where, describe(error));
  }
  kept = true;
  const bool keep = parser.get().keep_alive();
  Response response{static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
  if (!keep) close();
  co_return response;
}

asio::awaitable<Result<void>> Client::Impl::read_some(milliseconds deadline) {
  if (!lines || lines->is_done()) {
    close();
    co_return unavailable(where, "the stream ended");
  }
  char bytes[16 * 1024];
  lines->get().body().data = bytes;
  lines->get().body().size = sizeof bytes;
  lines->get().body().more = true;
  stream->expires_after(deadline);
  const auto [error, count] = co_await beast_http::async_read_some(*stream, buffer, *lines, kAsync);
  if (error && error != beast_http::error::need_buffer) {
    const bool silent = error == beast::error::timeout;
    close();
    co_return unavailable(where, silent ? "the stream fell silent" : describe(error));
  }
  pending.append(bytes, sizeof bytes - lines->get().body().size);
  if (pending.size() <= limits::kStreamLineBytes) co_return Result<void>{};
  close();
  co_return fail(Code::too_large, where + ": a line of the stream is too long");
}

std::optional<std::string> Client::Impl::take_line() {
  const size_t end = pending.find('\n', searched);
  searched = end == std::string::npos ? pending.size() : 0;
  if (end == std::string::npos) return std::nullopt;
  std::string line = pending.substr(0, end);
  pending.erase(0, end + 1);
  return line;
}

Client::Client(asio::io_context& io, std::string where)
    : impl_(std::make_unique<Impl>(io, std::move(where))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;

void Client::close() { impl_->close(); }

asio::awaitable<Result<Response>> Client::call(Request request, milliseconds deadline) {
  if (impl_->lines) impl_->close();
  auto head = co_await impl_->send(request, std::chrono::steady_clock::now() + deadline);
  if (!head) co_return tl::unexpected<Error>(head.error());
  co_return co_await impl_->read_body(**head);
}

asio::awaitable<Result<void>> Client::open_stream(Request request, milliseconds deadline) {
  impl_->close();
  auto head = co_await impl_->send(request, std::chrono::steady_clock::now() + deadline);
  if (!head) co_return tl::unexpected<Error>(head.error());
  constexpr unsigned kOk = 200;
  if ((*head)->get().result_int() != kOk) {
    const Result<Response> refusal = co_await impl_->read_body(**head);
    if (!refusal) co_return tl::unexpected<Error>(refusal.error());
    co_return tl::unexpected<Error>(parse_error_response(*refusal));
  }
  impl_->lines = std::make_unique<Impl::Lines>(std::move(**head));
  impl_->lines->body_limit(boost::none);  // a stream has no end; each line has
  co_return Result<void>{};
}

asio::awaitable<Result<std::string>> Client::next_line(milliseconds deadline) {
  while (true) {
    if (auto line = impl_->take_line()) co_return std::move(*line);
    const Result<void> more = co_await impl_->read_some(deadline);
    if (!more) co_return tl::unexpected<Error>(more.error());
  }
}

Result<Response> call_once(const std::string& where, Request request, milliseconds deadline) {
  asio::io_context io;
  Client client(io, where);
  Result<Response> result = fail(Code::bug, "the call did not finish");
  asio::co_spawn(io, client.call(std::move(request), deadline),
                 [&result](const std::exception_ptr& thrown, Result<Response> answer) {
                   if (!thrown) result = std::move(answer);
                 });
  io.run();
  return result;
}

}  // namespace jitwg::http
