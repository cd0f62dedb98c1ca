#include "broker/daemon/use_cases.h"

#include <gtest/gtest.h>

#include "broker/base/limits.h"
#include "broker/daemon/reading.h"
#include "broker/daemon/session_json.h"
#include "tests/support/fake_realm.h"

namespace jitwg::broker {
namespace {

using ReportState = store::NodeReport::State;
constexpr const char* kGatewayEvidence = R"({"peer":false,"elements":0,"flows":0})";
constexpr const char* kJumpEvidence = R"({"processes":0})";

class UseCases : public testing::Test {
 protected:
  void SetUp() override {
    store_ = std::move(*store::open_sqlite(":memory:"));
    rules_ = realm_.rules();
  }

  template <typename T>
  Result<T> act(std::function<Result<T>(Change&)> work) {
    Effects effects;
    std::optional<T> value;
    const auto result = store::run(*store_, [&](store::Tx& tx) -> Result<void> {
      Change change(tx, clock_.now(), effects);
      JITWG_ASSIGN(value, work(change));
      return {};
    });
    if (!result) return tl::unexpected<Error>(result.error());
    for (const Event& event : effects.events) events_.push_back(event);
    return std::move(*value);
  }
  Result<void> run(const std::function<Result<void>(Change&)>& work) {
    const auto done = act<int>([&](Change& change) -> Result<int> {
      JITWG_TRY(work(change));
      return 0;
    });
    if (!done) return tl::unexpected<Error>(done.error());
    return {};
  }

  Result<Accepted> post(const ssh::SignedDocument& document) {
    JITWG_ASSIGN(const VerifiedStatement verified,
                 verify_statement(document, rules_->people, rules_->policy.realm, clock_.now()));
    return act<Accepted>([&](Change& change) { return accept_statement(change, *rules_, verified); });
  }
  Result<Accepted> post(const std::string& key, const Statement& statement) { return post(realm_.sign(key, statement)); }
  Code refused(const std::string& key, const Statement& statement) {
    const auto answer = post(key, statement);
    if (answer && !answer->refusal) return Code::bug;
    return answer ? answer->refusal->code : answer.error().code;
  }

  RequestStatement request(const std::string& by = "alice", const std::string& target = "db") {
    return realm_.request(by, target, clock_.now());
  }
  DecisionStatement decision(const std::string& by, const RequestStatement& about) {
    return realm_.decision(by, about, clock_.now());
  }
  RevokeStatement revoke(const std::string& by, const SessionId& id) { return {realm_.head(by, clock_.now()), {Subject::Kind::session, id.str()}, "enough"}; }

  store::Session read(const SessionId& id) {
    return *act<store::Session>([&](Change& change) { return change.session(id); });
  }
  SessionId approved() {
    const RequestStatement asked = request();
    EXPECT_TRUE(post("alice", asked));
    EXPECT_TRUE(post("carol", decision("carol", asked)));
    EXPECT_EQ(read(asked.session).state, State::approved);
    return asked.session;
  }
  SessionId opening() {
    const SessionId id = approved();
    EXPECT_TRUE(act<store::Session>([&](Change& change) { return begin_opening(change, *rules_, id, "gw1"); }));
    return id;
  }
  void keep_grant(const SessionId& id) {
    const store::Session session = read(id);
    const auto issued = check_issued(*rules_, session, realm_.issue(session, clock_.now()));
    ASSERT_TRUE(issued) << issued.error().render();
    ASSERT_TRUE(run([&](Change& change) { return keep_issued(change, id, *issued); }));
  }
  Result<void> report(const SessionId& id, const std::string& node, ReportState state, const std::string& evidence = {}) {
    return run([&](Change& change) {
      return take_report(change, {id, node, state, change.now,
                                  state == ReportState::refused ? std::optional(Code::address_taken) : std::nullopt, evidence});
    });
  }
  SessionId active() {
    const SessionId id = opening();
    keep_grant(id);
    EXPECT_TRUE(report(id, "gw1", ReportState::open));
    EXPECT_EQ(read(id).state, State::opening) << "the gateway alone is not enough";
    EXPECT_TRUE(report(id, "jump1", ReportState::open));
    EXPECT_EQ(read(id).state, State::active);
    return id;
  }
  void prove_closed(const SessionId& id) {
    EXPECT_TRUE(report(id, "gw1", ReportState::closed, kGatewayEvidence));
    EXPECT_EQ(read(id).state, State::closing);
    EXPECT_TRUE(report(id, "jump1", ReportState::closed, kJumpEvidence));
    EXPECT_EQ(read(id).state, State::closed);
  }
  size_t nobody_knows() {
    return act<std::vector<store::Session>>([](Change& change) { return change.tx.sessions({}, {}, 10); })->size();
  }

