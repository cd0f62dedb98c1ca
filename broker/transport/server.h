// The broker's HTTP server: one accept loop that no peer can block, deadlines for header and body,
// keep-alive. Runs on the caller's io_context, single-threaded. A TLS listener is one more accept
// loop over the same connection code (connection.h). What is no HTTP is answered 400, a body over
// kHttpBodyBytes 413, both as JSON errors.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "broker/base/limits.h"
#include "broker/os/fd.h"
#include "broker/transport/http.h"

namespace jitwg::http {

// Produces a stream's lines. nullopt ends the stream. Destroyed when the peer has gone.
class LineSource {
 public:
  virtual ~LineSource() = default;
  virtual boost::asio::awaitable<std::optional<std::string>> next() = 0;
};

// Either a whole answer or a stream of lines (chunked, application/x-ndjson).
struct Answer {
  Response response;
  std::shared_ptr<LineSource> stream;  // when set, `response` gives the status only
};

using Handler = std::function<boost::asio::awaitable<Answer>(Request)>;

// How long and how much a peer may make us wait and hold; the defaults say why.
struct ServerLimits {
  std::chrono::milliseconds header = limits::kHeaderDeadline;
  std::chrono::milliseconds body = limits::kBodyDeadline;
  std::chrono::milliseconds idle = limits::kIdleDeadline;
  std::chrono::milliseconds stall = limits::kStallDeadline;
  std::chrono::milliseconds linger = limits::kLinger;
  // Beyond, the one that has owed a request for longest makes room; when all are at work, the newcomer is told so.
  size_t connections = limits::kConnections;
};

class Server {
 public:
  // `listener`: a listening stream socket. `handler` outlives the server and never throws. It, and
  // a LineSource's next(), are cancelled (operation_aborted out of what they await) by stop(), a
  // LineSource also when its peer goes.
  Server(boost::asio::io_context& io, Fd listener, Handler handler, ServerLimits limits = {});
  ~Server();
  void start();
  void stop();  // closes the listener and all connections

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace jitwg::http
