// A wait that somebody else may cut short. A ring while nobody waits is kept for the next wait.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <utility>

namespace jitwg::node {

class Alarm {
 public:
  explicit Alarm(boost::asio::io_context& io) : timer_(io) {}

  void ring() {
    rung_ = true;
    timer_.cancel();
  }
  // True when it was rung, false when the time was up (or the coroutine is cancelled). One waiter.
  boost::asio::awaitable<bool> wait(std::chrono::milliseconds at_most) {
    if (!rung_) {
      timer_.expires_after(at_most);
      co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
    co_return std::exchange(rung_, false);
  }

 private:
  boost::asio::steady_timer timer_;
  bool rung_ = false;
};

}  // namespace jitwg::node
