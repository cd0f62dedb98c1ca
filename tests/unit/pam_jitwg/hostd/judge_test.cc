#include "pam_jitwg/hostd/judge.h"

#include <gtest/gtest.h>

#include "tests/support/fake_grants.h"

namespace jitwg::hostd {
namespace {

const WallTime kStart = *parse_time("2026-03-02T10:00:00Z");
const WallTime kNow = kStart + Seconds(60);

class Judge : public ::testing::Test {
 protected:
  Judge() {
    replica.silence = Seconds(3);
    grants.set({session.open()}, kNow);
  }

  Judgement ask(Question question, std::optional<Remembered> remembered = {}, WallTime now = kNow) {
    return judge(question, {grants, accounts, signer.ca.public_key(), asker, std::move(remembered),
                            replica, now, bound});
  }
  Judgement principals(const FakeSession& s, const std::string& user = "alice",
                       WallTime now = kNow) {
    return ask({Phase::principals, user, s.base64(), {}}, {}, now);
  }
  Judgement account(std::optional<Remembered> remembered, const std::string& user = "alice",
                    WallTime now = kNow) {
    return ask({Phase::account, user, {}, {}}, std::move(remembered), now);
  }
  Judgement open(const FakeSession& s, std::optional<Remembered> remembered,
                 const std::string& user = "alice", const std::string& client = "10.90.0.7",
                 WallTime now = kNow) {
    return ask({Phase::open, user, s.base64(), client}, std::move(remembered), now);
  }
  static Remembered memory(const FakeSession& s, const std::string& user = "alice") {
    return {s.grant.session, *s.grant.certificate_sha256, user};
  }

