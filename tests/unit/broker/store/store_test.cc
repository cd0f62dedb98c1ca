// The contract that every store fulfils, run over each of them; and what is SQLite's alone.
#include "broker/store/store.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>

#include "broker/base/encoding.h"
#include "broker/base/json.h"

namespace jitwg::store {
namespace {

const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");
const std::vector<State> kStates = {State::pending,   State::approved, State::denied,
                                    State::cancelled, State::lapsed,   State::opening,
                                    State::active,    State::closing,  State::closed};

Statement make_statement(const std::string& nonce) {
  const std::string body = "{\"nonce\":\"" + nonce + "\"}";
  return {.digest = sha256_hex(body),
          .type = "request",
          .realm = "lab",
          .nonce = nonce,
          .person = "alice",
          .received_at = kNow,
          .document = {body, "signature"}};
}

class Contract : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(testing::TempDir()) / ("store-" + hex_encode(random_bytes(8)));
    std::filesystem::create_directory(directory_);
    path_ = std::string(GetParam()) == "file" ? (directory_ / "broker.db").string() : ":memory:";
    auto opened = open_sqlite(path_);
    ASSERT_TRUE(opened) << opened.error().render();
    store_ = std::move(*opened);
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  Session add(const std::string& nonce, WallTime at = kNow) {
    Session session{.id = SessionId::make(at)};
    session.person = "alice";
    session.target = "db-prod";
    session.reason = "because";
    session.wg_public_key = "wg " + nonce;
    session.ssh_public_key = "ssh " + nonce;
    session.token_sha256 = std::string(64, 'a');
    session.requested_at = at;
    session.duration = Seconds(60);
    session.access = {*parse_scope({"tcp 10.60.10.20:5432"}), "alice", {"gw1"}, {"jump1"}};
    const Statement statement = make_statement(nonce);
    session.request = statement.digest;
    EXPECT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
      JITWG_TRY(tx.add_statement(statement));
      return tx.add_session(session);
    }));
    return session;
  }
  Result<void> save(const Session& session) {
    return run(*store_, [&](Tx& tx) { return tx.save_session(session); });
  }
  Session read(const SessionId& id) {
    std::optional<Session> found;
    const auto result = run(*store_, [&](Tx& tx) -> Result<void> {
      JITWG_ASSIGN(found, tx.session(id));
      return {};
    });
    EXPECT_TRUE(result) << result.error().render();
    JITWG_CHECK(found.has_value());
    return *found;
  }
  // Everything a state may need, so that only the edge can be what is refused.
  static Session in_state(Session session, State state) {
    session.state = state;
    session.opening_at = kNow;
    session.grant = ssh::SignedDocument{"grant", "signature"};
    session.not_before = kNow;
    session.not_after = kNow + Seconds(60);
    session.close_reason.reset();
    if (state == State::closing || state == State::closed)
      session.close_reason = CloseReason::expired;
    return session;
  }

  std::filesystem::path directory_;
  std::string path_;
  std::unique_ptr<Store> store_;
};
INSTANTIATE_TEST_SUITE_P(Sqlite, Contract, testing::Values("file", "memory"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(Contract, EveryPairOfStatesIsAllowedExactlyWhereTheTableAllowsIt) {
  // A shortest way from pending to each state, by the C++ table.
  std::map<State, std::vector<State>> way = {{State::pending, {}}};
  for (size_t round = 0; round < kStates.size(); ++round)
    for (const State from : kStates)
      for (const State to : kStates)
        if (way.contains(from) && !way.contains(to) && may_become(from, to)) {
          way[to] = way[from];
          way[to].push_back(to);
        }
  ASSERT_EQ(way.size(), kStates.size());
  int count = 0;
  for (const State from : kStates)
    for (const State to : kStates) {
      if (from == to) continue;
      Session session = add("n" + std::to_string(count++));
      for (const State step : way[from]) ASSERT_TRUE(save(in_state(session, step)));
      EXPECT_EQ(save(in_state(session, to)).has_value(), may_become(from, to))
          << name(from) << " to " << name(to);
    }
}

TEST_P(Contract, ASessionIsReadBackAsItWasSaved) {
  Session session = in_state(add("a"), State::pending);
  session.state = State::approved;
  ASSERT_TRUE(save(session));
  session.state = State::opening;
  session.gateway = "gw1";
  session.certificate = "cert";
  session.refusal = Error{Code::scope_changed, "differs", "ask again"};
  ASSERT_TRUE(save(session));
  const Session found = read(session.id);
  EXPECT_EQ(found.state, State::opening);
  EXPECT_EQ(found.access, session.access);
  EXPECT_EQ(found.grant, session.grant);
  EXPECT_EQ(found.certificate, session.certificate);
  EXPECT_EQ(found.not_after, session.not_after);
  EXPECT_EQ(found.refusal->code, Code::scope_changed);
  EXPECT_EQ(found.refusal->hint, "ask again");
  EXPECT_EQ(found.ticket, std::nullopt);
}

TEST_P(Contract, CloseReasonAndGrantAreWrittenOnce) {
  Session session = add("a");
  for (const State step : {State::approved, State::opening, State::active, State::closing})
    ASSERT_TRUE(save(in_state(session, step)));
  Session other_reason = in_state(session, State::closing);
  other_reason.close_reason = CloseReason::revoked;
  EXPECT_FALSE(save(other_reason));
  Session other_grant = in_state(session, State::closing);
  other_grant.grant->body = "another";
  EXPECT_FALSE(save(other_grant));
  EXPECT_TRUE(save(in_state(session, State::closed)));
}

TEST_P(Contract, ActiveNeedsAGrantAndClosingAReason) {
  Session session = add("a");
  ASSERT_TRUE(save(in_state(session, State::approved)));
  Session bare = session;
  bare.state = State::opening;
  bare.opening_at = kNow;
  ASSERT_FALSE(save([&] {
    Session none = bare;
    none.opening_at.reset();
    return none;
  }()));
  Session second = add("b");
  second.state = State::approved;
  ASSERT_TRUE(save(second));
  second.state = State::opening;
  second.opening_at = kNow;
  ASSERT_TRUE(save(second));
  second.state = State::active;
  EXPECT_FALSE(save(second));
  second.state = State::closing;
  EXPECT_FALSE(save(second));
  second.close_reason = CloseReason::failed;
  EXPECT_TRUE(save(second));
}

TEST_P(Contract, NoncesKeysAndDigestsAreUnique) {
  const Session session = add("a");
  const auto nonce_again = [](Tx& tx) {
    Statement other = make_statement("b");
    other.nonce = "a";
    return tx.add_statement(other);
  };
  EXPECT_FALSE(run(*store_, nonce_again));
  EXPECT_FALSE(run(*store_, [](Tx& tx) { return tx.add_statement(make_statement("a")); }));
  EXPECT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_ASSIGN(const bool known, tx.nonce_known("lab", "a"));
    EXPECT_TRUE(known);
    JITWG_ASSIGN(const bool elsewhere, tx.nonce_known("other", "a"));
    EXPECT_FALSE(elsewhere);
    JITWG_ASSIGN(const bool wg, tx.key_seen(session.wg_public_key, "new"));
    EXPECT_TRUE(wg);
    JITWG_ASSIGN(const bool ssh, tx.key_seen("new", session.ssh_public_key));
    EXPECT_TRUE(ssh);
    JITWG_ASSIGN(const bool neither, tx.key_seen("new", "new"));
    EXPECT_FALSE(neither);
    JITWG_ASSIGN(const auto found, tx.statement(session.request));
    EXPECT_EQ(found->document.body, make_statement("a").document.body);
    return {};
  }));
}

