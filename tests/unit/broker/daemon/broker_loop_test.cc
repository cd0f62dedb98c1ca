// The broker's event loop with a signer and nodes in this process. Time by hand; waits are zero or end by an event.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>

#include "broker/daemon/broker.h"
#include "broker/daemon/node_door.h"
#include "tests/support/fake_event_sink.h"
#include "tests/support/fake_realm.h"

namespace jitwg::broker {
namespace {

namespace asio = boost::asio;
using ReportState = store::NodeReport::State;

// Answers by hand-set rule, and counts what it was asked.
class FakeSigner final : public SignerClient {
 public:
  asio::awaitable<Result<json::value>> ask(json::value question) override {
    const std::string op(question.as_object().at("op").as_string());
    ++asked[op];
    if (before_answer) co_await before_answer(op);
    if (!answers.contains(op)) co_return fail(Code::signer_unavailable, "the signer: no answer in time");
    co_return answers.at(op)(question);
  }
  std::map<std::string, int> asked;
  std::map<std::string, std::function<Result<json::value>(const json::value&)>> answers;
  std::function<asio::awaitable<void>(const std::string& op)> before_answer;
};

class BrokerLoop : public testing::Test {
 protected:
  void SetUp() override {
    store_ = std::move(*store::open_sqlite(":memory:"));
    signer_.answers["policy"] = [this](const json::value&) -> Result<json::value> {
      const RulesPtr now = realm_.rules();
      return json::value{{"policy", base64_encode(now->policy_bytes)},
                         {"allowed_signers", base64_encode(now->people_bytes)},
                         {"policy_sha256", now->policy.digest},
                         {"ca_public_key", now->ca.first().str()},
                         {"now", "2026-03-02T10:00:00Z"}};
    };
    signer_.answers["issue"] = [this](const json::value& question) -> Result<json::value> {
      const auto request = parse_document(question.as_object().at("request"), "request");
      const auto statement = parse_statement(request->body);
      return realm_.issue(read(std::get<RequestStatement>(*statement).session), clock_.time);
    };
    signer_.answers["apply"] = [](const json::value&) -> Result<json::value> { return json::value{{"applied", true}}; };
    restart(std::chrono::seconds(10));
  }
  void TearDown() override {
    stopping_ = true;
    streams_.clear();
    store_.reset();
    broker_.reset();
  }

  // Another broker over the same store, as after a kill.
  void restart(std::chrono::milliseconds confirm_wait) {
    broker_ = std::make_unique<Broker>(io_, *store_, signer_, events_, clock_, Timing{.confirm_wait = confirm_wait});
    ASSERT_TRUE(wait(broker_->refresh_rules()));
  }

