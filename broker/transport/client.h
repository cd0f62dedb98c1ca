// HTTP client. `where` is "unix:PATH" (TLS endpoints "https://HOST:PORT" come by the same code;
// until then they are bad_argument). Every call has a deadline; a failure to connect, speak or
// finish in time is broker_unavailable with the cause.
//
// A request may reach the server twice: when a kept connection turns out closed before any byte of
// the answer, it is sent once more on a new one. Safe only because every call of broker/PROTOCOL.md
// is idempotent.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "broker/transport/http.h"

namespace jitwg::http {

// One kept-alive connection. One call at a time; outlives the calls in progress.
class Client {
 public:
  Client(boost::asio::io_context& io, std::string where);
  ~Client();
  Client(Client&&) noexcept;

  boost::asio::awaitable<Result<Response>> call(Request request,
                                                std::chrono::milliseconds deadline);

  // Opens a stream: answers after the head (a non-200 is returned as error), then lines come by
  // next_line().
  boost::asio::awaitable<Result<void>> open_stream(Request request,
                                                   std::chrono::milliseconds deadline);
  // The next line without its newline; broker_unavailable when the stream ended or stayed silent
  // for `deadline`, too_large beyond limits::kStreamLineBytes. After a failure the stream is over.
  boost::asio::awaitable<Result<std::string>> next_line(std::chrono::milliseconds deadline);
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// For programs without an event loop (the CLI): connects, calls, closes.
Result<Response> call_once(const std::string& where, Request request,
                           std::chrono::milliseconds deadline);

}  // namespace jitwg::http
