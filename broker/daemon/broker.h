// The broker's event loop: runs use cases as store tasks, tells nodes and waiters after each
// commit, and drives what takes time: opening a session, fetching the rules, telling the signer,
// ending what is due. One thread.
//
// Every step of a session is committed before its effect leaves, so that a kill at any moment
// leaves a state from which the next start goes on: `opening` is finished or becomes `closing`,
// `closing` asks its nodes again.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "broker/base/limits.h"
#include "broker/daemon/node_hub.h"
#include "broker/daemon/signer_client.h"
#include "broker/daemon/use_cases.h"

namespace jitwg::broker {

struct Timing {
  std::chrono::milliseconds confirm_wait = limits::kConfirmWait;
  std::chrono::milliseconds signer_retry = std::chrono::seconds(5);
  std::chrono::milliseconds refresh = std::chrono::seconds(30);
  std::chrono::milliseconds tick = std::chrono::seconds(1);
};

class Broker {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // All outlive the broker; the store's thread must be idle or gone before the broker goes.
  Broker(boost::asio::io_context& io, store::Store& store, SignerClient& signer, EventSink& events,
         const Clock& clock, Timing timing = {});

  // Mirrors the live sessions, then starts the loops. `ready` is called once the rules were first
  // loaded.
  boost::asio::awaitable<Result<void>> start(std::function<void()> ready);

  // signer_unavailable until the signer was heard once.
  Result<RulesPtr> rules() const;
  NodeHub& nodes() { return *nodes_; }
  EventSink& events() { return events_; }
  const Clock& clock() const { return clock_; }

  // Runs `work` as one task; afterwards its events are out, and nodes and waiters have heard.
  template <typename T>
  boost::asio::awaitable<Result<T>> change(std::function<Result<T>(Change&)> work) {
    auto value = std::make_shared<std::optional<T>>();
    std::function<Result<void>(Change&)> task = [work = std::move(work),
                                                 value](Change& one) -> Result<void> {
      JITWG_ASSIGN(*value, work(one));
      return {};
    };
    const Result<void> done = co_await run(std::move(task));
    if (!done) co_return tl::unexpected<Error>(done.error());
    co_return std::move(**value);
  }
  boost::asio::awaitable<Result<void>> run(std::function<Result<void>(Change&)> work);

  // Opens an approved session and waits until it is active; joins an opening in progress; an active
  // one is the answer at once. no_gateway, no_jump_host (still approved), not_confirmed, the
  // signer's refusal, check_may_open's.
  boost::asio::awaitable<Result<store::Session>> activate(SessionId id);
  // Until the session changes, or the deadline.
  boost::asio::awaitable<void> wait_for_change(SessionId id, Deadline deadline);

  boost::asio::awaitable<Result<void>> refresh_rules();
  // The loop's next round of that is now.
  void refresh_soon();
  // One round of each; the loops call them, and tests do.
  boost::asio::awaitable<void> tick();
  boost::asio::awaitable<void> tell_signer();
  // From `opening` to `active`, `closing` or `closed`. Not `fresh`: found after a restart.
  boost::asio::awaitable<void> open(SessionId id, bool fresh);

 private:
  boost::asio::awaitable<void> refresh_loop(std::function<void()> ready);
  boost::asio::awaitable<void> tick_loop();
  boost::asio::awaitable<void> signer_loop();
  boost::asio::awaitable<Result<void>> ask_and_confirm(SessionId id, bool fresh);
  boost::asio::awaitable<Result<json::value>> ask_to_issue(SessionId id);
  boost::asio::awaitable<Result<json::value>> issue_question(SessionId id);
  Result<std::string> choose_gateway(const store::Session& session,
                                     const std::vector<store::Lock>& locks) const;
  void publish(const Effects& effects);
  void empty_stale_lists();
  // A loop that died would be missed by nobody: the program ends instead, and is started again.
  static void fatal(std::exception_ptr error);

  boost::asio::io_context& io_;
  store::Store& store_;
  SignerClient& signer_;
  EventSink& events_;
  const Clock& clock_;
  const Timing timing_;
  std::shared_ptr<NodeHub> nodes_;
  RulesPtr rules_;
  WallTime judged_at_{};      // when end_disallowed last ran
  std::string last_refusal_;  // of a refresh, said once
  std::unordered_map<SessionId, std::shared_ptr<boost::asio::steady_timer>> waiters_;
  std::unordered_set<SessionId> opening_;
  boost::asio::steady_timer signer_wake_, refresh_wake_;
  bool for_signer_ = false;
};

}  // namespace jitwg::broker