  FakeRealm realm_;
  FakeClock clock_;
  RulesPtr rules_;
  std::unique_ptr<store::Store> store_;
  std::vector<Event> events_;
};

// --- statements that do not count ---

TEST_F(UseCases, WhatIsBadlySignedMakesNoSession) {
  const RequestStatement asked = request();
  auto altered = realm_.sign("alice", asked);
  altered.body.replace(altered.body.find("INC-1"), 5, "INC-2");
  EXPECT_EQ(post(altered).error().code, Code::bad_signature);
  EXPECT_EQ(refused("bob", asked), Code::wrong_key);
  EXPECT_EQ(refused("ca", request("mallory")), Code::unknown_person);
  RequestStatement elsewhere = request();
  elsewhere.head.realm = "lab-2";
  EXPECT_EQ(refused("alice", elsewhere), Code::wrong_realm);
  auto wish = realm_.sign("alice", request());
  wish.body.replace(wish.body.find("\"request\""), 9, "\"wish\"");
  EXPECT_EQ(post(ssh::sign(wish.body, kStatementNamespace, realm_.keys.at("alice"))).error().code, Code::unknown_type);
  EXPECT_EQ(post(ssh::sign(render_statement(asked), "file", realm_.keys.at("alice"))).error().code, Code::wrong_namespace);
  EXPECT_EQ(nobody_knows(), 0u);
}

TEST_F(UseCases, StaleOrFromTheFuture) {
  RequestStatement old = request();
  old.head.at -= limits::kClockSkew;
  EXPECT_TRUE(post("alice", old)) << "five minutes are fine";
  old = request();
  old.head.at -= limits::kClockSkew + Seconds(1);
  EXPECT_EQ(refused("alice", old), Code::stale);
  RequestStatement early = request();
  early.head.at += limits::kClockSkew + Seconds(1);
  EXPECT_EQ(refused("alice", early), Code::clock);
}

TEST_F(UseCases, TheSameBytesAgainHaveNoNewEffect) {
  const auto document = realm_.sign("alice", request());
  const auto first = post(document);
  ASSERT_TRUE(first);
  const size_t events = events_.size();
  clock_.time += std::chrono::hours(1);  // even when they would be stale by now
  const auto again = post(document);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->session->id, first->session->id);
  EXPECT_EQ(again->session->requested_at, first->session->requested_at);
  EXPECT_EQ(events_.size(), events);
}

TEST_F(UseCases, AKnownNonceOrIdWithOtherBytesIsAReplay) {
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  RequestStatement same_nonce = request();
  same_nonce.head.nonce = asked.head.nonce;
  EXPECT_EQ(refused("alice", same_nonce), Code::replay);
  RequestStatement same_id = request("bob");
  same_id.session = asked.session;
  EXPECT_EQ(refused("bob", same_id), Code::replay);
}

TEST_F(UseCases, SessionKeysServeOneSessionAndNothingElse) {
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  RequestStatement again = request();
  again.wg_public_key = asked.wg_public_key;
  EXPECT_EQ(refused("alice", again), Code::key_reused);
  again = request();
  again.wg_public_key = realm_.gateway_key;
  EXPECT_EQ(refused("alice", again), Code::key_reused);
  again = request();
  again.ssh_public_key = asked.ssh_public_key;
  EXPECT_EQ(refused("alice", again), Code::key_reused);
  for (const std::string owner : {"alice", "bob", "ca", "gw1", "jump1", "host"}) {
    again = request();
    again.ssh_public_key = realm_.keys.at(owner).public_key();
    EXPECT_EQ(refused("alice", again), Code::key_reused) << owner;
  }
}

TEST_F(UseCases, WhatPolicyDeniesIsStoredVisibleAndRefusedAgain) {
  RequestStatement too_long = request();
  too_long.duration = std::chrono::hours(2);
  const std::vector<std::pair<RequestStatement, Code>> cases = {{request("alice", "moon"), Code::unknown_target},
                                                                {request("erin"), Code::no_rule},
                                                                {too_long, Code::duration_over_limit}};
  for (const auto& [asked, code] : cases) {
    EXPECT_EQ(refused(asked.head.by, asked), code);
    EXPECT_EQ(refused(asked.head.by, asked), code) << "the same bytes again";
    EXPECT_EQ(read(asked.session).state, State::denied);
    EXPECT_EQ(read(asked.session).refusal->code, code);
  }
}

TEST_F(UseCases, ARequestThatNamesAnIncidentNeedsAnOpenOne) {
  RequestStatement asked = request();
  asked.incident = SessionId::make(clock_.now());
  EXPECT_EQ(refused("alice", asked), Code::no_incident);
}

TEST_F(UseCases, SixHundredStatementsAPersonAndHour) {
  const auto login = [&](const std::string& by) {
    return post(by, LoginStatement{realm_.head(by, clock_.now()), sha256_hex(random_bytes(32)), Seconds(60)});
  };
  for (size_t i = 0; i < limits::kStatementsPerHour; ++i) ASSERT_TRUE(login("alice"));
  const auto more = login("alice");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Code::too_many_requests);
  EXPECT_TRUE(login("bob")) << "others are not held up";
  clock_.time += std::chrono::hours(1);
  EXPECT_TRUE(login("alice"));
}

