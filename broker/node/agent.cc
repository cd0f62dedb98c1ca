#include "broker/node/agent.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <functional>
#include <list>
#include <map>

#include "broker/base/encoding.h"
#include "broker/node/alarm.h"
#include "broker/node/backoff.h"
#include "broker/node/session_book.h"
#include "broker/os/clock.h"
#include "broker/os/service.h"
#include "broker/transport/client.h"
#include "ssh-ca/format/document.h"

namespace jitwg::node {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

// Three loops over one book: bring the machine in line, follow the broker's stream, hand in
// reports. Each awaits only its own alarm or its own connection; `stopped` is looked at after every
// wait, because enforcer and clock may be gone by then.
struct Agent::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& io_context, AgentConfig configuration, ssh::PrivateKey node_key,
       Enforcer& machine, SessionBook::IsMine mine, const Clock& wall_clock)
      : io(io_context),
        key(std::make_shared<const ssh::PrivateKey>(std::move(node_key))),
        config(proving(key, std::move(configuration))),
        enforcer(machine),
        is_mine(std::move(mine)),
        clock(wall_clock) {}

  Result<void> start();
  void stop();
  void spawn(asio::awaitable<void> loop);

  void converge();
  milliseconds until_next_converge() const;
  bool converge_is_due() const;
  asio::awaitable<void> converge_loop();

  asio::awaitable<void> subscribe_loop();
  asio::awaitable<std::optional<Error>> follow_stream(Backoff& backoff);
  void take(const Update& update);

  asio::awaitable<void> report_loop();
  asio::awaitable<bool> hand_in_reports(http::Client& client);
  void ring_for_reports();

  static AgentConfig proving(std::shared_ptr<const ssh::PrivateKey> key, AgentConfig config) {
    config.broker.node_key = std::move(key);
    return config;
  }
  NodeHead make_head() const;
  http::Request make_request(std::string path, std::string body) const;

  asio::io_context& io;
  const std::shared_ptr<const ssh::PrivateKey> key;
  AgentConfig config;
  uint64_t moves = 0;  // of the broker, to where it is now
  Enforcer& enforcer;
  const SessionBook::IsMine is_mine;
  const Clock& clock;

  std::optional<SessionBook> book;  // from start() on
  bool stopped = false;
  std::list<asio::cancellation_signal> cancels;  // one a loop

  Alarm converge_alarm{io};
  SteadyClock::time_point next_converge;
  milliseconds retry{0};    // zero: nothing is unfinished
  bool converge_asked = false;

  Alarm stream_alarm{io};
  std::optional<BootTime> heard;
  int64_t revision = 0;
  bool connected = false;
  std::string last_trouble;  // said already

  Alarm report_alarm{io};
  uint64_t last_owed = 0;
};

Result<void> Agent::Impl::start() {
  if (config.boot_id.empty()) {
    JITWG_ASSIGN(config.boot_id, read_boot_id());
  }
  JITWG_ASSIGN(GrantStore store, GrantStore::open(config.state_dir));
  book.emplace(config, std::move(store), enforcer, is_mine);
  JITWG_TRY(book->load(clock.instant()));
  converge();
  spawn(converge_loop());
  spawn(subscribe_loop());
  spawn(report_loop());
  return {};
}

void Agent::Impl::spawn(asio::awaitable<void> loop) {
  const auto ended = [self = shared_from_this()](const std::exception_ptr& thrown) {
    // A node whose loop has died enforces nothing: let the program end and be started again.
    if (thrown && !self->stopped) std::rethrow_exception(thrown);
  };
  asio::co_spawn(io, std::move(loop),
                 asio::bind_cancellation_slot(cancels.emplace_back().slot(), ended));
}

void Agent::Impl::stop() {
  stopped = true;
  for (asio::cancellation_signal& cancel : cancels) cancel.emit(asio::cancellation_type::terminal);
}

void Agent::Impl::converge() {
  const bool unfinished = book->converge(clock.instant());
  if (unfinished)
    retry = retry.count() == 0 ? config.timings.retry_first
                               : std::min(retry * 2, config.timings.retry_most);
  else
    retry = milliseconds(0);
  next_converge = SteadyClock::now() + (unfinished ? retry : config.timings.converge_every);
  ring_for_reports();
}