  template <typename T>
  static asio::awaitable<void> keep(asio::awaitable<T> work, std::optional<T>& into) {
    into = co_await std::move(work);
  }
  template <typename T>
  void spawn(asio::awaitable<T> work, std::optional<T>& into) {
    asio::co_spawn(io_, keep(std::move(work), into), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }
  template <typename T>
  T wait(asio::awaitable<T> work) {
    std::optional<T> value;
    spawn(std::move(work), value);
    while (!value) io_.run_one();
    return std::move(*value);
  }
  void wait(asio::awaitable<void> work) {
    bool done = false;
    asio::co_spawn(io_, std::move(work), [&](std::exception_ptr) { done = true; });
    while (!done) io_.run_one();
  }
  void run_until(const std::function<bool()>& holds) {
    while (!holds()) io_.run_one();
  }

  // Reads past the loop: straight from the store.
  store::Session read(const SessionId& id) {
    std::optional<store::Session> found;
    const auto result = store::run(*store_, [&](store::Tx& tx) -> Result<void> {
      JITWG_ASSIGN(found, tx.session(id));
      return {};
    });
    JITWG_CHECK(result && found);
    return *found;
  }

  Result<Accepted> post(const std::string& key, const Statement& statement) {
    const RulesPtr rules = *broker_->rules();
    const auto verified = *verify_statement(realm_.sign(key, statement), rules->people, "lab-1", clock_.time);
    std::function<Result<Accepted>(Change&)> work = [&](Change& change) { return accept_statement(change, *rules, verified); };
    return wait(broker_->change(std::move(work)));
  }
  SessionId approved() {
    const RequestStatement asked = realm_.request("alice", "db", clock_.time);
    EXPECT_TRUE(post("alice", asked));
    EXPECT_TRUE(post("carol", realm_.decision("carol", asked, clock_.time)));
    return asked.session;
  }
  Result<store::Session> activate(const SessionId& id) { return wait(broker_->activate(id)); }
  Result<store::Session> give_back(const SessionId& id) {
    std::function<Result<store::Session>(Change&)> work = [&](Change& change) { return return_session(change, id); };
    return wait(broker_->change(std::move(work)));
  }

  // A node that watches, and does as it is told (or says `open_as`).
  void connect(const std::string& name, std::optional<ReportState> open_as = ReportState::open) {
    auto stream = broker_->nodes().watch(name);
    streams_.push_back(stream);
    asio::co_spawn(io_, follow(name, stream, open_as), [](std::exception_ptr) {});
    io_.poll();
  }
  asio::awaitable<void> follow(std::string name, std::weak_ptr<http::LineSource> weak, std::optional<ReportState> open_as) {
    for (;;) {
      const auto stream = weak.lock();
      if (!stream || stopping_) co_return;
      const std::optional<std::string> line = co_await stream->next();
      if (!line) co_return;
      lines_[name].push_back(*line);
      const auto update = node::parse_update(*line);
      for (const node::Entry& entry : update->entries) {
        const ReportState state = entry.grant ? open_as.value_or(ReportState::refused) : ReportState::closed;
        if (entry.grant && !open_as) continue;
        std::function<Result<void>(Change&)> work = [=](Change& change) {
          return take_report(change, {entry.session, name, state, change.now,
                                      state == ReportState::refused ? std::optional(Code::clock) : std::nullopt,
                                      name == "jump1" ? R"({"processes":0})" : R"({"peer":false,"elements":0,"flows":0})"});
        };
        co_await broker_->run(std::move(work));
      }
    }
  }

  FakeRealm realm_;
  FakeClock clock_;
  FakeEventSink events_;
  asio::io_context io_;  // after what its streams still tell at their end
  asio::executor_work_guard<asio::io_context::executor_type> guard_ = asio::make_work_guard(io_);
  FakeSigner signer_;
  bool stopping_ = false;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Broker> broker_;
  std::vector<std::shared_ptr<http::LineSource>> streams_;
  std::map<std::string, std::vector<std::string>> lines_;
};

TEST_F(BrokerLoop, OpensOnceEveryNodeHasConfirmed) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  const auto opened = activate(id);
  ASSERT_TRUE(opened) << opened.error().render();
  EXPECT_EQ(opened->state, State::active);
  EXPECT_TRUE(opened->grant && opened->certificate);
  const auto again = activate(id);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->grant, opened->grant);
  EXPECT_EQ(signer_.asked["issue"], 1);
}

TEST_F(BrokerLoop, WithoutNodesItStaysApproved) {
  const SessionId id = approved();
  EXPECT_EQ(activate(id).error().code, Code::no_gateway);
  connect("gw1");
  EXPECT_EQ(activate(id).error().code, Code::no_jump_host);
  EXPECT_EQ(read(id).state, State::approved);
  EXPECT_EQ(signer_.asked["issue"], 0);
}

TEST_F(BrokerLoop, TheFirstConnectedGatewayIsUsed) {
  connect("gw2");
  connect("jump1");
  const auto opened = activate(approved());
  ASSERT_TRUE(opened) << opened.error().render();
  EXPECT_EQ(opened->gateway, "gw2");
}

TEST_F(BrokerLoop, OpeningIsCommittedBeforeTheSignerIsAsked) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  State seen = State::approved;
  signer_.before_answer = [&](const std::string& op) -> asio::awaitable<void> {
    if (op == "issue") seen = read(id).state;
    co_return;
  };
  ASSERT_TRUE(activate(id));
  EXPECT_EQ(seen, State::opening);
}

TEST_F(BrokerLoop, TwoCallsAtOnceAreOneOpening) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  std::optional<Result<store::Session>> one, two;
  spawn(broker_->activate(id), one);
  spawn(broker_->activate(id), two);
  run_until([&] { return one && two; });
  EXPECT_TRUE(*one && *two);
  EXPECT_EQ(signer_.asked["issue"], 1);
}