TEST_F(UseCases, TwentyOpenRequestsAPerson) {
  for (size_t i = 0; i < limits::kOpenRequestsPerPerson; ++i) ASSERT_TRUE(post("alice", request()));
  EXPECT_EQ(refused("alice", request()), Code::too_many_requests);
  EXPECT_TRUE(post("bob", request("bob"))) << "another person is not held up";
}

// --- deciding ---

TEST_F(UseCases, DecisionsThatDoNotCount) {
  RequestStatement asked = request();
  asked.head.at += Seconds(200);
  ASSERT_TRUE(post("alice", asked));
  EXPECT_EQ(refused("alice", decision("alice", asked)), Code::self_approval);
  EXPECT_EQ(refused("bob", decision("bob", asked)), Code::not_approver);
  DecisionStatement other_bytes = decision("carol", asked);
  other_bytes.request_sha256 = sha256_hex("something else");
  EXPECT_EQ(refused("carol", other_bytes), Code::wrong_request);
  DecisionStatement wider = decision("carol", asked);
  wider.access.scope = *parse_scope({"tcp 10.0.0.0/8:1-65535"});
  EXPECT_EQ(refused("carol", wider), Code::scope_changed);
  DecisionStatement longer = decision("carol", asked);
  longer.duration = asked.duration + Seconds(1);
  EXPECT_EQ(refused("carol", longer), Code::duration_over_limit);
  DecisionStatement earlier = decision("carol", asked);
  earlier.head.at -= Seconds(101);  // within the skew of the broker's clock, not of the request
  EXPECT_EQ(refused("carol", earlier), Code::bad_order);
  DecisionStatement nowhere = decision("carol", asked);
  nowhere.session = request().session;
  EXPECT_EQ(refused("carol", nowhere), Code::unknown_session);
  EXPECT_EQ(read(asked.session).state, State::pending);
}

TEST_F(UseCases, ADecisionOnWhatPolicyNoLongerGivesIsRefused) {
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  const DecisionStatement seen = decision("carol", asked);
  realm_.port = "5433";
  rules_ = realm_.rules();
  EXPECT_EQ(refused("carol", seen), Code::scope_changed);
  EXPECT_TRUE(post("carol", decision("carol", asked))) << "signed about what it is now";
  EXPECT_EQ(render_scope(read(asked.session).access.scope).back(), "tcp 10.60.10.20:5433");
}

TEST_F(UseCases, TwoPeopleAreTwoAndTheShortestDurationCounts) {
  realm_.approvals = "2";
  rules_ = realm_.rules();
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  DecisionStatement first = decision("carol", asked);
  first.duration = Seconds(20);
  ASSERT_TRUE(post("carol", first));
  EXPECT_EQ(refused("carol", decision("carol", asked)), Code::already_decided);
  EXPECT_EQ(read(asked.session).state, State::pending);
  ASSERT_TRUE(post("dave", decision("dave", asked)));
  EXPECT_EQ(read(asked.session).state, State::approved);
  EXPECT_EQ(read(asked.session).duration, Seconds(20));
}