// Anybody may set the wall clock at any time: it is looked at every second, and in a session's last
// one more often.
milliseconds Agent::Impl::until_next_converge() const {
  constexpr milliseconds kLook(1000), kLastSecond(50);
  using std::chrono::duration_cast;
  auto wait = duration_cast<milliseconds>(next_converge - SteadyClock::now());
  if (const auto left = book->next_change(clock.instant()))
    wait = std::min({wait, kLook, std::max(*left - kLook, kLastSecond)});
  return std::max(wait, milliseconds(0));
}

bool Agent::Impl::converge_is_due() const {
  const auto left = book->next_change(clock.instant());
  return SteadyClock::now() >= next_converge || (left && *left <= milliseconds(0));
}

asio::awaitable<void> Agent::Impl::converge_loop() {
  while (true) {
    co_await converge_alarm.wait(until_next_converge());
    if (stopped) co_return;
    const bool asked = std::exchange(converge_asked, false);
    if (asked) retry = milliseconds(0);  // something is new: do not wait as for the old
    if (asked || converge_is_due()) converge();
  }
}

NodeHead Agent::Impl::make_head() const {
  constexpr size_t kNonceBytes = 16;
  return {config.realm, config.node, clock.now(), hex_encode(random_bytes(kNonceBytes))};
}

http::Request Agent::Impl::make_request(std::string path, std::string body) const {
  http::Request request;
  request.method = "POST";
  request.path = std::move(path);
  request.body = render_json(render_document(ssh::sign(std::move(body), kNodeNamespace, *key)));
  return request;
}

asio::awaitable<void> Agent::Impl::subscribe_loop() {
  Backoff backoff(config.timings.backoff_first, config.timings.backoff_most);
  while (true) {
    const std::optional<Error> trouble = co_await follow_stream(backoff);
    if (stopped) co_return;
    if (!trouble) continue;
    const std::string text = trouble->render();
    if (connected || text != last_trouble)
      log(Level::warning, "no word from the broker, serving what is stored: " + text);
    connected = false;
    last_trouble = text;
    co_await stream_alarm.wait(backoff.next());
    if (stopped) co_return;
  }
}

// One subscription; returns why it ended. nullopt: this node's clock has crossed the line of what the
// broker accepts, and a new subscription tells it so; or the broker is elsewhere now.
asio::awaitable<std::optional<Error>> Agent::Impl::follow_stream(Backoff& backoff) {
  const uint64_t moves_before = moves;
  http::Client client(io, config.broker);
  http::Request request = make_request("/v1/watch", render_watch({make_head(), revision, config.ca.lines()}));
  const Result<void> opened = co_await client.open_stream(std::move(request), config.timings.call);
  if (!opened) co_return opened.error();
  bool first = true;
  const bool resumes = revision != 0;
  const SteadyClock::time_point began = SteadyClock::now();
  while (true) {
    const Result<std::string> line = co_await client.next_line(config.timings.silence);
    if (stopped) co_return Error{Code::broker_unavailable, "stopped", {}};
    if (!line) co_return line.error();
    if (moves != moves_before) co_return std::nullopt;
    const Result<Update> update = parse_update(*line);
    if (!update) co_return update.error();
    if (first && update->kind != Update::Kind::snapshot &&
        !(resumes && update->kind == Update::Kind::set))
      co_return Error{Code::bad_value, "the broker's stream does not begin with a snapshot", {}};
    // Only the snapshot of a new subscription may: its sender has counted anew.
    if ((!first || update->kind == Update::Kind::set) && update->revision < revision) {
      revision = 0;
      co_return Error{Code::bad_value, "the broker's stream goes back to an older revision", {}};
    }
    const bool clock_was_off = book->clock_is_off();
    take(*update);
    if (!first && book->clock_is_off() != clock_was_off) co_return std::nullopt;
    if (first) {
      log(Level::info, "subscribed to the broker");
      connected = true;
      report_alarm.ring();
    }
    first = false;
    // Not at once: two machines with one key would throw each other out as fast as they can.
    if (SteadyClock::now() - began >= config.timings.backoff_most) backoff.reset();
  }
}

