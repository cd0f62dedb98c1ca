#include "broker/node/agent.h"

#include <boost/asio/as_tuple.hpp>
#include <deque>

#include "broker/base/limits.h"
#include "broker/node/node_documents.h"
#include "broker/transport/server.h"
#include "ssh-ca/format/document.h"
#include "tests/unit/broker/node/node_fixture.h"
#include "tests/unit/broker/transport/http_fixture.h"

namespace jitwg::node {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using http::listen_at;
using http::turn_until;

// The broker's side of the protocol: takes signed watches and reports, streams what the test says.
class FakeBroker {
 public:
  FakeBroker(asio::io_context& io, const std::string& socket, ssh::PublicKey node_key)
      : io_(io),
        node_key_(std::move(node_key)),
        server_(io, listen_at(socket),
                [this](http::Request request) { return answer(std::move(request)); }) {
    server_.start();
  }
  ~FakeBroker() { server_.stop(); }

  void send(const Update& update) { send_line(render_update(update)); }
  void send_line(const std::string& line) {
    if (!streams.empty()) streams.back()->push(line);
  }
  bool has(const SessionId& session, Reported state) const {
    for (const Report& report : reports)
      if (report.session == session && report.finding.state == state) return true;
    return false;
  }

  Update greeting{Update::Kind::snapshot, 1, {}, {}};  // the first line of each stream
  bool greets = true;
  bool takes_reports = true;
  std::vector<Watch> watches;
  std::vector<Report> reports;
  std::vector<Code> bad_documents;
  int refused_reports = 0;
  std::function<void()> on_report;

 private:
  class Lines final : public http::LineSource {
   public:
    explicit Lines(asio::io_context& io) : pushed_(io) {}
    void push(const std::string& line) {
      lines_.push_back(line);
      pushed_.cancel();
    }
    asio::awaitable<std::optional<std::string>> next() override {
      while (lines_.empty()) {
        pushed_.expires_at(asio::steady_timer::time_point::max());
        co_await pushed_.async_wait(asio::as_tuple(asio::use_awaitable));
      }
      std::string line = lines_.front();
      lines_.pop_front();
      co_return line;
    }

   private:
    asio::steady_timer pushed_;
    std::deque<std::string> lines_;
  };

  Result<ssh::PublicKey> key_of(std::string_view node) const {
    if (node == "gw1") return node_key_;
    return fail(Code::wrong_node, "no such node");
  }

  Result<void> take_watch(const ssh::SignedDocument& document) {
    JITWG_ASSIGN(Watch watch,
                 verify_watch(document, "lab", [this](auto node) { return key_of(node); }));
    watches.push_back(watch);
    streams.push_back(std::make_shared<Lines>(io_));
    if (greets) streams.back()->push(render_update(greeting));
    return {};
  }
  Result<void> take_report(const ssh::SignedDocument& document) {
    JITWG_ASSIGN(Report report,
                 verify_report(document, "lab", [this](auto node) { return key_of(node); }));
    if (!takes_reports) {
      ++refused_reports;
      return fail(Code::unknown_session, "not now");
    }
    reports.push_back(report);
    if (on_report) on_report();
    return {};
  }

  asio::awaitable<http::Answer> answer(http::Request request) {
    http::Answer result;
    result.response.body = "{\"accepted\":true}";
    const auto document =
        parse_document(*parse_json(request.body, limits::kHttpBodyBytes), "document");
    const bool watch = request.path == "/v1/watch";
    const Result<void> taken = watch ? take_watch(*document) : take_report(*document);
    if (!taken) {
      result.response = http::error_response(taken.error());
      if (taken.error().code != Code::unknown_session) bad_documents.push_back(taken.error().code);
    } else if (watch) {
      result.stream = streams.back();
    }
    co_return result;
  }

  asio::io_context& io_;
  const ssh::PublicKey node_key_;
  http::Server server_;
  std::vector<std::shared_ptr<Lines>> streams;
};

class AgentTest : public NodeTest {
 protected:
  AgentTest() {
    timings.retry_first = 5ms;
    timings.retry_most = 20ms;
    timings.backoff_first = 5ms;
    timings.backoff_most = 20ms;
  }
  void start_broker(std::vector<Entry> entries = {}) {
    broker = std::make_unique<FakeBroker>(io, directory + "/broker.sock", node_key.public_key());
    broker->greeting = snapshot(std::move(entries));
  }
  void stop_broker() {
    broker.reset();
    std::filesystem::remove(directory + "/broker.sock");
  }
  void start_agent() {
    AgentConfig agent_config = config();
    agent_config.timings = timings;
    auto key = ssh::PrivateKey::parse_openssh(node_key.render_openssh(""));
    agent.emplace(io, std::move(agent_config), std::move(*key), enforcer, is_mine, clock);
    ASSERT_TRUE(agent->start());
  }
  testing::AssertionResult becomes(const std::function<bool()>& done) {
    if (turn_until(io, done)) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "it did not";
  }