TEST_P(Contract, OnePersonDecidesOnce) {
  const Session session = add("a");
  const auto decide = [&](const std::string& nonce) {
    return run(*store_, [&](Tx& tx) -> Result<void> {
      JITWG_TRY(tx.add_statement(make_statement(nonce)));
      return tx.add_decision({session.id, "carol", Choice::approve, Seconds(30), "fine", kNow,
                              make_statement(nonce).digest});
    });
  };
  EXPECT_TRUE(decide("d1"));
  EXPECT_FALSE(decide("d2"));
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_ASSIGN(const auto decisions, tx.decisions(session.id));
    EXPECT_EQ(decisions.size(), 1u);
    EXPECT_EQ(decisions.at(0).duration, Seconds(30));
    JITWG_ASSIGN(const bool undone, tx.nonce_known("lab", "d2"));
    EXPECT_FALSE(undone) << "the failed task left its statement behind";
    return {};
  }));
}

TEST_P(Contract, TheNewestReportOfEachNodeCountsAndRepeatsAddNothing) {
  const Session session = add("a");
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    using R = NodeReport::State;
    JITWG_TRY(tx.add_report({session.id, "gw1", R::open, kNow, {}, ""}));
    JITWG_TRY(tx.add_report({session.id, "jump1", R::refused, kNow, Code::clock, ""}));
    JITWG_TRY(tx.add_report({session.id, "gw1", R::closed, kNow + Seconds(1), {}, "{}"}));
    JITWG_TRY(tx.add_report({session.id, "gw1", R::closed, kNow + Seconds(9), {}, "{}"}));
    JITWG_ASSIGN(const auto reports, tx.reports(session.id));
    EXPECT_EQ(reports.size(), 2u);
    EXPECT_EQ(reports.at(0),
              (NodeReport{session.id, "gw1", R::closed, kNow + Seconds(1), {}, "{}"}));
    EXPECT_EQ(reports.at(1).refusal, Code::clock);
    return {};
  }));
}

