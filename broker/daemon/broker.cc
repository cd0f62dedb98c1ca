#include "broker/daemon/broker.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "broker/base/encoding.h"
#include "broker/os/service.h"

namespace jitwg::broker {
namespace asio = boost::asio;

Broker::Broker(asio::io_context& io, store::Store& store, SignerClient& signer, EventSink& events,
               const Clock& clock, Timing timing)
    : io_(io),
      store_(store),
      signer_(signer),
      events_(events),
      clock_(clock),
      timing_(timing),
      nodes_(std::make_shared<NodeHub>(io, events, clock)),
      signer_wake_(io),
      refresh_wake_(io) {}

void Broker::refresh_soon() { refresh_wake_.cancel(); }

Result<RulesPtr> Broker::rules() const {
  if (!rules_)
    return fail(Code::signer_unavailable, "the signer has not been reached yet",
                "is jitwg-signer running?");
  return rules_;
}

void Broker::fatal(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

asio::awaitable<Result<void>> Broker::run(std::function<Result<void>(Change&)> work) {
  auto effects = std::make_shared<Effects>();
  const WallTime now = clock_.now();
  const auto initiate = [&](auto handler) {
    // std::function wants to be copyable, the handler is not.
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    store_.submit(
        [work = std::move(work), effects, now](store::Tx& tx) {
          Change change(tx, now, *effects);
          return work(change);
        },
        [this, effects, shared](Result<void> result) {
          asio::post(io_, [this, effects, shared, result = std::move(result)]() mutable {
            // In order of commit, before anybody acts on the result.
            if (result) publish(*effects);
            (*shared)(std::move(result));
          });
        });
  };
  Result<void> result =
      co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<void>)>(
          initiate, asio::use_awaitable);
  if (!result && kind(result.error().code) == Kind::internal)
    log(Level::error, result.error().render());
  co_return result;
}

void Broker::publish(const Effects& effects) {
  for (const Event& event : effects.events) events_.emit(event);
  for (const auto& [id, session] : effects.sessions) {
    nodes_->update(session);
    if (const auto waiting = waiters_.find(id); waiting != waiters_.end())
      waiting->second->cancel();
  }
  if (effects.for_signer) {
    for_signer_ = true;
    signer_wake_.cancel();
  }
}

asio::awaitable<void> Broker::wait_for_change(SessionId id, Deadline deadline) {
  // One timer a session, shared by all who wait; each looks at its own deadline when woken.
  std::shared_ptr<asio::steady_timer>& slot = waiters_[id];
  if (!slot) slot = std::make_shared<asio::steady_timer>(io_, Deadline::max());
  const std::shared_ptr<asio::steady_timer> changed = slot;
  asio::steady_timer late(io_, deadline);
  late.async_wait([weak = std::weak_ptr(changed)](const boost::system::error_code& cancelled) {
    if (const auto timer = weak.lock(); timer && !cancelled) timer->cancel();
  });
  boost::system::error_code woken;
  co_await changed->async_wait(asio::redirect_error(asio::use_awaitable, woken));
  // The map's own and ours: nobody else waits.
  if (const auto found = waiters_.find(id);
      found != waiters_.end() && found->second.use_count() <= 2)
    waiters_.erase(found);
}

asio::awaitable<Result<void>> Broker::start(std::function<void()> ready) {
  std::function<Result<std::vector<store::Session>>(Change&)> live = [](Change& change) {
    return change.tx.sessions({State::opening, State::active, State::closing}, {}, SIZE_MAX / 2);
  };
  const auto sessions = co_await change(std::move(live));
  if (!sessions) co_return tl::unexpected<Error>(sessions.error());
  for (const store::Session& session : *sessions) nodes_->update(session);
  asio::co_spawn(io_, refresh_loop(std::move(ready)), fatal);
  asio::co_spawn(io_, tick_loop(), fatal);
  asio::co_spawn(io_, signer_loop(), fatal);
  co_return Result<void>();
}

asio::awaitable<Result<void>> Broker::refresh_rules() {
  json::value question{{"op", "policy"}};
  const Result<json::value> answer = co_await signer_.ask(std::move(question));
  if (!answer) co_return tl::unexpected<Error>(answer.error());
  Result<RulesPtr> fetched = Rules::parse(*answer);
  if (!fetched) {
    // What runs stays: the signer goes by its own copy, and refuses what differs.
    if (const std::string text = fetched.error().render(); text != last_refusal_) {
      events_.emit({.name = EventName::policy_refused,
                    .code = fetched.error().code,
                    .text = fetched.error().message});
      last_refusal_ = text;
    }
    co_return tl::unexpected<Error>(fetched.error());
  }
  last_refusal_.clear();
  const WallTime now = clock_.now();
  const bool other = !rules_ || rules_->policy_bytes != (*fetched)->policy_bytes ||
                     rules_->people_bytes != (*fetched)->people_bytes ||
                     rules_->policy.digest != (*fetched)->policy.digest ||
                     rules_->ca != (*fetched)->ca;
  if (other) {
    if (rules_) nodes_->drop_strangers(*rules_, **fetched);
    rules_ = std::move(*fetched);
    events_.emit({.name = EventName::policy_loaded, .text = "policy " + rules_->policy.digest});
    std::function<Result<void>(Change&)> keep = [rules = rules_](Change& change) {
      std::string all = rules->policy.digest + rules->people_bytes;
      for (const ssh::PublicKey& key : rules->ca.all()) all += key.str();
      return change.tx.keep_rules({sha256_hex(all), rules->policy.digest, change.now, rules->answer});
    };
    co_await run(std::move(keep));  // for the record only, and a failure is logged: what follows is not held up
  }
  // Written again with the same people: they count for longer.
  if (!other && rules_->policy.stale_at() != (*fetched)->policy.stale_at()) rules_ = std::move(*fetched);
  if (!other && !rules_->validity_changed(judged_at_, now)) co_return Result<void>();
  std::function<Result<void>(Change&)> end = [rules = rules_](Change& change) {
    return end_disallowed(change, *rules);
  };
  const Result<void> ended = co_await run(std::move(end));
  if (ended) judged_at_ = now;
  co_return ended;
}

asio::awaitable<void> Broker::tell_signer() {
  std::function<Result<std::vector<store::Statement>>(Change&)> read = [](Change& change) {
    return change.tx.for_signer();
  };
  const auto waiting = co_await change(std::move(read));
  if (!waiting) co_return;
  for (const store::Statement& statement : *waiting) {
    json::value question{{"op", "apply"}, {"statement", render_document(statement.document)}};
    const Result<json::value> answer = co_await signer_.ask(std::move(question));
    std::optional<Error> refusal;
    if (!answer) {
      const Kind why = kind(answer.error().code);
      if (why == Kind::unavailable || why == Kind::internal) co_return;  // again later
      if (answer.error().code == Code::clock) co_return;  // the signer's clock will be set right
      refusal = answer.error();
      log(Level::warning, "the signer did not take a " + statement.type + " of " +
                              statement.person + ", statement " + statement.digest + ": " +
                              refusal->render());
      // Of a session that it never issued it knows nothing, and needs to know nothing.
      if (refusal->code != Code::unknown_session)
        events_.emit({.name = EventName::statement_refused,
                      .session = statement.session,
                      .person = statement.person,
                      .code = refusal->code,
                      .text = "the signer refused a " + statement.type + " that the broker took: " +
                              refusal->message});
    }
    std::function<Result<void>(Change&)> told = [digest = statement.digest,
                                                 refusal](Change& change) {
      return change.tx.told_signer(digest, change.now, refusal);
    };
    if (!co_await run(std::move(told))) co_return;
  }
}

void Broker::empty_stale_lists() {
  if (!rules_) return;
  const auto stale_at = rules_->policy.stale_at();
  if (!stale_at || clock_.now() < *stale_at) return;
  rules_ = rules_->at(clock_.now());
  for (const SyncedList& list : rules_->policy.lists)
    if (!list.problem.empty()) log(Level::warning, list.problem);
}

asio::awaitable<void> Broker::tick() {
  empty_stale_lists();
  std::function<Result<std::vector<store::Session>>(Change&)> work =
      [](Change& change) -> Result<std::vector<store::Session>> {
    JITWG_TRY(end_due(change));
    return change.tx.sessions({State::opening}, {}, SIZE_MAX / 2);
  };
  const auto opening = co_await change(std::move(work));
  if (!opening) co_return;
  // Whoever opened it is gone: an earlier run of this program, or a store that failed in between.
  for (const store::Session& session : *opening)
    if (rules_ && !opening_.contains(session.id))
      asio::co_spawn(io_, open(session.id, false), fatal);
}

asio::awaitable<void> Broker::refresh_loop(std::function<void()> ready) {
  std::string said;
  for (auto retry = std::chrono::milliseconds(100);;) {
    const Result<void> refreshed = co_await refresh_rules();
    if (rules_ && ready) std::exchange(ready, nullptr)();
    if (!refreshed && said != refreshed.error().message)
      log(Level::warning, refreshed.error().render());
    said = refreshed ? std::string() : refreshed.error().message;
    refresh_wake_.expires_after(rules_ ? timing_.refresh : retry);
    if (!rules_) retry = std::min(retry * 2, timing_.signer_retry);
    boost::system::error_code woken;
    co_await refresh_wake_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
}

asio::awaitable<void> Broker::tick_loop() {
  constexpr int kRemindEvery = 30;
  asio::steady_timer timer(io_);
  for (int count = 0;; count = (count + 1) % kRemindEvery) {
    co_await tick();
    if (count == 0)
      if (const size_t closing = nodes_->remind(); closing > 0)
        log(Level::warning,
            std::to_string(closing) + " sessions are closing and wait for their nodes");
    timer.expires_after(timing_.tick);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

asio::awaitable<void> Broker::signer_loop() {
  for (;;) {
    for_signer_ = false;
    if (rules_) co_await tell_signer();
    if (for_signer_) continue;  // one more came meanwhile
    signer_wake_.expires_after(timing_.signer_retry);
    boost::system::error_code woken;
    co_await signer_wake_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
}

}  // namespace jitwg::broker