  asio::io_context io;
  AgentTimings timings;
  const ssh::PrivateKey node_key = ssh::PrivateKey::generate();
  std::unique_ptr<FakeBroker> broker;
  std::optional<Agent> agent;
};

TEST_F(AgentTest, AGrantIsOpenedAndConfirmed) {
  const Grant g = grant();
  start_broker();
  start_agent();
  EXPECT_EQ(agent->silence(), std::nullopt);
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 1; }));
  broker->send(set({open(g)}));
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  EXPECT_EQ(enforcer.open, std::set{g.session});
  EXPECT_EQ(agent->sessions().size(), 1u);
  EXPECT_EQ(agent->silence(), Seconds(0));
  EXPECT_TRUE(broker->bad_documents.empty());
}

TEST_F(AgentTest, RevokedItIsClosedAndReportedWithEvidence) {
  const Grant g = grant();
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  enforcer.stuck = {g.session};
  broker->send(set({closed(g.session)}));
  ASSERT_TRUE(becomes([&] { return enforcer.converges > 6; })) << "it tries again by itself";
  EXPECT_FALSE(broker->has(g.session, Reported::closed));
  enforcer.stuck.clear();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::closed); }));
  EXPECT_EQ(broker->reports.back().finding.evidence, enforcer.kNothing);
  EXPECT_TRUE(agent->sessions().empty());
}

TEST_F(AgentTest, ItServesAndEndsStoredGrantsWithoutABroker) {
  const Grant g = grant(Seconds(60));
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  agent.reset();
  stop_broker();
  enforcer.open.clear();
  start_agent();
  EXPECT_EQ(enforcer.open, std::set{g.session}) << "before any connection";
  clock.time = g.not_after - Seconds(1);
  agent->poke();
  ASSERT_TRUE(becomes([&, before = enforcer.converges] { return enforcer.converges > before; }));
  EXPECT_EQ(enforcer.open, std::set{g.session});
  clock.time = g.not_after;  // and nobody pokes
  ASSERT_TRUE(becomes([&] { return enforcer.open.empty(); }));
  EXPECT_EQ(enforcer.reasons.at(g.session), CloseReason::expired);
}

TEST_F(AgentTest, AClockSetAheadIsNoticedByItself) {
  const Grant g = grant(Seconds(3600));
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  clock.time += std::chrono::hours(24);  // far from any end, and from the next look
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(becomes([&] { return enforcer.open.empty(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s) << "the next look is 30 s away";
}

TEST_F(AgentTest, AReportIsHandedInWhenTheBrokerIsBack) {
  const Grant g = grant(Seconds(60));
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  stop_broker();
  clock.time = g.not_after;
  agent->poke();
  ASSERT_TRUE(becomes([&] { return enforcer.open.empty(); }));
  agent.reset();
  start_agent();  // a restart does not lose it
  start_broker();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::closed); }));
}

TEST_F(AgentTest, ARefusedReportIsTriedAgainAndHoldsUpNoOther) {
  const Grant g = grant();
  start_broker({open(g)});
  broker->takes_reports = false;
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->refused_reports >= 3; }));
  broker->takes_reports = true;
  EXPECT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
}

TEST_F(AgentTest, TheNewestFindingIsHandedInFirst) {
  std::vector<Entry> entries;
  for (int i = 0; i < 20; ++i) entries.push_back(open(grant()));
  start_broker(entries);
  const Grant last = grant();
  broker->on_report = [&, told = false]() mutable {
    if (!std::exchange(told, true)) broker->send(set({open(last)}));
  };
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->reports.size() == 21; }));
  const auto place =
      std::find_if(broker->reports.begin(), broker->reports.end(),
                   [&](const Report& report) { return report.session == last.session; });
  EXPECT_LT(place - broker->reports.begin(), 10) << "it does not wait for the other confirmations";
}

TEST_F(AgentTest, AStreamThatGoesBackIsLeftForASnapshot) {
  const Grant g = grant(), late = grant();
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  Update update = set({});
  update.revision = 7;
  broker->send(update);
  update = set({open(late)});
  update.revision = 6;
  broker->send(update);
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 2; }));
  EXPECT_EQ(broker->watches.back().revision, 0) << "it holds nothing that it could build on";
  ASSERT_TRUE(becomes([&] { return agent->silence() == Seconds(0) && broker->reports.size() > 1; }));
  EXPECT_EQ(enforcer.open, std::set{g.session}) << "the old word was not taken";
}