TEST_F(BrokerLoop, ASilentSignerFailsItAndTheNodesShowThatNothingIsThere) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  signer_.answers.erase("issue");
  EXPECT_EQ(activate(id).error().code, Code::signer_unavailable);
  EXPECT_EQ(read(id).close_reason, CloseReason::failed);
  EXPECT_FALSE(read(id).certificate);
  run_until([&] { return read(id).state == State::closed; });
  EXPECT_EQ(activate(id).error().code, Code::signer_unavailable) << "the answer stays";
}

TEST_F(BrokerLoop, ARefusalOfTheSignerIsTheAnswer) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  signer_.answers["issue"] = [](const json::value&) { return fail(Code::outside_hours, "not now"); };
  EXPECT_EQ(activate(id).error().code, Code::outside_hours);
  EXPECT_EQ(read(id).state, State::closed);
  EXPECT_EQ(lines_["gw1"].size(), 1u) << "no node hears of it";
}

TEST_F(BrokerLoop, AGrantOfAnotherCaFailsIt) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  signer_.answers["issue"] = [&](const json::value&) -> Result<json::value> {
    FakeRealm other;
    return other.issue(read(id), clock_.time);
  };
  EXPECT_EQ(activate(id).error().code, Code::foreign_grant);
  EXPECT_EQ(read(id).close_reason, CloseReason::failed);
}

TEST_F(BrokerLoop, AChangedPolicyIsFetchedAndTheSignerAskedOnceMore) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  const auto issue = signer_.answers["issue"];
  signer_.answers["issue"] = [&, issue](const json::value& question) -> Result<json::value> {
    if (signer_.asked["issue"] == 1) return fail(Code::policy_changed, "another policy");
    return issue(question);
  };
  const int fetched = signer_.asked["policy"];
  EXPECT_TRUE(activate(id));
  EXPECT_EQ(signer_.asked["issue"], 2);
  EXPECT_EQ(signer_.asked["policy"], fetched + 1);
  const SessionId next = approved();
  signer_.answers["issue"] = [](const json::value&) { return fail(Code::policy_changed, "another policy"); };
  EXPECT_EQ(activate(next).error().code, Code::policy_changed) << "not for ever";
}

TEST_F(BrokerLoop, ANodeThatDoesNotConfirmFailsItAndNoCertificateIsHandedOut) {
  restart(std::chrono::milliseconds(0));
  connect("gw1");
  connect("jump1", std::nullopt);
  const SessionId id = approved();
  const auto opened = activate(id);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::not_confirmed);
  EXPECT_NE(opened.error().message.find("jump1"), std::string::npos);
  EXPECT_EQ(read(id).close_reason, CloseReason::failed);
  run_until([&] { return read(id).state == State::closed; });
}

TEST_F(BrokerLoop, ANodeThatRefusesFailsItAtOnce) {
  connect("gw1", ReportState::refused);
  connect("jump1");
  const SessionId id = approved();
  const auto opened = activate(id);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::not_confirmed);
  EXPECT_NE(opened.error().message.find("gw1 refused the grant: clock"), std::string::npos);
}

TEST_F(BrokerLoop, RevokedWhileTheSignerThinksOpensNothing) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  asio::steady_timer answer(io_, asio::steady_timer::time_point::max());
  bool thinking = false;
  signer_.before_answer = [&](const std::string& op) -> asio::awaitable<void> {
    if (op != "issue") co_return;
    thinking = true;
    boost::system::error_code ignored;
    co_await answer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  };
  std::optional<Result<store::Session>> opened;
  spawn(broker_->activate(id), opened);
  run_until([&] { return thinking; });
  ASSERT_TRUE(post("carol", RevokeStatement{realm_.head("carol", clock_.time), {Subject::Kind::session, id.str()}, "stop"}));
  run_until([&] { return opened.has_value(); });
  EXPECT_EQ(opened->error().code, Code::session_ended);
  answer.cancel();
  run_until([&] { return read(id).grant.has_value() || read(id).state == State::closed; });
  run_until([&] { return read(id).state == State::closed; });
  for (const auto& [node, lines] : lines_)
    for (const std::string& line : lines) EXPECT_EQ(line.find("\"open\""), std::string::npos) << node << line;
}

