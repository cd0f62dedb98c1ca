// A daemon's event loop under a service manager: SIGTERM and SIGINT stop it, SIGHUP reloads, and while it turns the
// watchdog hears so (systemd.service(5), WatchdogSec=). A loop that hangs is silent, and is started anew.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>

#include "broker/base/error.h"

namespace jitwg::node {

class Supervised {
 public:
  // Both are called on the loop. What `reload` refuses is logged and stands in the status; what ran runs on.
  Supervised(boost::asio::io_context& io, std::function<void()> stop, std::function<Result<void>()> reload);

  // READY=1, now and after each reload.
  void ready(std::string status);

 private:
  void await_stop();
  void await_reload();
  void ping();

  const std::function<void()> stop_;
  const std::function<Result<void>()> reload_;
  boost::asio::signal_set stops_, reloads_;
  boost::asio::steady_timer next_ping_;
  std::string status_;
};

}  // namespace jitwg::node
