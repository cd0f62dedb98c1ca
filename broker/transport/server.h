// The broker's HTTP server: one accept loop that no peer can block, deadlines for header and body,
// keep-alive. Runs on the caller's io_context, single-threaded. One Server a listener, so that a flood
// at one costs the callers of another nothing but time. What is no HTTP is answered 400, a body over
// kHttpBodyBytes 413, both as JSON errors; what is no TLS on a TLS listener, 400 in plain HTTP.
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
  std::chrono::milliseconds unacknowledged = limits::kUnacknowledged;
  std::chrono::milliseconds linger = limits::kLinger;
  // Beyond, one that owes a request makes room: of the address with most such, the one that has owed it for
  // longest. When all are at work, the newcomer is told so.
  size_t connections = limits::kConnections;
};

// The key and certificate of TLS listeners (tls.h). bad_config: a PEM that is none, a passphrase, two
// that do not belong together.
struct ServerTls;
Result<std::shared_ptr<ServerTls>> make_server_tls(const std::string& certificate_pem,
                                                   const std::string& key_pem);
// Connections are made with `fresh` from now on.
void renew(ServerTls& tls, ServerTls&& fresh);

// A listening socket at "192.0.2.5:7443" or "[::]:7443", which takes IPv4 too. No names: what a daemon
// listens on should not depend on a resolver. bad_config; io when the system refuses.
Result<Fd> listen_tcp(const std::string& address);

class Server {
 public:
  // `listener`: a listening stream socket, of TLS when `tls` is set. `handler` outlives the server and never throws. It, and
  // a LineSource's next(), are cancelled (operation_aborted out of what they await) by stop(), a
  // LineSource also when its peer goes.
  Server(boost::asio::io_context& io, Fd listener, Handler handler, ServerLimits limits = {},
         std::shared_ptr<ServerTls> tls = nullptr);
  ~Server();
  void start();
  void stop();  // closes the listener and all connections

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace jitwg::http