// --- after a restart ---

TEST_F(BrokerLoop, AnOpeningWithoutAGrantIsTakenBack) {
  const SessionId id = approved();
  std::function<Result<store::Session>(Change&)> begin = [&](Change& change) {
    return begin_opening(change, **broker_->rules(), id, "gw1");
  };
  ASSERT_TRUE(wait(broker_->change(std::move(begin))));
  restart(std::chrono::seconds(10));
  connect("gw1");
  connect("jump1");
  wait(broker_->tick());
  run_until([&] { return read(id).state == State::closed; });
  EXPECT_EQ(read(id).close_reason, CloseReason::failed);
  EXPECT_EQ(signer_.asked["issue"], 0);
}

TEST_F(BrokerLoop, AnOpeningWithAGrantIsFinished) {
  const SessionId id = approved();
  std::function<Result<void>(Change&)> work = [&](Change& change) -> Result<void> {
    JITWG_ASSIGN(const store::Session session, begin_opening(change, **broker_->rules(), id, "gw1"));
    JITWG_ASSIGN(const Issued issued, check_issued(**broker_->rules(), session, realm_.issue(session, change.now)));
    return keep_issued(change, id, issued);
  };
  ASSERT_TRUE(wait(broker_->run(std::move(work))));
  restart(std::chrono::seconds(10));
  ASSERT_TRUE(wait(broker_->start([] {})));
  connect("gw1");
  connect("jump1");
  run_until([&] { return read(id).state == State::active; });
  const auto again = activate(id);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->certificate);
}

// --- the signer's copy ---

TEST_F(BrokerLoop, ARevokeIsToldToTheSignerUntilItHears) {
  const SessionId id = approved();
  ASSERT_TRUE(post("carol", RevokeStatement{realm_.head("carol", clock_.time), {Subject::Kind::session, id.str()}, "stop"}));
  const auto apply = std::exchange(signer_.answers["apply"], [](const json::value&) { return fail(Code::signer_unavailable, "away"); });
  wait(broker_->tell_signer());
  wait(broker_->tell_signer());
  EXPECT_EQ(signer_.asked["apply"], 2);
  signer_.answers["apply"] = apply;
  wait(broker_->tell_signer());
  wait(broker_->tell_signer());
  EXPECT_EQ(signer_.asked["apply"], 3);
}

TEST_F(BrokerLoop, ARevokeIsNotLostToTheSignersWrongClock) {
  const SessionId id = approved();
  ASSERT_TRUE(post("carol", RevokeStatement{realm_.head("carol", clock_.time), {Subject::Kind::session, id.str()}, "stop"}));
  const auto apply = std::exchange(signer_.answers["apply"], [](const json::value&) { return fail(Code::clock, "it is only 1970 here"); });
  wait(broker_->tell_signer());
  signer_.answers["apply"] = apply;
  wait(broker_->tell_signer());
  EXPECT_EQ(signer_.asked["apply"], 2);
}

TEST_F(BrokerLoop, WhatTheSignerRefusesIsSaidAndShown) {
  ASSERT_TRUE(post("alice", LockStatement{realm_.head("alice", clock_.time), {Subject::Kind::person, "alice"}, "lost"}));
  signer_.answers["apply"] = [](const json::value&) { return fail(Code::not_permitted, "not by you"); };
  wait(broker_->tell_signer());
  wait(broker_->tell_signer());
  EXPECT_EQ(signer_.asked["apply"], 1);
  const auto refused = std::ranges::find(events_.events, EventName::statement_refused, &Event::name);
  ASSERT_NE(refused, events_.events.end());
  EXPECT_EQ(refused->code, Code::not_permitted);
  EXPECT_EQ(refused->person, "alice");
  ASSERT_TRUE(store::run(*store_, [](store::Tx& tx) -> Result<void> {
    JITWG_ASSIGN(const auto locks, tx.locks());
    EXPECT_EQ(locks.at(0).signer_refusal->code, Code::not_permitted);
    return {};
  }));
}