void Agent::Impl::take(const Update& update) {
  heard = boot_now();
  revision = update.revision;
  const Instant now = clock.instant();
  book->apply(update, now);
  if (update.kind != Update::Kind::heartbeat) {
    if (!book->open_fresh(now)) converge_asked = true;
    converge_alarm.ring();  // also for a session that ends before it would wake
  }
  ring_for_reports();
}

void Agent::Impl::ring_for_reports() {
  const uint64_t owed = book->last_owed();
  if (std::exchange(last_owed, owed) != owed) report_alarm.ring();
}

asio::awaitable<void> Agent::Impl::report_loop() {
  std::optional<http::Client> client;
  uint64_t moves_before = moves;
  Backoff backoff(config.timings.backoff_first, config.timings.backoff_most);
  while (true) {
    if (!client || std::exchange(moves_before, moves) != moves) client.emplace(io, config.broker);
    const bool all_taken = co_await hand_in_reports(*client);
    if (stopped) co_return;
    if (all_taken) backoff.reset();
    co_await report_alarm.wait(all_taken ? std::chrono::hours(1) : backoff.next());
    if (stopped) co_return;
  }
}

// False: something is left to be tried again. The newest finding goes first, also one that comes up
// meanwhile: somebody waits for it, whereas after a reconnect thousands may only confirm what was.
// A report that the broker refuses holds up no other.
asio::awaitable<bool> Agent::Impl::hand_in_reports(http::Client& client) {
  const uint64_t newest = book->last_owed();
  std::map<uint64_t, SessionId, std::greater<>> queue;
  for (const auto& [session, report] : book->owed()) queue.emplace(report.number, session);
  bool all_taken = true;
  for (const auto& [number, session] : queue) {
    const auto owed = book->owed().find(session);
    if (owed == book->owed().end() || owed->second.number != number) continue;
    http::Request request =
        make_request("/v1/report", render_report({make_head(), session, owed->second.finding}));
    const Result<http::Response> response =
        co_await client.call(std::move(request), config.timings.call);
    if (stopped || !response) co_return false;
    if (response->status == 200) {
      book->reported(session, number);
    } else {
      all_taken = false;
      if (book->complain_once(session, number))
        log(Level::warning, "the broker refuses a report, trying again: " +
                                http::parse_error_response(*response).render() +
                                " session=" + session.str());
    }
    if (book->last_owed() != newest) co_return false;  // the alarm has rung: begin anew at once
  }
  co_return all_taken;
}

Agent::Agent(asio::io_context& io, AgentConfig config, ssh::PrivateKey node_key, Enforcer& enforcer,
             std::function<bool(const Grant&, const std::string&)> is_mine, const Clock& clock)
    : impl_(std::make_shared<Impl>(io, std::move(config), std::move(node_key), enforcer,
                                   std::move(is_mine), clock)) {}

Agent::~Agent() { impl_->stop(); }

Result<void> Agent::start() { return impl_->start(); }

Result<void> Agent::reload(const Config& config) {
  JITWG_ASSIGN(const Config now, config.load_again());
  JITWG_ASSIGN(http::BrokerAddress address, http::read_broker_address(now));
  address.node_key = impl_->key;
  impl_->config.broker = std::move(address);
  ++impl_->moves;
  for (Alarm* alarm : {&impl_->converge_alarm, &impl_->stream_alarm, &impl_->report_alarm})
    alarm->ring();
  return {};
}

void Agent::poke() {
  impl_->converge_asked = true;
  impl_->converge_alarm.ring();
}

std::vector<Wanted> Agent::sessions() const {
  return impl_->book ? impl_->book->sessions() : std::vector<Wanted>{};
}

int64_t Agent::revision() const { return impl_->revision; }

std::optional<Seconds> Agent::silence() const {
  if (!impl_->heard) return std::nullopt;
  return std::chrono::duration_cast<Seconds>(boot_now() - *impl_->heard);
}

}  // namespace jitwg::node
