// broker/PROTOCOL.md's calls: path to use case, value to JSON, error to status. Nothing is decided
// here.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "broker/daemon/broker.h"
#include "broker/daemon/node_door.h"
#include "broker/transport/server.h"

namespace jitwg::broker {

class Routes {
 public:
  explicit Routes(Broker& broker) : broker_(broker), door_(broker.events()) {}

  // For http::Server. One call; every failure is an answer.
  boost::asio::awaitable<http::Answer> handle(http::Request request);

 private:
  using Body = Result<json::value>;
  boost::asio::awaitable<Body> dispatch(const http::Request& request, RulesPtr rules);
  boost::asio::awaitable<Body> post_statement(const http::Request& request, RulesPtr rules);
  boost::asio::awaitable<Body> get_session(const http::Request& request, RulesPtr rules,
                                           SessionId id);
  boost::asio::awaitable<Body> activate(const http::Request& request, SessionId id);
  boost::asio::awaitable<Body> give_back(const http::Request& request, SessionId id);
  boost::asio::awaitable<Body> get_policy(const http::Request& request, RulesPtr rules);
  boost::asio::awaitable<Body> post_report(const http::Request& request, RulesPtr rules);
  Result<std::shared_ptr<http::LineSource>> open_watch(const http::Request& request,
                                                       const Rules& rules);
  // What was refused, as an event; `who` and `session` only where a signature vouches for them.
  void refused(const Error& error, const std::string& who, const std::optional<SessionId>& session);

  Broker& broker_;
  NodeDoor door_;
};

}  // namespace jitwg::broker
