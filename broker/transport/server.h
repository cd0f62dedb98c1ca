// The broker's HTTP server: one accept loop that no peer can block, deadlines for header and body, keep-alive.
// Runs on the caller's io_context, single-threaded. Written over Asio's generic stream, so that a TLS listener is
// one more accept loop over the same session code.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

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

class Server {
 public:
  // `listener`: a listening Unix stream socket. `handler` outlives the server and never throws.
  Server(boost::asio::io_context& io, Fd listener, Handler handler);
  ~Server();
  void start();
  void stop();  // closes the listener and all connections

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace jitwg::http