TEST_F(BrokerLoop, TheSignerIsToldAllThatWaitsBeforeItIsAskedToIssue) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  ASSERT_TRUE(post("dave", LockStatement{realm_.head("dave", clock_.time), {Subject::Kind::person, "dave"}, "lost"}));
  int told = -1;
  signer_.before_answer = [&](const std::string& op) -> asio::awaitable<void> {
    if (op == "issue") told = signer_.asked["apply"];
    co_return;
  };
  ASSERT_TRUE(activate(id));
  EXPECT_EQ(told, 1);
}

// Told first of the revoke, the signer would have found nothing issued, and forgotten it.
TEST_F(BrokerLoop, NothingIsIssuedOnceARevokeIsOnItsWayToTheSigner) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  const auto issue = signer_.answers["issue"];
  signer_.answers["issue"] = [&](const json::value&) -> Result<json::value> {
    signer_.answers["issue"] = issue;
    return fail(Code::policy_changed, "fetch it again");
  };
  const RulesPtr rules = *broker_->rules();
  const auto revoke = *verify_statement(realm_.sign("carol", RevokeStatement{realm_.head("carol", clock_.time), {Subject::Kind::session, id.str()}, "stop"}),
                                        rules->people, "lab-1", clock_.time);
  signer_.before_answer = [&](const std::string& op) -> asio::awaitable<void> {
    if (op != "issue") co_return;
    std::function<Result<Accepted>(Change&)> work = [&](Change& change) { return accept_statement(change, *rules, revoke); };
    co_await broker_->change(std::move(work));
  };
  EXPECT_EQ(activate(id).error().code, Code::session_ended);
  run_until([&] { return read(id).state == State::closed; });
  EXPECT_EQ(signer_.asked["issue"], 1);
}

TEST_F(BrokerLoop, APolicyThatDoesNotLoadLeavesTheRunningOne) {
  const RulesPtr before = *broker_->rules();
  realm_.port = "99999";
  signer_.answers["policy"] = [this](const json::value&) -> Result<json::value> {
    return json::value{{"policy", base64_encode(realm_.policy_text())},
                       {"allowed_signers", base64_encode(std::string())},
                       {"policy_sha256", sha256_hex(realm_.policy_text())},
                       {"ca_public_key", realm_.line("ca")},
                       {"now", "x"}};
  };
  EXPECT_FALSE(wait(broker_->refresh_rules()));
  EXPECT_FALSE(wait(broker_->refresh_rules()));
  EXPECT_EQ(*broker_->rules(), before);
  EXPECT_EQ(events_.count(EventName::policy_refused), 1u) << "said once";
}

TEST_F(BrokerLoop, ARemovedPersonEndsAtTheNextRefresh) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  ASSERT_TRUE(activate(id));
  std::erase(realm_.persons, "alice");
  ASSERT_TRUE(wait(broker_->refresh_rules()));
  run_until([&] { return read(id).state == State::closed; });
  EXPECT_EQ(read(id).close_reason, CloseReason::revoked);
}

// --- nodes ---

TEST_F(BrokerLoop, ANodesNewestStreamCountsAndItsComingAndGoingIsSaid) {
  auto& hub = broker_->nodes();
  auto first = hub.watch("gw1");
  auto second = hub.watch("gw1");
  EXPECT_FALSE(wait(first->next())) << "the older one ends";
  first.reset();
  EXPECT_TRUE(hub.is_connected("gw1"));
  EXPECT_TRUE(wait(second->next()));
  second.reset();
  EXPECT_FALSE(hub.is_connected("gw1"));
  auto third = hub.watch("gw1");
  EXPECT_EQ(events_.count(EventName::node_joined), 1u);
  EXPECT_EQ(events_.count(EventName::node_lost), 1u);
  EXPECT_EQ(events_.count(EventName::node_back), 2u) << "also that a second connection took over";
}

