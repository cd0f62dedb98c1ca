#include "broker/daemon/node_hub.h"

#include <sodium.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "broker/daemon/use_cases.h"

namespace jitwg::broker {
namespace {

namespace asio = boost::asio;
constexpr auto kHeartbeat = std::chrono::seconds(5);

// Random, so that a revision of an earlier run, whatever its clock was, is none of this one. Within
// the 53 bits that every JSON reader keeps.
int64_t first_revision() { return (int64_t{1} + randombytes_random()) << 20; }

}  // namespace

class NodeHub::Stream final : public http::LineSource {
 public:
  Stream(std::shared_ptr<NodeHub> hub, std::string name, bool right)
      : node(std::move(name)), clock_is_right(right), wake(hub->io_), hub_(std::move(hub)) {}
  ~Stream() override { hub_->left(*this); }

  asio::awaitable<std::optional<std::string>> next() override {
    if (!ended && !first && pending.empty()) {
      wake.expires_after(kHeartbeat);
      boost::system::error_code woken;  // by a change, or by the heartbeat
      co_await wake.async_wait(asio::redirect_error(asio::use_awaitable, woken));
      const auto cancellation = co_await asio::this_coro::cancellation_state;
      if (cancellation.cancelled() != asio::cancellation_type::none) ended = true;
    }
    if (ended) co_return std::nullopt;
    co_return node::render_update(hub_->take_update(*this));
  }

  void end() {
    ended = true;
    wake.cancel();
  }

  const std::string node;
  const bool clock_is_right;
  std::set<SessionId> pending;
  std::optional<node::Update::Kind> first;  // still to be said, also when it is empty
  bool ended = false;
  asio::steady_timer wake;

 private:
  const std::shared_ptr<NodeHub> hub_;
};

NodeHub::NodeHub(asio::io_context& io, EventSink& events, const Clock& clock)
    : io_(io), events_(events), clock_(clock), first_(first_revision()) {}

void NodeHub::update(const store::Session& session) {
  const bool closing = session.state == State::closing;
  const auto known = live_.find(session.id);
  if (!is_live(session.state)) {
    if (known == live_.end()) return;
    ++revision_;
    for (const std::string& node : known->second.nodes) removals_[node] = revision_;
    live_.erase(known);
    return;
  }
  if (!closing && !session.grant) return;  // opening: nobody knows of it yet
  Held held{{.session = session.id}, enforcement_points(session)};
  if (closing)
    held.entry.reason = *session.close_reason;
  else
    held.entry.grant = session.grant;
  if (known != live_.end() && known->second.entry == held.entry) return;
  held.revision = ++revision_;
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
  using Kind = node::Update::Kind;
  node::Update update{.revision = revision_, .now = clock_.now()};
  update.kind = stream.first.value_or(stream.pending.empty() ? Kind::heartbeat : Kind::set);
  for (const SessionId& id : stream.pending)
    if (const auto found = live_.find(id); found != live_.end())
      update.entries.push_back(found->second.entry);
  stream.first.reset();
  stream.pending.clear();
  return update;
}

// What a node holds at a revision, and the changes since, say all that a snapshot does; unless a
// session was dropped meanwhile, for only a snapshot says what is no more.
bool NodeHub::knows(const std::string& node, int64_t revision) const {
  const auto removal = removals_.find(node);
  const int64_t oldest = removal == removals_.end() ? first_ : removal->second;
  return oldest <= revision && revision <= revision_;
}

std::shared_ptr<http::LineSource> NodeHub::watch(const std::string& node, int64_t held_revision,
                                                 bool clock_is_right) {
  auto stream = std::make_shared<Stream>(shared_from_this(), node, clock_is_right);
  const bool resumed = knows(node, held_revision);
  stream->first = resumed ? node::Update::Kind::set : node::Update::Kind::snapshot;
  for (const auto& [id, held] : live_)
    if (held.nodes.contains(node) && (!resumed || held.revision > held_revision))
      stream->pending.insert(id);
  Stream*& newest = streams_[node];
  if (newest) newest->end();
  const bool replaces = std::exchange(newest, stream.get()) != nullptr;
  const bool is_new = seen_.insert(node).second;
  emit(is_new ? EventName::node_joined : EventName::node_back, node,
       node + (is_new     ? " watches"
               : replaces ? " watches from another connection, its older one ends"
                          : " watches again"));
  return stream;
}

bool NodeHub::is_connected(const std::string& node) const {
  const auto found = streams_.find(node);
  return found != streams_.end() && found->second->clock_is_right;
}

bool NodeHub::has_wrong_clock(const std::string& node) const {
  const auto found = streams_.find(node);
  return found != streams_.end() && !found->second->clock_is_right;
}

void NodeHub::drop_strangers(const Rules& before, const Rules& after) {
  for (const auto& [node, stream] : streams_) {
    const ssh::PublicKey* let_in = before.node_key(node);
    const ssh::PublicKey* now = after.node_key(node);
    if (!let_in || !now || *let_in != *now) stream->end();
  }
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
