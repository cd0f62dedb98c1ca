#include "broker/cli/watch.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <deque>

#include "broker/cli/api.h"
#include "broker/transport/client.h"

namespace jitwg::cli {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::seconds kLongPoll{30};    // PROTOCOL: at most 60
constexpr std::chrono::seconds kPollMargin{10};  // for the answer to arrive
constexpr std::chrono::seconds kPause{
    2};  // between two questions that went wrong, or came back at once

}  // namespace

struct SessionWatch::Impl {
  Impl(http::BrokerAddress broker, SessionId session, std::string bearer)
      : client(io, std::move(broker)), id(std::move(session)), token(std::move(bearer)) {
    await_signal();
  }

  void await_signal() {
    signals.async_wait([this](const boost::system::error_code& error, int) {
      if (error) return;
      events.push_back({Kind::signal, {}, {}});
      await_signal();
    });
  }

  // One question. Whatever comes of it, the next starts no sooner than `next`.
  asio::awaitable<void> ask(State known) {
    asio::steady_timer pause(io, next);
    boost::system::error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    next = Steady::now() + kPause;
    http::Request request = session_request(id, token);
    request.query = {{"wait", std::to_string(kLongPoll.count())},
                     {"state", std::string(name(known))}};
    const auto response = co_await client.call(std::move(request), kLongPoll + kPollMargin);
    auto value = response ? read_answer(*response) : tl::unexpected<Error>(response.error());
    auto session = value ? parse_session_object(*value) : tl::unexpected<Error>(value.error());
    if (session && session->session != id)
      session = fail(Code::corrupt, "the broker answered with another session");
    if (!session) {
      events.push_back({Kind::failure, {}, session.error()});
    } else if (session->state != known) {
      next = Steady::now();
      events.push_back({Kind::session, std::move(*session), {}});
    }
    asking = false;
  }

  asio::io_context io;
  asio::signal_set signals{io, SIGINT, SIGTERM, SIGHUP};
  asio::steady_timer timer{io};
  http::Client client;
  SessionId id;
  std::string token;
  std::deque<Event> events;
  Steady::time_point next = Steady::now();
  bool asking = false;
};

SessionWatch::SessionWatch(http::BrokerAddress broker, SessionId id, std::string token)
    : impl_(std::make_unique<Impl>(std::move(broker), std::move(id), std::move(token))) {}
SessionWatch::~SessionWatch() = default;

SessionWatch::Event SessionWatch::wait(State known, std::chrono::milliseconds at_most) {
  bool passed = false;
  impl_->timer.expires_after(at_most);
  impl_->timer.async_wait(
      [&passed](const boost::system::error_code& error) { passed = passed || !error; });
  while (impl_->events.empty() && !passed) {
    if (!impl_->asking) {
      impl_->asking = true;
      asio::co_spawn(impl_->io, impl_->ask(known), asio::detached);
    }
    impl_->io.run_one();
  }
  impl_->timer.cancel();
  impl_->io.poll();  // the timer's handler refers to `passed`: it must run before we leave
  if (impl_->events.empty()) return {};
  Event event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}

bool SessionWatch::is_signalled() {
  impl_->io.poll();
  return std::ranges::any_of(impl_->events,
                             [](const Event& event) { return event.kind == Kind::signal; });
}

}  // namespace jitwg::cli