TEST_F(BrokerLoop, AStreamBeginsWithASnapshotOfItsOwnAndThenHasTheNewestState) {
  connect("gw1");
  connect("jump1");
  const SessionId id = approved();
  ASSERT_TRUE(activate(id));
  auto other = broker_->nodes().watch("gw2");
  EXPECT_TRUE(node::parse_update(*wait(other->next()))->entries.empty()) << "nothing of another gateway's";
  auto late = broker_->nodes().watch("gw1");
  const auto snapshot = node::parse_update(*wait(late->next()));
  EXPECT_EQ(snapshot->kind, node::Update::Kind::snapshot);
  ASSERT_EQ(snapshot->entries.size(), 1u);
  EXPECT_TRUE(snapshot->entries[0].grant);
  ASSERT_TRUE(give_back(id));
  const auto set = node::parse_update(*wait(late->next()));
  EXPECT_EQ(set->kind, node::Update::Kind::set);
  EXPECT_GT(set->revision, snapshot->revision);
  ASSERT_EQ(set->entries.size(), 1u);
  EXPECT_EQ(set->entries[0].reason, CloseReason::returned);
  EXPECT_EQ(broker_->nodes().remind(), 1u);
  EXPECT_EQ(node::parse_update(*wait(late->next()))->entries, set->entries) << "said again until there is evidence";
}

TEST_F(BrokerLoop, AKnownRevisionIsTakenUpWithWhatHasChangedSince) {
  connect("gw1");
  connect("jump1");
  const SessionId first = approved(), second = approved();
  ASSERT_TRUE(activate(first));
  NodeHub& hub = broker_->nodes();
  const auto begin = [&](int64_t revision) {
    const auto stream = hub.watch("gw1", revision);
    return *node::parse_update(*wait(stream->next()));
  };
  const auto held = begin(0);
  using Kind = node::Update::Kind;
  EXPECT_EQ(held.kind, Kind::snapshot);
  EXPECT_EQ(begin(held.revision).kind, Kind::set);
  EXPECT_TRUE(begin(held.revision).entries.empty()) << "nothing is new";
  connect("gw1");
  ASSERT_TRUE(activate(second));
  const auto resumed = begin(held.revision);
  EXPECT_EQ(resumed.kind, Kind::set);
  ASSERT_EQ(resumed.entries.size(), 1u);
  EXPECT_EQ(resumed.entries[0].session, second);
  EXPECT_EQ(begin(resumed.revision + 1).kind, Kind::snapshot) << "of another run";
  EXPECT_EQ(begin(resumed.revision - 1000).kind, Kind::snapshot) << "too old";

  // What is no more can only be missed in a snapshot; of other nodes' sessions nothing is missed.
  connect("gw1");
  ASSERT_TRUE(give_back(first));
  run_until([&] { return events_.count(EventName::session_closed) == 1; });
  EXPECT_EQ(begin(resumed.revision).kind, Kind::snapshot);
  auto other = hub.watch("gw2", held.revision);
  EXPECT_EQ(node::parse_update(*wait(other->next()))->kind, Kind::set);

  restart(std::chrono::seconds(10));
  EXPECT_EQ(node::parse_update(*wait(broker_->nodes().watch("gw2", resumed.revision)->next()))->kind, Kind::snapshot);
}

TEST_F(BrokerLoop, ThroughANodeWithAWrongClockNothingNewGoes) {
  connect("jump1");
  const SessionId id = approved();
  auto stream = broker_->nodes().watch("gw1", 0, false);
  EXPECT_FALSE(broker_->nodes().is_connected("gw1"));
  const auto refused = activate(id);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::no_gateway);
  EXPECT_NE(refused.error().message.find("clock set right: gw1"), std::string::npos) << refused.error().message;
  EXPECT_EQ(read(id).state, State::approved);
  connect("gw1");
  EXPECT_TRUE(activate(id));
}

TEST_F(BrokerLoop, ANodeWhoseKeyPolicyNoLongerNamesIsHeardNoMore) {
  auto gateway = broker_->nodes().watch("gw1");
  auto host = broker_->nodes().watch("jump1");
  EXPECT_TRUE(wait(gateway->next()) && wait(host->next()));
  realm_.keys.erase("gw1");
  realm_.keys.emplace("gw1", ssh::PrivateKey::generate());
  ASSERT_TRUE(wait(broker_->refresh_rules()));
  EXPECT_FALSE(wait(gateway->next()));
  std::optional<std::optional<std::string>> said;
  spawn(host->next(), said);
  io_.poll();
  EXPECT_FALSE(said) << "the other's goes on";
  const auto newer = broker_->nodes().watch("jump1");
  run_until([&] { return said.has_value(); });
}

