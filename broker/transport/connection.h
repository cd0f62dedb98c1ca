// One peer's connection: reads requests one after the other, asks the handler, writes answers. A
// template over the stream, so that plain sockets and TLS share it; internal to the server.
#pragma once

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/transport/server.h"
#include "broker/transport/stream_io.h"
#include "broker/transport/target.h"
#include "broker/transport/tls.h"

namespace jitwg::http {

// Head of an answer, up to the empty line; `body_size` unset: chunked.
std::string render_answer_head(int status, std::optional<size_t> body_size, bool keep_alive);
// The parsed request as our value; bad_value, bad_token, duplicate_key.
Result<Request> take_request(boost::beast::http::request<boost::beast::http::string_body>&& parsed);
// What a failure to read a request means for its sender; nullopt: gone or too slow, nothing to say.
std::optional<Error> read_failure(const error_code& error);

// What comes before HTTP. nullopt: the connection is over; what there was to say is said.
using Greeted = std::optional<Caller>;
boost::asio::awaitable<Greeted> greet(SocketStream& stream, const ServerLimits& limits);
boost::asio::awaitable<Greeted> greet(TlsStream& stream, const ServerLimits& limits);

// What the server keeps of a connection, whatever its stream.
class OpenConnection {
 public:
  virtual ~OpenConnection() = default;
  virtual boost::asio::awaitable<void> run() = 0;
  virtual void close() = 0;  // its coroutine then ends by itself
  // Since when it owes us a whole request; nullopt while it is at work. Who dribbles is idle.
  std::optional<std::chrono::steady_clock::time_point> idle_since;
};

template <typename Stream>
class Connection final : public OpenConnection {
 public:
  Connection(Stream stream, const Handler& handler, const ServerLimits& limits)
      : stream_(std::move(stream)), handler_(handler), limits_(limits) {}

  boost::asio::awaitable<void> run() override {
    idle_since = std::chrono::steady_clock::now();
    Greeted greeted = co_await greet(stream_, limits_);
    // Not `while (co_await …) {}`: g++ 12 makes a frame of it that cannot be resumed.
    bool more = greeted.has_value();
    if (more) caller_ = std::move(*greeted);
    while (more) more = co_await serve_one();
    idle_since = std::chrono::steady_clock::now();
    co_await linger();
    close();
  }

  void close() override {
    error_code ignored;
    lowest().socket().close(ignored);
  }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  auto& lowest() { return boost::beast::get_lowest_layer(stream_); }

  // One request and its answer; false: no more of them.
  boost::asio::awaitable<bool> serve_one() {
    idle_since = std::chrono::steady_clock::now();
    if (!co_await wait_for_first_byte()) co_return false;
    Parser parser;
    parser.body_limit(limits::kHttpBodyBytes);
    const error_code error = co_await read_request(parser);
    idle_since.reset();
    if (error) {
      if (const auto failure = read_failure(error)) co_await refuse(*failure);
      co_return false;
    }
    const bool head_only = parser.get().method() == boost::beast::http::verb::head;
    const bool keep_alive = parser.get().keep_alive();
    Result<Request> request = take_request(parser.release());
    if (!request) {
      co_await refuse(request.error());
      co_return false;
    }
    request->caller = caller_;
    const Answer answer = co_await handler_(std::move(*request));
    if (answer.stream) {
      co_await send_stream(answer, head_only);
      co_return false;
    }
    co_return co_await send(answer.response, keep_alive, head_only);
  }

  boost::asio::awaitable<bool> wait_for_first_byte() {
    if (buffer_.size() > 0) co_return true;  // pipelined behind the last request
    lowest().expires_after(limits_.idle);
    const auto [error, count] = co_await stream_.async_read_some(buffer_.prepare(4096), kAsync);
    buffer_.commit(count);
    co_return !error;
  }

  boost::asio::awaitable<error_code> read_request(Parser& parser) {
    namespace beast_http = boost::beast::http;
    lowest().expires_after(limits_.header);
    const auto [error, count] =
        co_await beast_http::async_read_header(stream_, buffer_, parser, kAsync);
    if (error) co_return error;
    if (parser.get()[beast_http::field::expect] == "100-continue") {
      constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      if (const error_code failed = co_await write_all(stream_, kContinue, limits_.stall))
        co_return failed;
    }
    lowest().expires_after(limits_.body);
    const auto [body_error, body_count] =
        co_await beast_http::async_read(stream_, buffer_, parser, kAsync);
    co_return body_error;
  }

  boost::asio::awaitable<bool> send(const Response& response, bool keep_alive, bool head_only) {
    std::string bytes = render_answer_head(response.status, response.body.size(), keep_alive);
    if (!head_only) bytes += response.body;
    const error_code error = co_await write_all(stream_, bytes, limits_.stall);
    co_return !error && keep_alive;
  }

  boost::asio::awaitable<void> refuse(const Error& error) {
    co_await send(error_response(error), false, false);
  }

  boost::asio::awaitable<void> send_stream(const Answer& answer, bool head_only) {
    using namespace boost::asio::experimental::awaitable_operators;
    const std::string head = render_answer_head(answer.response.status, std::nullopt, false);
    if (co_await write_all(stream_, head, limits_.stall) || head_only) co_return;
    // Whichever ends first cancels the other: a peer that left ends the source, also while nothing
    // is to be said. Nothing is owed to us from here on, so the read waits for ever; and it comes
    // first, because a write's deadline is also that of a read begun after it.
    lowest().expires_never();
    co_await (discard_until_gone(stream_) || pump(*answer.stream));
  }

  boost::asio::awaitable<void> pump(LineSource& source) {
    while (true) {
      const std::optional<std::string> line = co_await source.next();
      const std::string bytes = line ? render_chunk(*line) : "0\r\n\r\n";
      if (co_await write_all(stream_, bytes, limits_.stall) || !line) co_return;
    }
  }

  static std::string render_chunk(const std::string& line) {
    char size[24];
    const int digits = std::snprintf(size, sizeof size, "%zx\r\n", line.size() + 1);
    return std::string(size, static_cast<size_t>(digits)).append(line).append("\n\r\n");
  }

  template <typename Layer>
  static boost::asio::awaitable<void> discard_until_gone(Layer& layer) {
    char bytes[4096];
    while (true) {
      const auto [error, count] =
          co_await layer.async_read_some(boost::asio::buffer(bytes), kAsync);
      if (error) co_return;
    }
  }

  // Takes what the peer still sends after our last word: a close with bytes unread could cost it
  // that word. Below TLS, without its close_notify: HTTP's lengths say where an answer ends.
  boost::asio::awaitable<void> linger() {
    error_code failed;
    lowest().socket().shutdown(boost::asio::socket_base::shutdown_send, failed);
    if (failed) co_return;
    lowest().expires_after(limits_.linger);
    co_await discard_until_gone(lowest());
  }

  Stream stream_;
  Caller caller_;
  boost::beast::flat_buffer buffer_;
  const Handler& handler_;
  const ServerLimits& limits_;
};

}  // namespace jitwg::http