TEST_P(Contract, EventsChainPerSession) {
  const Session one = add("a");
  const Session two = add("b");
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_TRY(tx.add_event(one.id, "first"));
    JITWG_TRY(tx.add_event(two.id, "elsewhere"));
    JITWG_ASSIGN(const uint64_t seq, tx.add_event(one.id, "second"));
    EXPECT_EQ(seq, 2u);
    JITWG_ASSIGN(const auto events, tx.events(one.id));
    EXPECT_EQ(events.size(), 2u);
    EXPECT_EQ(events.at(0).hash, sha256_hex(std::string(64, '0') + " first"));
    EXPECT_EQ(events.at(1).hash, sha256_hex(events.at(0).hash + " second"));
    return {};
  }));
}

TEST_P(Contract, CountsAndDueTimes) {
  Session lapsing = add("a");
  lapsing.lapses_at = kNow + Seconds(5);
  ASSERT_TRUE(save(lapsing));
  Session active = add("b");
  for (const State step : {State::approved, State::opening, State::active})
    ASSERT_TRUE(save(in_state(active, step)));
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_ASSIGN(const size_t open, tx.open_requests("alice"));
    EXPECT_EQ(open, 1u);
    JITWG_ASSIGN(const size_t within, tx.activations_since("alice", kNow - Seconds(1)));
    EXPECT_EQ(within, 1u);
    JITWG_ASSIGN(const size_t before, tx.activations_since("alice", kNow));
    EXPECT_EQ(before, 0u);
    JITWG_ASSIGN(const auto none, tx.due(kNow + Seconds(4)));
    EXPECT_TRUE(none.empty());
    JITWG_ASSIGN(const auto first, tx.due(kNow + Seconds(5)));
    EXPECT_EQ(first.size(), 1u);
    JITWG_ASSIGN(const auto both, tx.due(kNow + Seconds(60)));
    EXPECT_EQ(both.size(), 2u);
    JITWG_ASSIGN(const auto live, tx.sessions({State::active}, "alice", 10));
    EXPECT_EQ(live.size(), 1u);
    JITWG_ASSIGN(const auto nobody, tx.sessions({}, "bob", 10));
    EXPECT_TRUE(nobody.empty());
    return {};
  }));
}

TEST_P(Contract, TheSignerIsToldEachStatementOnce) {
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    const Statement statement = make_statement("r");
    JITWG_TRY(tx.add_statement(statement));
    JITWG_TRY(tx.queue_for_signer(statement.digest));
    JITWG_ASSIGN(const auto waiting, tx.for_signer());
    EXPECT_EQ(waiting.size(), 1u);
    JITWG_TRY(tx.told_signer(statement.digest, kNow, std::nullopt));
    JITWG_ASSIGN(const auto after, tx.for_signer());
    EXPECT_TRUE(after.empty());
    return {};
  }));
}

TEST_P(Contract, TasksThatQueueUpShareOneCommitAndFailAlone) {
  std::promise<void> entered, go;
  std::promise<void> finished;
  std::vector<std::string> log;  // the store's thread only, until `finished`
  store_->submit(
      [&](Tx&) -> Result<void> {
        entered.set_value();
        go.get_future().wait();
        return {};
      },
      [](Result<void>) {});
  entered.get_future().wait();
  for (const std::string nonce : {"a", "b", "c"})
    store_->submit(
        [&, nonce](Tx& tx) -> Result<void> {
          log.push_back("task " + nonce);
          JITWG_TRY(tx.add_statement(make_statement(nonce)));
          if (nonce == "b") return fail(Code::wrong_state, "no");
          return {};
        },
        [&, nonce](Result<void> result) {
          log.push_back("done " + nonce +
                        (result ? "" : " " + std::string(name(result.error().code))));
          if (nonce == "c") finished.set_value();
        });
  go.set_value();
  finished.get_future().wait();
  EXPECT_EQ(log, (std::vector<std::string>{"task a", "task b", "task c", "done a",
                                           "done b wrong_state", "done c"}));
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    for (const std::string nonce : {"a", "b", "c"}) {
      JITWG_ASSIGN(const bool known, tx.nonce_known("lab", nonce));
      EXPECT_EQ(known, nonce != "b");
    }
    return {};
  }));
}