TEST_F(UseCases, TheFirstDenyDenies) {
  realm_.approvals = "2";
  rules_ = realm_.rules();
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  ASSERT_TRUE(post("carol", decision("carol", asked)));
  DecisionStatement no = decision("dave", asked);
  no.choice = Choice::deny;
  ASSERT_TRUE(post("dave", no));
  EXPECT_EQ(read(asked.session).state, State::denied);
  EXPECT_EQ(check_may_open(read(asked.session), clock_.now()).error().code, Code::decision_denied);
}

TEST_F(UseCases, WithoutApprovalsItIsApprovedAtOnce) {
  const RequestStatement asked = request("alice", "net");
  ASSERT_TRUE(post("alice", asked));
  EXPECT_EQ(read(asked.session).state, State::approved);
}

// --- opening ---

TEST_F(UseCases, OnlyAnApprovedSessionOpens) {
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  EXPECT_EQ(check_may_open(read(asked.session), clock_.now()).error().code, Code::still_pending);
  const SessionId id = approved();
  EXPECT_TRUE(check_may_open(read(id), clock_.now()));
  clock_.time += std::chrono::hours(1);
  EXPECT_EQ(check_may_open(read(id), clock_.now()).error().code, Code::session_ended) << "even before the tick lapses it";
}

TEST_F(UseCases, SixtyActivationsAnHour) {
  for (size_t i = 0; i < limits::kActivationsPerHour; ++i) opening();
  const SessionId id = approved();
  const auto begun = act<store::Session>([&](Change& change) { return begin_opening(change, *rules_, id, "gw1"); });
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Code::too_many_activations);
  EXPECT_EQ(read(id).state, State::approved);
}

TEST_F(UseCases, AnAnswerAboutSomethingElseIsNoGrant) {
  const store::Session session = read(opening());
  EXPECT_TRUE(check_issued(*rules_, session, realm_.issue(session, clock_.now())));
  store::Session other = session;
  other.person = "bob";
  EXPECT_EQ(check_issued(*rules_, session, realm_.issue(other, clock_.now())).error().code, Code::foreign_grant);
  other = session;
  other.gateway = "gw2";
  EXPECT_EQ(check_issued(*rules_, session, realm_.issue(other, clock_.now())).error().code, Code::foreign_grant);
  json::value swapped = realm_.issue(session, clock_.now());
  swapped.as_object()["certificate"] = "ssh-ed25519-cert-v01@openssh.com " + base64_encode("another");
  EXPECT_EQ(check_issued(*rules_, session, swapped).error().code, Code::bad_certificate);
  swapped.as_object()["certificate"] = nullptr;
  EXPECT_EQ(check_issued(*rules_, session, swapped).error().code, Code::bad_certificate);
}

TEST_F(UseCases, ARefusalOfTheSignerClosesWithoutEvidence) {
  const SessionId id = opening();
  ASSERT_TRUE(run([&](Change& change) { return refuse_opening(change, id, {Code::scope_changed, "differs", ""}); }));
  EXPECT_EQ(read(id).state, State::closed);
  EXPECT_EQ(read(id).close_reason, CloseReason::failed);
  EXPECT_EQ(check_may_open(read(id), clock_.now()).error().code, Code::scope_changed);
}

TEST_F(UseCases, SilenceOfTheSignerNeedsEvidenceOfEveryNode) {
  const SessionId id = opening();
  ASSERT_TRUE(run([&](Change& change) { return fail_opening(change, id, {Code::signer_unavailable, "silent", ""}); }));
  EXPECT_EQ(read(id).state, State::closing);
  prove_closed(id);
  EXPECT_EQ(read(id).close_reason, CloseReason::failed);
}

TEST_F(UseCases, AGrantThatComesAfterTheRevokeOpensNothing) {
  const SessionId id = opening();
  ASSERT_TRUE(post("carol", revoke("carol", id)));
  keep_grant(id);
  EXPECT_EQ(read(id).state, State::closing);
  ASSERT_TRUE(report(id, "gw1", ReportState::open));
  ASSERT_TRUE(report(id, "jump1", ReportState::open));
  EXPECT_EQ(read(id).state, State::closing);
  prove_closed(id);
}

TEST_F(UseCases, ANodeThatRefusesOrClosesFailsTheOpening) {
  for (const ReportState state : {ReportState::refused, ReportState::closed}) {
    const SessionId id = opening();
    keep_grant(id);
    ASSERT_TRUE(report(id, "gw1", ReportState::open));
    ASSERT_TRUE(report(id, "jump1", state, state == ReportState::closed ? kJumpEvidence : ""));
    EXPECT_EQ(read(id).state, State::closing);
    EXPECT_EQ(read(id).close_reason, CloseReason::failed);
    EXPECT_EQ(check_may_open(read(id), clock_.now()).error().code, Code::not_confirmed);
  }
}

