#include "broker/daemon/node_hub.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

namespace asio = boost::asio;
constexpr auto kHeartbeat = std::chrono::seconds(5);

}  // namespace

class NodeHub::Stream final : public http::LineSource {
 public:
  Stream(std::shared_ptr<NodeHub> hub, std::string name)
      : node(std::move(name)), wake(hub->io_), hub_(std::move(hub)) {}
  ~Stream() override { hub_->left(*this); }

  asio::awaitable<std::optional<std::string>> next() override {
    if (!ended && !snapshot_due && pending.empty()) {
      wake.expires_after(kHeartbeat);
      boost::system::error_code woken;  // by a change, or by the heartbeat
      co_await wake.async_wait(asio::redirect_error(asio::use_awaitable, woken));
      const auto cancellation = co_await asio::this_coro::cancellation_state;
      if (cancellation.cancelled() != asio::cancellation_type::none) ended = true;
    }
    if (ended) co_return std::nullopt;
    co_return node::render_update(hub_->take_update(*this));
  }

  const std::string node;
  std::set<SessionId> pending;
  bool snapshot_due = true;
  bool ended = false;
  asio::steady_timer wake;

 private:
  const std::shared_ptr<NodeHub> hub_;
};

// Revisions go on rising over a restart, as nodes remember the last one they saw.
NodeHub::NodeHub(asio::io_context& io, EventSink& events, const Clock& clock)
    : io_(io),
      events_(events),
      clock_(clock),
      revision_(clock.now().time_since_epoch().count() * 1000) {}

void NodeHub::update(const store::Session& session) {
  const bool closing = session.state == State::closing;
  if (!is_live(session.state)) {
    live_.erase(session.id);
    return;
  }
  if (!closing && !session.grant) return;  // opening: nobody knows of it yet
  Held held{{.session = session.id}, enforcement_points(session)};
  if (closing)
    held.entry.reason = *session.close_reason;
  else
    held.entry.grant = session.grant;
  const auto known = live_.find(session.id);
  if (known != live_.end() && known->second.entry == held.entry) return;
  ++revision_;
  changed(session.id, live_.insert_or_assign(session.id, std::move(held)).first->second);
}

void NodeHub::changed(const SessionId& id, const Held& held) {
  for (const std::string& node : held.nodes)
    if (const auto found = streams_.find(node); found != streams_.end()) {
      found->second->pending.insert(id);
      found->second->wake.cancel();
    }
}

size_t NodeHub::remind() {
  size_t closing = 0;
  for (const auto& [id, held] : live_) {
    if (held.entry.grant) continue;
    ++closing;
    changed(id, held);
  }
  return closing;
}

node::Update NodeHub::take_update(Stream& stream) {
  node::Update update{.revision = revision_, .now = clock_.now()};
  if (stream.snapshot_due) {
    update.kind = node::Update::Kind::snapshot;
    for (const auto& [id, held] : live_)
      if (held.nodes.contains(stream.node)) update.entries.push_back(held.entry);
  } else if (!stream.pending.empty()) {
    update.kind = node::Update::Kind::set;
    for (const SessionId& id : stream.pending)
      if (const auto found = live_.find(id); found != live_.end())
        update.entries.push_back(found->second.entry);
  }
  stream.snapshot_due = false;
  stream.pending.clear();
  return update;
}

std::shared_ptr<http::LineSource> NodeHub::watch(const std::string& node) {
  auto stream = std::make_shared<Stream>(shared_from_this(), node);
  if (const auto older = streams_.find(node); older != streams_.end()) {
    older->second->ended = true;
    older->second->wake.cancel();
    older->second = stream.get();
    return stream;
  }
  streams_[node] = stream.get();
  if (seen_.insert(node).second)
    emit(EventName::node_joined, node, node + " watches");
  else
    emit(EventName::node_back, node, node + " watches again");
  return stream;
}

void NodeHub::left(const Stream& stream) {
  const auto found = streams_.find(stream.node);
  if (found == streams_.end() || found->second != &stream) return;
  streams_.erase(found);
  emit(EventName::node_lost, stream.node, stream.node + " no longer watches");
}

void NodeHub::emit(EventName event, const std::string& node, const std::string& text) {
  events_.emit({.name = event, .node = node, .text = text});
}

}  // namespace jitwg::broker