TEST_P(Contract, LocksHoldUntilTheyAreCleared) {
  const Session session = add("a");
  const Subject alice{Subject::Kind::person, "alice"}, all{Subject::Kind::all, {}};
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    for (const std::string nonce : {"1", "2", "3"}) JITWG_TRY(tx.add_statement(make_statement(nonce)));
    JITWG_TRY(tx.add_lock({alice, "carol", "lost", kNow, make_statement("1").digest}));
    JITWG_TRY(tx.add_lock({all, "carol", "burning", kNow, make_statement("2").digest}));
    JITWG_TRY(tx.clear_locks(alice, make_statement("3").digest));
    JITWG_ASSIGN(const auto locks, tx.locks());
    EXPECT_EQ(locks.size(), 1u);
    EXPECT_EQ(locks.at(0).what, all);
    JITWG_TRY(tx.queue_for_signer(make_statement("2").digest));
    JITWG_TRY(tx.told_signer(make_statement("2").digest, kNow, Error{Code::not_permitted, "no", ""}));
    JITWG_TRY(tx.told_signer(make_statement("2").digest, kNow, std::nullopt));  // by another teller
    JITWG_ASSIGN(const auto refused, tx.locks());
    EXPECT_EQ(refused.at(0).signer_refusal->code, Code::not_permitted);
    JITWG_TRY(tx.touch(session.id, make_statement("2").digest));
    JITWG_TRY(tx.touch(session.id, make_statement("2").digest));
    JITWG_ASSIGN(const auto touched, tx.touched_by(make_statement("2").digest));
    EXPECT_EQ(touched, std::vector{session.id});
    JITWG_ASSIGN(const size_t recent, tx.statements_since("alice", kNow - Seconds(1)));
    EXPECT_EQ(recent, 4u);
    return {};
  }));
}

TEST_P(Contract, AnIncidentIsExtendedAndClosedOnce) {
  const SessionId id = SessionId::make(kNow);
  Incident incident{.id = id, .opened_by = "carol", .reason = "INC", .targets = {"db", "label:x"},
                    .opened_at = kNow, .until = kNow + Seconds(60), .statement = make_statement("1").digest};
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_TRY(tx.add_statement(make_statement("1")));
    JITWG_TRY(tx.add_incident(incident));
    incident.until += Seconds(60);
    JITWG_TRY(tx.save_incident(incident));
    incident.closed_at = kNow;
    incident.closed_by = "carol";
    incident.close_reason = "mended";
    JITWG_TRY(tx.save_incident(incident));
    JITWG_ASSIGN(const auto found, tx.incident(id));
    EXPECT_EQ(found->targets, incident.targets);
    EXPECT_EQ(found->until, kNow + Seconds(120));
    EXPECT_EQ(found->closed_by, "carol");
    return {};
  }));
  incident.close_reason = "never mind";
  EXPECT_FALSE(run(*store_, [&](Tx& tx) { return tx.save_incident(incident); }));
}

TEST_P(Contract, RulesAreThoseOfTheirTime) {
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    const std::string a(64, 'a'), b(64, 'b');
    JITWG_TRY(tx.keep_rules({a, "p1", kNow, "{}"}));
    JITWG_TRY(tx.keep_rules({a, "p1", kNow + Seconds(5), "{}"}));  // nothing new
    JITWG_TRY(tx.keep_rules({b, "p2", kNow + Seconds(10), "{}"}));
    JITWG_TRY(tx.keep_rules({a, "p1", kNow + Seconds(20), "{}"}));  // taken back
    JITWG_ASSIGN(const auto before, tx.rules_at(kNow - Seconds(1), ""));
    EXPECT_FALSE(before);
    JITWG_ASSIGN(const auto first, tx.rules_at(kNow + Seconds(9), ""));
    EXPECT_EQ(first->loaded_at, kNow);
    JITWG_ASSIGN(const auto second, tx.rules_at(kNow + Seconds(30), "p2"));
    EXPECT_EQ(second->digest, b);
    JITWG_ASSIGN(const auto last, tx.rules_at(kNow + Seconds(30), ""));
    EXPECT_EQ(last->loaded_at, kNow + Seconds(20));
    return {};
  }));
}