  FakeSigner signer;
  FakeSession session = signer.session(kStart);
  Grants grants;
  Replica replica;
  Asker asker{true, true};
  pam::Accounts accounts{pam::parse_managed(""),
                         "root:x:0:0::/:/bin/sh\nalice:x:2001:2001::/:/bin/sh\n"
                         "bob:x:2002:2002::/:/bin/sh\npostgres:x:113:113::/:/bin/sh\n"};
  std::vector<SessionId> bound;
};

void expect_refused(const Judgement& judgement, Code code) {
  ASSERT_TRUE(judgement.refusal) << judgement.answer.text;
  EXPECT_EQ(name(*judgement.refusal), name(code)) << judgement.answer.text;
  EXPECT_FALSE(judgement.answer.allow);
  EXPECT_EQ(judgement.answer.code, name(code));
  EXPECT_EQ(judgement.answer.not_after, 0);
  EXPECT_TRUE(judgement.answer.text.starts_with("jitwg: ")) << judgement.answer.text;
  EXPECT_FALSE(judgement.remember);
  EXPECT_EQ(judgement.grant, nullptr);
  EXPECT_TRUE(is_possible(judgement.answer));
}

// The module asks nothing about others, so such a login would be bound to no session and outlive
// it.
TEST_F(Judge, aLoginThatNobodyWouldEnd) {
  accounts.rules = pam::parse_managed("except alice\n");
  expect_refused(principals(session), Code::wrong_user);
  expect_refused(account(memory(session)), Code::wrong_user);
  expect_refused(open(session, memory(session)), Code::wrong_user);
}

TEST_F(Judge, aWholeLogin) {
  const Judgement first = principals(session);
  ASSERT_FALSE(first.refusal) << first.answer.text;
  EXPECT_EQ(first.answer.session, session.grant.session.str());
  EXPECT_EQ(first.answer.not_after, session.grant.not_after.time_since_epoch().count());
  ASSERT_EQ(first.remember, memory(session));
  EXPECT_FALSE(account(first.remember).refusal);
  const Judgement last = open(session, first.remember);
  ASSERT_FALSE(last.refusal) << last.answer.text;
  EXPECT_EQ(last.grant->session, session.grant.session);
  EXPECT_EQ(last.answer.text, "jitwg: session " + session.grant.session.str() + ": 59m left");
}

TEST_F(Judge, onlySshdAndRootAsk) {
  asker = {true, false};
  expect_refused(principals(session), Code::not_permitted);
  asker = {false, true};
  EXPECT_FALSE(principals(session).refusal);  // AuthorizedPrincipalsCommandUser is nobody special
  expect_refused(account(memory(session)), Code::not_permitted);
  expect_refused(open(session, memory(session)), Code::not_permitted);
}

TEST_F(Judge, anotherUser) {
  expect_refused(principals(session, "bob"), Code::wrong_user);
  expect_refused(principals(session, "root"), Code::wrong_user);
  expect_refused(account(memory(session), "bob"), Code::wrong_user);
  expect_refused(account(memory(session, "bob"), "bob"), Code::wrong_user);
  expect_refused(open(session, memory(session), "bob"), Code::wrong_user);
}

TEST_F(Judge, anotherAddress) {
  for (const char* client : {"10.90.0.8", "10.60.0.5", "::1", "fd00:90::7", "::ffff:10.90.0.7",
                             "localhost", "10.90.0.07"})
    expect_refused(open(session, memory(session), "alice", client), Code::wrong_address);
}

TEST_F(Judge, certificatesThatAreNotOurs) {
  FakeSession foreign = session;
  signer.finish(foreign, ssh::PrivateKey::generate());
  const Judgement judgement = principals(foreign);
  expect_refused(judgement, Code::foreign_certificate);
  EXPECT_FALSE(judgement.session);  // another CA's word for a session goes into no record

  FakeSession altered = session;
  altered.blob[60] ^= 1;
  expect_refused(principals(altered), Code::bad_signature);
  for (const std::string& text :
       {std::string("!!!"), base64_encode("nonsense"), session.base64() + "AAAA",
        base64_encode(session.blob.substr(0, session.blob.size() / 2))})
    EXPECT_TRUE(ask({Phase::principals, "alice", text, {}}).refusal);
}

TEST_F(Judge, aCertificateOfOursThatIsNoSessions) {
  for (const auto& change : std::vector<std::function<void(ssh::Certificate&)>>{
           [](auto& c) { c.key_id = "backup"; }, [](auto& c) { c.principals = {"alice"}; },
           [](auto& c) { c.principals.push_back("root"); }, [](auto& c) { c.principals.clear(); },
           [](auto& c) { c.key_id = "jitwg1:" + SessionId::make(kStart).str(); }}) {
    FakeSession odd = session;
    change(odd.certificate);
    signer.finish(odd);
    grants.set({odd.open()}, kNow);
    EXPECT_TRUE(principals(odd).refusal);
  }
}

TEST_F(Judge, anotherCertificateOfTheSameSession) {
  FakeSession second = session;
  second.certificate.serial = 2;
  signer.finish(second);
  expect_refused(principals(second), Code::not_live);
}

TEST_F(Judge, anUnknownSession) {
  const FakeSession unknown = signer.session(kStart);
  const Judgement judgement = principals(unknown);
  expect_refused(judgement, Code::not_live);
  EXPECT_EQ(judgement.session, unknown.grant.session);
  expect_refused(account(memory(unknown)), Code::not_live);
  replica.silence = Seconds(121);
  expect_refused(principals(unknown), Code::stale_replica);  // it may just not have been heard of
}

TEST_F(Judge, aClosedSessionSaysWhy) {
  const std::pair<CloseReason, Code> reasons[] = {
      {CloseReason::revoked, Code::revoked},
      {CloseReason::locked, Code::locked},
      {CloseReason::expired, Code::session_ended},
      {CloseReason::returned, Code::session_ended},
      {CloseReason::incident_closed, Code::session_ended}};
  for (const auto& [reason, code] : reasons) {
    grants.set({session.closed(reason)}, kNow);
    grants.set({}, kNow);  // remembered after the agent is done with it
    for (const Judgement& judgement :
         {principals(session), account(memory(session)), open(session, memory(session))}) {
      expect_refused(judgement, code);
      EXPECT_EQ(judgement.answer.text, "jitwg: session " + session.grant.session.str() +
                                           ": ended (" + std::string(name(reason)) +
                                           "). Ask again with: jitwg request db-prod");
    }
  }
}

TEST_F(Judge, timesToTheSecond) {
  const WallTime end = session.grant.not_after;
  EXPECT_FALSE(principals(session, "alice", end - Seconds(1)).refusal);
  expect_refused(principals(session, "alice", end), Code::session_ended);
  expect_refused(account(memory(session), "alice", end), Code::session_ended);
  expect_refused(open(session, memory(session), "alice", "10.90.0.7", end), Code::session_ended);
  EXPECT_FALSE(principals(session, "alice", kStart - Seconds(30)).refusal);
  expect_refused(principals(session, "alice", kStart - Seconds(31)), Code::clock);
}

TEST_F(Judge, withoutMemoryNobody) {
  const Judgement judgement = account(std::nullopt);
  expect_refused(judgement, Code::not_live);
  EXPECT_NE(judgement.answer.text.find("did not use a jitwg certificate"), std::string::npos);
}

// Between principals and account the login must start again; open has all it needs itself.
TEST_F(Judge, hostdWasRestartedDuringTheLogin) {
  asker.is_older = true;
  const Judgement judgement = account(std::nullopt);
  expect_refused(judgement, Code::not_live);
  EXPECT_NE(judgement.answer.text.find("restarted during this login. Log in again"),
            std::string::npos);
  EXPECT_FALSE(open(session, std::nullopt).refusal);
  expect_refused(open(session, std::nullopt, "bob"), Code::wrong_user);
  expect_refused(open(session, std::nullopt, "alice", "10.90.0.8"), Code::wrong_address);
}

TEST_F(Judge, twoCertificatesInOneLogin) {
  const FakeSession other = signer.session(kStart);
  grants.set({session.open(), other.open()}, kNow);
  EXPECT_FALSE(open(other, memory(other)).refusal);
  expect_refused(open(other, memory(session)), Code::wrong_user);
}

TEST_F(Judge, aStaleReplica) {
  replica.silence = Seconds(120);
  EXPECT_FALSE(principals(session).refusal);
  replica.silence = Seconds(121);
  expect_refused(principals(session), Code::stale_replica);
  expect_refused(account(memory(session)), Code::stale_replica);
  expect_refused(open(session, memory(session)), Code::stale_replica);
  replica.bound_persons = {"alice"};
  EXPECT_FALSE(principals(session).refusal);
  replica.silence = Seconds(601);
  expect_refused(principals(session), Code::stale_replica);
  replica.silence.reset();  // never heard since start
  expect_refused(principals(session), Code::stale_replica);
}

TEST_F(Judge, sudoNeedsTheLiveSessionThatItRunsIn) {
  const auto sudo = [&](const std::string& user = "alice", WallTime now = kNow) {
    return ask({Phase::sudo, user, {}, {}, "sudo"}, {}, now);
  };
  asker.loginuid = 2001;
  expect_refused(sudo(), Code::not_live);  // in no session's cgroup or scope
  asker.session = session.grant.session;
  ASSERT_FALSE(sudo().refusal) << sudo().answer.text;
  EXPECT_EQ(sudo().grant->session, session.grant.session);
  EXPECT_EQ(sudo().answer.text, "");
  EXPECT_FALSE(sudo("postgres").refusal);  // alice, who became postgres
  expect_refused(sudo("alice", session.grant.not_after), Code::session_ended);
  expect_refused(sudo("alice", kStart - Seconds(31)), Code::clock);

  asker.loginuid = 2002;  // bob's login may not use alice's session
  expect_refused(sudo(), Code::wrong_user);
  expect_refused(sudo("bob"), Code::wrong_user);
  asker.loginuid = pam::kNoLogin;  // then the caller must be its login
  EXPECT_FALSE(sudo().refusal);
  expect_refused(sudo("bob"), Code::wrong_user);
  asker.loginuid.reset();
  expect_refused(sudo(), Code::not_permitted);
  asker.loginuid = 2001;
  asker.is_root = false;
  expect_refused(sudo(), Code::not_permitted);
  asker.is_root = true;

  replica.silence = Seconds(121);
  expect_refused(sudo(), Code::stale_replica);
  replica.bound_persons = {"alice"};
  EXPECT_FALSE(sudo().refusal);
  replica.silence = Seconds(601);
  expect_refused(sudo(), Code::stale_replica);
  replica.silence = Seconds(3);
  grants.set({session.closed(CloseReason::revoked)}, kNow);
  expect_refused(sudo(), Code::revoked);
  EXPECT_EQ(sudo().session, session.grant.session);
  asker.session = signer.session(kStart).grant.session;
  expect_refused(sudo(), Code::not_live);
}

TEST_F(Judge, aJobGoesWithTheSessionThatEndsFirst) {
  const auto job = [&](Phase phase = Phase::job, const std::string& user = "alice") {
    return ask({phase, user, {}, {}, "cron"});
  };
  FakeSession longer = signer.session(kStart);
  longer.grant.not_after += Seconds(60);
  grants.set({longer.open(), session.open()}, kNow);
  expect_refused(job(), Code::not_live);
  bound = {longer.grant.session};
  EXPECT_EQ(job().session, longer.grant.session);
  bound = {longer.grant.session, session.grant.session};
  EXPECT_EQ(job().session, session.grant.session);
  EXPECT_EQ(job(Phase::job_open).grant->session, session.grant.session);
  EXPECT_EQ(job(Phase::job_open).answer.text, "");
  expect_refused(job(Phase::job, "bob"),
                 Code::wrong_user);  // records of another's login do not count

  grants.set({longer.open(), session.closed(CloseReason::locked)}, kNow);
  EXPECT_EQ(job().session, longer.grant.session);
  bound = {session.grant.session};
  expect_refused(job(), Code::locked);
  bound = {longer.grant.session};
  accounts.rules = pam::parse_managed("except alice\n");
  expect_refused(job(Phase::job_open), Code::wrong_user);
  accounts.rules = pam::parse_managed("");
  replica.silence = Seconds(601);
  expect_refused(job(), Code::stale_replica);
  asker.is_root = false;
  expect_refused(job(), Code::not_permitted);
}

TEST_F(Judge, theEndOfALoginIsNoQuestion) {
  expect_refused(ask({Phase::close, "alice", {}, {}}), Code::bug);
}

TEST(Grants, oneMoreOrLessLeavesTheOthersAsTheyAre) {
  const FakeSigner signer;
  const FakeSession first = signer.session(kNow), second = signer.session(kNow);
  Grants grants;
  grants.set({first.open()}, kNow);
  grants.open(second.grant);
  EXPECT_NE(grants.by_certificate(*first.grant.certificate_sha256), nullptr);
  EXPECT_NE(grants.by_certificate(*second.grant.certificate_sha256), nullptr);
  grants.close(first.closed(CloseReason::revoked));
  EXPECT_EQ(grants.by_session(first.grant.session), nullptr);
  EXPECT_EQ(grants.by_certificate(*first.grant.certificate_sha256), nullptr);
  ASSERT_NE(grants.closed(first.grant.session), nullptr);
  EXPECT_EQ(grants.closed(first.grant.session)->reason, CloseReason::revoked);
  EXPECT_NE(grants.by_session(second.grant.session), nullptr);
}

TEST(Grants, closedSessionsAreForgottenADayAfterTheirEnd) {
  const FakeSession s = FakeSigner().session(kStart);
  Grants grants;
  grants.set({s.closed(CloseReason::returned)}, kNow);
  grants.set({}, s.grant.not_after + Seconds(86400));
  EXPECT_NE(grants.closed(s.grant.session), nullptr);
  grants.set({}, s.grant.not_after + Seconds(86401));
  EXPECT_EQ(grants.closed(s.grant.session), nullptr);
}

TEST(Grants, aGrantWithoutACertificateLetsNobodyIn) {
  FakeSession s = FakeSigner().session(kStart);
  s.grant.certificate_sha256.reset();
  Grants grants;
  grants.set({s.open()}, kNow);
  EXPECT_EQ(grants.by_certificate(""), nullptr);
  EXPECT_NE(grants.by_session(s.grant.session), nullptr);
}

}  // namespace
}  // namespace jitwg::hostd
