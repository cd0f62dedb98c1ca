// HTTP client, over a Unix socket or TLS (broker_address.h). Every call has a deadline; a failure to
// connect, speak or finish in time is broker_unavailable with the cause, a broker that does not prove
// the key it should untrusted_broker. A name is resolved anew for each connection.
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

#include "broker/transport/broker_address.h"
#include "broker/transport/http.h"

namespace jitwg::http {

// One kept-alive connection. One call at a time; outlives the calls in progress.
class Client {
 public:
  Client(boost::asio::io_context& io, BrokerAddress address);
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
Result<Response> call_once(const BrokerAddress& address, Request request,
                           std::chrono::milliseconds deadline);

}  // namespace jitwg::http