// --- SQLite's own ---

class SqliteFile : public Contract {};
INSTANTIATE_TEST_SUITE_P(Sqlite, SqliteFile, testing::Values("file"));

TEST_P(SqliteFile, IsThereAfterReopening) {
  const Session session = add("a");
  store_.reset();
  store_ = std::move(*open_sqlite(path_));
  EXPECT_EQ(read(session.id).person, "alice");
}

TEST_P(SqliteFile, NothingIsDeletedAndWhatWasWrittenStays) {
  const Session session = add("a");
  ASSERT_TRUE(run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_TRY(
        tx.add_decision({session.id, "carol", Choice::approve, {}, {}, kNow, session.request}));
    JITWG_TRY(tx.add_report({session.id, "gw1", NodeReport::State::open, kNow, {}, ""}));
    JITWG_TRY(tx.add_event(session.id, "x"));
    JITWG_TRY(tx.add_token({std::string(64, 'b'), "alice", kNow, session.request}));
    JITWG_TRY(tx.add_lock({{Subject::Kind::all, {}}, "carol", "x", kNow, session.request}));
    JITWG_TRY(tx.clear_locks({Subject::Kind::all, {}}, session.request));
    JITWG_TRY(tx.add_incident({.id = session.id, .opened_by = "carol", .reason = "x", .targets = {"db"}, .opened_at = kNow,
                               .until = kNow + Seconds(1), .statement = session.request}));
    JITWG_TRY(tx.touch(session.id, session.request));
    JITWG_TRY(tx.add_write_off({session.id, "gw1", "erin", "x", kNow, session.request}));
    JITWG_TRY(tx.keep_rules({std::string(64, 'c'), "p", kNow, "{}"}));
    return tx.queue_for_signer(session.request);
  }));
  SQLite::Database other(path_, SQLite::OPEN_READWRITE);
  for (const std::string table : {"statements", "sessions", "decisions", "node_reports", "events",
                                  "tokens", "signer_queue", "transitions", "locks", "incidents",
                                  "touched", "write_offs", "rules"})
    EXPECT_THROW(other.exec("DELETE FROM " + table), SQLite::Exception) << table;
  for (const std::string change :
       {"statements SET body = X'78'", "sessions SET person = 'mallory'",
        "decisions SET choice = 'deny'", "node_reports SET state = 'closed'",
        "events SET body = 'y'", "tokens SET until = 0", "transitions SET to_state = 'active'",
        "locks SET person = 'x'", "locks SET cleared_by = NULL", "incidents SET opened_by = 'x'", "touched SET statement = 'x'",
        "write_offs SET person = 'x'", "rules SET answer = '[]'"})
    EXPECT_THROW(other.exec("UPDATE " + change), SQLite::Exception) << change;
}

TEST_P(SqliteFile, AnAlteredStatementIsNoticed) {
  const Session session = add("a");
  {
    SQLite::Database other(path_, SQLite::OPEN_READWRITE);
    other.exec("DROP TRIGGER statements_fixed");
    other.exec("UPDATE statements SET body = X'66'");
  }
  const auto result = run(*store_, [&](Tx& tx) -> Result<void> {
    JITWG_TRY(tx.statement(session.request));
    return {};
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::corrupt);
}

TEST_P(SqliteFile, ADamagedOrNewerOrUnusableDatabaseIsRefused) {
  const std::string garbage = (directory_ / "garbage.db").string();
  std::ofstream(garbage) << std::string(8192, 'x');
  ASSERT_FALSE(open_sqlite(garbage));
  EXPECT_EQ(open_sqlite(garbage).error().code, Code::corrupt);
  EXPECT_FALSE(open_sqlite(directory_.string()));
  EXPECT_FALSE(open_sqlite((directory_ / "missing" / "broker.db").string()));
  store_.reset();
  { SQLite::Database(path_, SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 99"); }
  const auto newer = open_sqlite(path_);
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, Code::unsupported_version);
}

}  // namespace
}  // namespace jitwg::store