// --- ending ---

TEST_F(UseCases, ClosedNeedsCleanEvidenceOfEveryNode) {
  const SessionId id = active();
  ASSERT_TRUE(act<store::Session>([&](Change& change) { return return_session(change, id); }));
  for (const char* dirty : {R"({"peer":true,"elements":0,"flows":0})", R"({"peer":false,"elements":1,"flows":0})",
                            R"({"peer":false,"elements":0,"flows":2})", R"({"peer":false,"elements":0})", "{}", kJumpEvidence}) {
    ASSERT_TRUE(report(id, "gw1", ReportState::closed, dirty));
    ASSERT_TRUE(report(id, "jump1", ReportState::closed, kJumpEvidence));
    EXPECT_EQ(read(id).state, State::closing) << dirty;
  }
  ASSERT_TRUE(report(id, "gw1", ReportState::closed, kGatewayEvidence));
  EXPECT_EQ(read(id).state, State::closed);
  EXPECT_EQ(read(id).close_reason, CloseReason::returned);
}

TEST_F(UseCases, ANodeThatOpensAgainTakesItsEvidenceBack) {
  const SessionId id = active();
  ASSERT_TRUE(act<store::Session>([&](Change& change) { return return_session(change, id); }));
  ASSERT_TRUE(report(id, "gw1", ReportState::closed, kGatewayEvidence));
  ASSERT_TRUE(report(id, "gw1", ReportState::open));
  ASSERT_TRUE(report(id, "jump1", ReportState::closed, kJumpEvidence));
  EXPECT_EQ(read(id).state, State::closing);
}

TEST_F(UseCases, ANodeThatIsNoPartOfItHasNoSay) {
  const SessionId id = active();
  EXPECT_EQ(report(id, "gw2", ReportState::closed, kGatewayEvidence).error().code, Code::wrong_node);
  EXPECT_EQ(read(id).state, State::active);
  EXPECT_TRUE(report(request().session, "gw1", ReportState::closed, kGatewayEvidence)) << "not ours: taken, no effect";
}

TEST_F(UseCases, ExpiryIsExpiryWhoeverNoticesFirst) {
  const SessionId ours = active();
  const SessionId theirs = active();
  clock_.time += Seconds(59);
  ASSERT_TRUE(report(theirs, "gw1", ReportState::closed, kGatewayEvidence)) << "a node a second ahead of us";
  EXPECT_EQ(read(theirs).close_reason, CloseReason::expired);
  ASSERT_TRUE(run(end_due));
  EXPECT_EQ(read(ours).state, State::active);
  clock_.time += Seconds(1);
  ASSERT_TRUE(run(end_due));
  EXPECT_EQ(read(ours).close_reason, CloseReason::expired);
}

TEST_F(UseCases, ANodeThatClosesEarlyLostContact) {
  const SessionId id = active();
  ASSERT_TRUE(report(id, "jump1", ReportState::closed, kJumpEvidence));
  EXPECT_EQ(read(id).close_reason, CloseReason::lost_contact);
}

TEST_F(UseCases, WhoMayRevoke) {
  const SessionId id = active();
  EXPECT_EQ(refused("bob", revoke("bob", id)), Code::not_permitted);
  EXPECT_EQ(refused("dave", revoke("dave", id)), Code::not_permitted) << "could have approved, but did not";
  ASSERT_TRUE(post("carol", revoke("carol", id)));
  EXPECT_EQ(read(id).close_reason, CloseReason::revoked);
  ASSERT_TRUE(post("erin", revoke("erin", id))) << "while closing: kept for the signer, the reason stays";
  prove_closed(id);
  EXPECT_EQ(refused("erin", revoke("erin", id)), Code::wrong_state);
  const SessionId own = approved();
  ASSERT_TRUE(post("alice", revoke("alice", own)));
  EXPECT_EQ(read(own).state, State::cancelled);
  EXPECT_EQ(act<std::vector<store::Statement>>([](Change& change) { return change.tx.for_signer(); })->size(), 3u);
}

