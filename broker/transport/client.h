// HTTP client. `where` is "unix:PATH" (TLS endpoints "https://HOST:PORT" come by the same code). Every call has a
// deadline; a failure to connect, speak or finish in time is broker_unavailable with the cause.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "broker/transport/http.h"

namespace jitwg::http {

// One kept-alive connection; reconnects when the peer closed it between calls. One call at a time.
class Client {
 public:
  Client(boost::asio::io_context& io, std::string where);
  ~Client();
  Client(Client&&) noexcept;

  boost::asio::awaitable<Result<Response>> call(Request request, std::chrono::milliseconds deadline);

  // Opens a stream: answers after the head (a non-200 is returned as error), then lines come by next_line().
  boost::asio::awaitable<Result<void>> open_stream(Request request, std::chrono::milliseconds deadline);
  // The next line without its newline; broker_unavailable when the stream ended or stayed silent for `deadline`.
  boost::asio::awaitable<Result<std::string>> next_line(std::chrono::milliseconds deadline);
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// For programs without an event loop (the CLI): connects, calls, closes.
Result<Response> call_once(const std::string& where, Request request, std::chrono::milliseconds deadline);

}  // namespace jitwg::http
