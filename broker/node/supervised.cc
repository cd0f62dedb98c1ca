#include "broker/node/supervised.h"

#include <csignal>

#include "broker/os/service.h"

namespace jitwg::node {

using boost::system::error_code;

Supervised::Supervised(boost::asio::io_context& io, std::function<void()> stop,
                       std::function<Result<void>()> reload)
    : stop_(std::move(stop)),
      reload_(std::move(reload)),
      stops_(io, SIGTERM, SIGINT),
      reloads_(io, SIGHUP),
      next_ping_(io) {
  await_stop();
  await_reload();
  ping();
}

void Supervised::ready(std::string status) {
  status_ = std::move(status);
  notify_ready(status_);
}

void Supervised::await_stop() {
  stops_.async_wait([this](const error_code& failed, int) {
    if (failed) return;
    notify("STOPPING=1");
    stop_();
  });
}

void Supervised::await_reload() {
  reloads_.async_wait([this](const error_code& failed, int) {
    if (failed) return;
    notify("RELOADING=1");
    const Result<void> done = reload_();
    if (!done) log(Level::error, "reload refused, what ran runs on: " + done.error().render());
    notify_ready(done ? status_ : status_ + "; reload refused: " + done.error().render());
    await_reload();
  });
}

void Supervised::ping() {
  notify("WATCHDOG=1");
  next_ping_.expires_after(watchdog_interval());
  next_ping_.async_wait([this](const error_code& stopped) {
    if (!stopped) ping();
  });
}

}  // namespace jitwg::node
