#include "broker/transport/client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <variant>

#include "broker/base/limits.h"
#include "broker/transport/connect.h"
#include "broker/transport/stream_io.h"
#include "broker/transport/target.h"
#include "broker/transport/tls.h"

namespace jitwg::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = boost::beast::http;
using Instant = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

namespace {

// An answer whose head is read; how its body is read is decided after.
using Head = beast_http::response_parser<beast_http::empty_body>;

tl::unexpected<Error> unavailable(const std::string& where, const std::string& why) {
  return fail(Code::broker_unavailable, where + ": " + why);
}

// For people: Beast's and Asio's own words for these say little.
std::string describe(const error_code& error) {
  if (error == beast::error::timeout) return "no answer in time";
  if (error == beast_http::error::end_of_stream || error == beast_http::error::partial_message ||
      error == asio::error::eof || error == asio::ssl::error::stream_truncated)
    return "the connection was closed";
  if (error.category() == asio::error::get_ssl_category())
    return "TLS 1.3 failed: " + error.message();
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

  Impl(asio::io_context& io_context, BrokerAddress broker)
      : io(io_context), address(std::move(broker)) {}

  // What `use` does with a stream, whichever of both it is.
  template <typename Use>
  decltype(auto) on_stream(Use use) {
    return std::visit(use, *stream);
  }
  SocketStream& socket() {
    return on_stream([](auto& any) -> SocketStream& { return beast::get_lowest_layer(any); });
  }

  asio::awaitable<Result<void>> connect(Instant deadline);
  asio::awaitable<Result<void>> connect_tls(const Place& place, Instant deadline);
  asio::awaitable<Result<std::unique_ptr<Head>>> send(const Request& request, Instant deadline);
  asio::awaitable<Result<Response>> read_body(Head& head);
  asio::awaitable<Result<void>> read_some(milliseconds deadline);
  std::optional<std::string> take_line();
  void close();

  asio::io_context& io;
  const BrokerAddress address;
  std::unique_ptr<ClientTls> tls;                                // of `stream`, when it is TLS
  std::optional<std::variant<SocketStream, TlsStream>> stream;  // nullopt: not connected
  bool kept = false;                                            // it has answered before
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
  const Result<Place> place = parse_broker_address(address);
  if (!place) co_return tl::unexpected<Error>(place.error());
  if (place->socket.empty()) co_return co_await connect_tls(*place, deadline);
  Result<SocketStream> socket = co_await connect_unix(io, place->socket, deadline);
  if (!socket) co_return within(address.where, socket.error());
  stream.emplace(std::move(*socket));
  co_return Result<void>{};
}

asio::awaitable<Result<void>> Client::Impl::connect_tls(const Place& place, Instant deadline) {
  auto fresh = ClientTls::make(address, place);
  if (!fresh) co_return tl::unexpected<Error>(fresh.error());
  Result<SocketStream> socket = co_await connect_tcp(io, place.host, place.port, deadline);
  if (!socket) co_return within(address.where, socket.error());
  tls = std::move(*fresh);
  auto& secured = std::get<TlsStream>(
      stream.emplace(std::in_place_type<TlsStream>, std::move(*socket), tls->context()));
  if (!place.host_is_address) SSL_set_tlsext_host_name(secured.native_handle(), place.host.c_str());
  secured.next_layer().expires_at(deadline);
  const auto [error] = co_await secured.async_handshake(TlsStream::client, kAsync);
  if (!error) co_return Result<void>{};
  const std::optional<Error> verdict = tls->verdict();
  close();
  if (verdict) co_return tl::unexpected<Error>(*verdict);
  co_return unavailable(address.where, describe(error));
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
    socket().expires_at(deadline);
    const auto [write_error, written] = co_await on_stream(
        [&](auto& any) { return asio::async_write(any, asio::buffer(bytes), kAsync); });
    auto head = std::make_unique<Head>();
    head->body_limit(limits::kStreamLineBytes);
    // A failed write may mean that the answer came before we had finished (too_large): look for it
    // first.
    const auto [read_error, count] = co_await on_stream(
        [&](auto& any) { return beast_http::async_read_header(any, buffer, *head, kAsync); });
    if (!read_error) co_return head;
    const bool silent_close = kept && count == 0 && buffer.size() == 0 && !head->got_some() &&
                              read_error != beast::error::timeout;
    close();
    if (!silent_close)
      co_return unavailable(address.where, describe(write_error ? write_error : read_error));
  }
}

asio::awaitable<Result<Response>> Client::Impl::read_body(Head& head) {
  beast_http::response_parser<beast_http::string_body> parser(std::move(head));
  const auto [error, count] = co_await on_stream(
      [&](auto& any) { return beast_http::async_read(any, buffer, parser, kAsync); });
  if (error) {
    close();
    co_return unavailable(address.where, describe(error));
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
    co_return unavailable(address.where, "the stream ended");
  }
  char bytes[16 * 1024];
  lines->get().body().data = bytes;
  lines->get().body().size = sizeof bytes;
  lines->get().body().more = true;
  socket().expires_after(deadline);
  const auto [error, count] = co_await on_stream(
      [&](auto& any) { return beast_http::async_read_some(any, buffer, *lines, kAsync); });
  if (error && error != beast_http::error::need_buffer) {
    const bool silent = error == beast::error::timeout;
    close();
    co_return unavailable(address.where, silent ? "the stream fell silent" : describe(error));
  }
  pending.append(bytes, sizeof bytes - lines->get().body().size);
  if (pending.size() <= limits::kStreamLineBytes) co_return Result<void>{};
  close();
  co_return fail(Code::too_large, address.where + ": a line of the stream is too long");
}

std::optional<std::string> Client::Impl::take_line() {
  const size_t end = pending.find('\n', searched);
  searched = end == std::string::npos ? pending.size() : 0;
  if (end == std::string::npos) return std::nullopt;
  std::string line = pending.substr(0, end);
  pending.erase(0, end + 1);
  return line;
}

Client::Client(asio::io_context& io, BrokerAddress address)
    : impl_(std::make_unique<Impl>(io, std::move(address))) {}
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

Result<Response> call_once(const BrokerAddress& address, Request request, milliseconds deadline) {
  asio::io_context io;
  Client client(io, address);
  Result<Response> result = fail(Code::bug, "the call did not finish");
  asio::co_spawn(io, client.call(std::move(request), deadline),
                 [&result](const std::exception_ptr& thrown, Result<Response> answer) {
                   if (!thrown) result = std::move(answer);
                 });
  io.run();
  return result;
}

}  // namespace jitwg::http