TEST_F(UseCases, RequestsLapse) {
  const RequestStatement undecided = request();
  ASSERT_TRUE(post("alice", undecided));
  const SessionId unused = approved();
  clock_.time += std::chrono::hours(1);
  ASSERT_TRUE(run(end_due));
  EXPECT_EQ(read(unused).state, State::lapsed);
  EXPECT_EQ(read(undecided.session).state, State::pending);
  clock_.time += std::chrono::hours(23);
  ASSERT_TRUE(run(end_due));
  EXPECT_EQ(read(undecided.session).state, State::lapsed);
}

TEST_F(UseCases, ARemovedPersonLosesWhatTheyHaveAndOthersKeepTheirs) {
  const SessionId live = active();
  const SessionId waiting = approved();
  const RequestStatement bobs = request("bob");
  ASSERT_TRUE(post("bob", bobs));
  std::erase(realm_.persons, "alice");
  rules_ = realm_.rules();
  ASSERT_TRUE(run([&](Change& change) { return end_disallowed(change, *rules_); }));
  EXPECT_EQ(read(live).close_reason, CloseReason::revoked);
  EXPECT_EQ(read(waiting).state, State::cancelled);
  EXPECT_EQ(read(bobs.session).state, State::pending);
}

// --- reading, and the record ---

TEST_F(UseCases, TokensReadWhatTheyMay) {
  const RequestStatement asked = request();
  ASSERT_TRUE(post("alice", asked));
  const std::string own = hex_encode(realm_.token);
  const auto login = [&](const std::string& person) {
    const std::string token = random_bytes(32);
    EXPECT_TRUE(post(person, LoginStatement{realm_.head(person, clock_.now()), sha256_hex(token), Seconds(600)}));
    return hex_encode(token);
  };
  const auto reading = [&](const std::string& bearer) {
    const auto session = act<store::Session>([&](Change& c) { return read_session(c, *rules_, bearer, asked.session); });
    return session ? "ok" : std::string(name(session.error().code));
  };
  EXPECT_EQ(reading(own), "ok");
  EXPECT_EQ(reading(""), "bad_token");
  EXPECT_EQ(reading(std::string(64, '0')), "bad_token");
  EXPECT_EQ(reading(login("bob")), "unknown_session");
  for (const std::string person : {"alice", "carol"}) EXPECT_EQ(reading(login(person)), "ok") << person;
  events_.clear();
  EXPECT_EQ(reading(login("erin")), "ok");
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].name, EventName::audit_read);
  EXPECT_EQ(events_[0].session, asked.session);
  const std::string carol = login("carol");
  clock_.time += Seconds(600);
  EXPECT_EQ(reading(carol), "bad_token") << "its time is over";
  EXPECT_EQ(refused("carol", LoginStatement{realm_.head("carol", clock_.now()), sha256_hex("x"), std::chrono::hours(11)}),
            Code::duration_over_limit);
}

TEST_F(UseCases, EveryStepIsInTheSessionsChain) {
  const SessionId id = active();
  ASSERT_TRUE(act<store::Session>([&](Change& change) { return return_session(change, id); }));
  prove_closed(id);
  const auto chain = act<std::vector<store::ChainedEvent>>([&](Change& change) { return change.tx.events(id); });
  std::vector<std::string> names;
  std::string previous(64, '0');
  for (const store::ChainedEvent& event : *chain) {
    EXPECT_EQ(event.hash, sha256_hex(previous + " " + event.body));
    previous = event.hash;
    names.emplace_back(parse_json(event.body, 4096)->as_object().at("event").as_string());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"request.submitted", "request.decided", "session.opening", "session.activated",
                                             "session.closing", "session.closed"}));
}

TEST_F(UseCases, TheSessionObjectHasEveryKeyAlways) {
  const SessionId id = active();
  const RequestStatement pending = request();
  ASSERT_TRUE(post("alice", pending));
  for (const SessionId& one : {id, pending.session}) {
    const auto object = act<json::value>([&](Change& change) -> Result<json::value> {
      JITWG_ASSIGN(const store::Session session, change.session(one));
      return session_json(change.tx, session);
    });
    ASSERT_TRUE(object);
    for (const char* key : {"session", "state", "close_reason", "person", "target", "reason", "ticket", "duration", "login",
                            "gateway", "jump_hosts", "address", "scope", "wg_public_key", "serial", "requested_at", "not_before",
                            "not_after", "incident", "break_glass", "approvals", "evidence", "names"})
      EXPECT_TRUE(object->as_object().contains(key)) << key;
    EXPECT_EQ(object->as_object().size(), 23u);
  }
}

}  // namespace
}  // namespace jitwg::broker