TEST_F(BrokerLoop, OverTlsTheConnectionMustHaveProvenTheNodesKey) {
  NodeDoor door(events_);
  const Rules& rules = **broker_->rules();
  const auto sign = [&](const std::string& name, Seconds off) {
    const auto body = node::render_watch({{"lab-1", name, clock_.time + off, hex_encode(random_bytes(16))}, 0});
    return ssh::sign(body, node::kNodeNamespace, realm_.keys.at(name));
  };
  const auto as = [&](const std::string& name) { return http::Caller{false, realm_.keys.at(name).public_key()}; };
  const auto late = door.watch(sign("gw1", Seconds(0)), as("gw1"), rules, clock_.time);
  ASSERT_TRUE(late);
  EXPECT_TRUE(late->clock_is_right);
  for (const http::Caller& caller : {as("jump1"), http::Caller{}})
    EXPECT_EQ(door.watch(sign("gw1", Seconds(0)), caller, rules, clock_.time).error().code, Code::wrong_node);

  // A wrong clock lets it close, and show evidence.
  for (const Seconds off : {Seconds(120), Seconds(-120)}) {
    const auto wrong = door.watch(sign("gw1", off), as("gw1"), rules, clock_.time);
    ASSERT_TRUE(wrong) << wrong.error().render();
    EXPECT_FALSE(wrong->clock_is_right);
    const node::Report report{{"lab-1", "gw1", clock_.time + off, hex_encode(random_bytes(16))},
                              SessionId::make(clock_.time),
                              {node::Reported::open, std::nullopt, nullptr}};
    const auto document = ssh::sign(node::render_report(report), node::kNodeNamespace, realm_.keys.at("gw1"));
    EXPECT_TRUE(door.report(document, as("gw1"), rules, clock_.time));
    EXPECT_EQ(door.report(document, as("jump1"), rules, clock_.time).error().code, Code::wrong_node);
  }
  EXPECT_EQ(events_.count(EventName::node_clock), 1u) << "said once";
  EXPECT_TRUE(door.watch(sign("gw1", Seconds(0)), as("gw1"), rules, clock_.time));
  EXPECT_TRUE(door.watch(sign("gw1", Seconds(99)), as("gw1"), rules, clock_.time));
  EXPECT_EQ(events_.count(EventName::node_clock), 2u) << "and again when it comes to that again";
}

TEST_F(BrokerLoop, NodesAreLetInByTheirOwnKeyClockAndNonce) {
  NodeDoor door(events_);
  const Rules& rules = **broker_->rules();
  const http::Caller local{.local = true};
  const auto watch = [&](const std::string& key, const std::string& name, Seconds off) {
    const std::string nonce = hex_encode(random_bytes(16));
    const auto body = node::render_watch({{"lab-1", name, clock_.time + off, nonce}, 0});
    return ssh::sign(body, node::kNodeNamespace, realm_.keys.at(key));
  };
  EXPECT_TRUE(door.watch(watch("gw1", "gw1", Seconds(0)), local, rules, clock_.time));
  EXPECT_TRUE(door.watch(watch("jump1", "jump1", Seconds(30)), local, rules, clock_.time));
  EXPECT_EQ(door.watch(watch("gw1", "jump1", Seconds(0)), local, rules, clock_.time).error().code, Code::wrong_key);
  EXPECT_EQ(door.watch(watch("gw1", "gw9", Seconds(0)), local, rules, clock_.time).error().code, Code::wrong_node);
  for (const Seconds off : {Seconds(-31), Seconds(31)})
    EXPECT_EQ(door.watch(watch("gw1", "gw1", off), local, rules, clock_.time).error().code, Code::clock);
  EXPECT_EQ(events_.count(EventName::node_clock), 1u) << "said once";
  const auto once = watch("gw1", "gw1", Seconds(0));
  EXPECT_TRUE(door.watch(once, local, rules, clock_.time));
  EXPECT_EQ(door.watch(once, local, rules, clock_.time).error().code, Code::replay);
}

}  // namespace
}  // namespace jitwg::broker