TEST_F(AgentTest, AReconnectConfirmsAnew) {
  const Grant g = grant();
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  stop_broker();
  start_broker({open(g)});
  EXPECT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  EXPECT_EQ(broker->watches.front().revision, 1) << "it says what it held";
}

TEST_F(AgentTest, ASilentBrokerIsLeftAndAskedAgain) {
  timings.silence = 30ms;
  start_broker();
  start_agent();
  EXPECT_TRUE(becomes([&] { return broker->watches.size() >= 3; }));
}

TEST_F(AgentTest, HeartbeatsKeepTheStream) {
  timings.silence = 200ms;
  start_broker();
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 1; }));
  for (int i = 0; i < 30; ++i) {
    broker->send({Update::Kind::heartbeat, 1, clock.time, {}});
    io.restart();
    io.run_for(10ms);
  }
  EXPECT_EQ(broker->watches.size(), 1u);
}

TEST_F(AgentTest, AStreamThatMakesNoSenseIsLeft) {
  const Grant g = grant();
  start_broker({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->has(g.session, Reported::open); }));
  broker->send_line("{\"revision\":1");
  EXPECT_TRUE(becomes([&] { return broker->watches.size() == 2; }));
  broker->greets = false;
  broker->send_line("");
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 3; }));
  broker->send({Update::Kind::heartbeat, 1, clock.time, {}});
  EXPECT_TRUE(becomes([&] { return broker->watches.size() == 4; }))
      << "it begins with a snapshot or a set, or not at all";
  EXPECT_EQ(enforcer.open, std::set{g.session});
}

TEST_F(AgentTest, OnlyWhoHoldsARevisionIsTakenUpWithASet) {
  const Grant first = grant(), second = grant();
  start_broker({open(first)});
  broker->greets = false;
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 1; }));
  broker->send(set({open(first)}));
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 2; })) << "it holds nothing yet";
  EXPECT_TRUE(enforcer.open.empty());
  broker->greets = true;
  broker->send_line("");
  ASSERT_TRUE(becomes([&] { return broker->has(first.session, Reported::open); }));
  broker->greeting = set({open(second)});
  broker->send_line("");
  ASSERT_TRUE(becomes([&] { return broker->has(second.session, Reported::open); }));
  EXPECT_EQ(broker->watches.back().revision, 1);
  EXPECT_EQ(enforcer.open, (std::set{first.session, second.session})) << "a set closes nothing";
}

TEST_F(AgentTest, AClockThatGoesWrongOrRightSubscribesAnew) {
  start_broker();
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 1; }));
  broker->send({Update::Kind::heartbeat, 1, clock.time + Seconds(31), {}});
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 2; }));
  broker->greeting.now = clock.time + Seconds(31);
  broker->send({Update::Kind::heartbeat, 1, clock.time + Seconds(31), {}});
  broker->send({Update::Kind::heartbeat, 1, clock.time + Seconds(31), {}});
  broker->send({Update::Kind::heartbeat, 1, clock.time, {}});
  ASSERT_TRUE(becomes([&] { return broker->watches.size() >= 3; }));
}

TEST_F(AgentTest, ThrownOutAgainAndAgainItComesBackMoreAndMoreSlowly) {
  timings.backoff_first = 20ms;
  timings.backoff_most = 10s;
  start_broker();
  start_agent();
  for (size_t times = 1; times <= 4; ++times) {
    ASSERT_TRUE(becomes([&] { return broker->watches.size() == times; }));
    broker->send_line("");  // it leaves a stream that makes no sense
  }
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(becomes([&] { return broker->watches.size() == 5; }));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 75ms) << "half of 20 ms, doubled three times";
}

TEST_F(AgentTest, ANodeKeyThatPolicyDoesNotNameGetsNothing) {
  const Grant g = grant();
  broker = std::make_unique<FakeBroker>(io, directory + "/broker.sock", ca.public_key());
  broker->greeting = snapshot({open(g)});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->bad_documents.size() >= 2; }));
  EXPECT_EQ(broker->bad_documents.front(), Code::wrong_key);
  EXPECT_TRUE(enforcer.open.empty());
}

TEST_F(AgentTest, StartFailsAloudWithoutItsDirectory) {
  overwrite(directory + "/state", "a file");
  agent.emplace(io, config(), ssh::PrivateKey::generate(), enforcer, is_mine, clock);
  const auto started = agent->start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Code::io);
}

TEST_F(AgentTest, GoneItTouchesNothingAnyMore) {
  start_broker({open(grant())});
  start_agent();
  ASSERT_TRUE(becomes([&] { return broker->reports.size() == 1; }));
  agent->poke();
  agent.reset();
  const int before = enforcer.converges;
  io.restart();
  io.run_for(30ms);
  EXPECT_EQ(enforcer.converges, before);
}

}  // namespace
}  // namespace jitwg::node
