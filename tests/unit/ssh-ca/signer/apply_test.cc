// What is applied to the signer, and what it forbids from then on, whatever a broker says.
#include "tests/unit/ssh-ca/signer/world.h"

namespace jitwg::signer {
namespace {

using enum Subject::Kind;

class ApplyTest : public ::testing::Test {
 protected:
  std::string ask(const json::value& question, WallTime now = kNow) { return code_of(signer.answer(question, now)); }
  std::string apply(const Statement& statement, WallTime now = kNow) {
    return ask({{"op", "apply"}, {"statement", render_document(w.sign(statement))}}, now);
  }
  json::value question(const std::string& by = "alice", WallTime at = kNow, std::optional<SessionId> in = {}) {
    RequestStatement r = w.request(by, at);
    r.incident = in;
    const auto doc = w.sign(r);
    last = r.session;
    if (in) return w.issue(doc, {});
    DecisionStatement d = w.decision(doc, "carol", at);
    return w.issue(doc, {w.sign(d)});
  }
  StatementHead head(const std::string& by, WallTime at = kNow) { return w.head(by, at); }
  void restart() {
    ASSERT_TRUE(signer.sync());
    { Signer closed = std::move(signer); }
    signer = w.signer();
  }

  World w;
  Signer signer = w.signer();
  SessionId last = SessionId::make(kNow);
};

TEST_F(ApplyTest, ALockedPersonsStatementsCountForNothing) {
  const auto asked = question(), approved = question("bob");
  EXPECT_EQ(apply(LockStatement{head("erin"), {person, "alice"}, "x"}), "not_permitted");
  ASSERT_EQ(apply(LockStatement{head("carol"), {person, "alice"}, "laptop stolen"}), "ok");
  restart();
  EXPECT_EQ(ask(asked), "locked");
  EXPECT_EQ(ask(question()), "locked");
  EXPECT_EQ(apply(RevokeStatement{head("alice"), {person, "alice"}, "x"}), "locked");
  EXPECT_EQ(ask(approved), "ok");  // bob's, by carol
  // Not even an approver's.
  ASSERT_EQ(apply(LockStatement{head("carol"), {person, "carol"}, "my own"}), "ok");
  EXPECT_EQ(ask(question("bob")), "locked");
  EXPECT_EQ(apply(UnlockStatement{head("carol"), {person, "alice"}, "found"}), "locked");
}

TEST_F(ApplyTest, AnyoneMayLockThemselvesAndNobodyUnlocksThemselves) {
  ASSERT_EQ(apply(LockStatement{head("alice"), {person, "alice"}, "lost my key"}), "ok");
  EXPECT_EQ(ask(question()), "locked");
  EXPECT_EQ(apply(UnlockStatement{head("alice"), {person, "alice"}, "found it"}), "locked");
  EXPECT_EQ(apply(UnlockStatement{head("bob"), {person, "alice"}, "she found it"}), "not_permitted");
  ASSERT_EQ(apply(UnlockStatement{head("carol"), {person, "alice"}, "she found it"}), "ok");
  restart();
  EXPECT_EQ(ask(question()), "ok");
  EXPECT_EQ(apply(UnlockStatement{head("carol"), {person, "alice"}, "again"}), "wrong_state");
}

TEST_F(ApplyTest, AnUnlockThatWasHeldBackOpensNothing) {
  const auto early = UnlockStatement{head("carol", kNow - Seconds(3600)), {person, "alice"}, "found"};
  const auto just_before = UnlockStatement{head("carol", kNow - Seconds(1)), {person, "alice"}, "found"};
  ASSERT_EQ(apply(LockStatement{head("carol"), {person, "alice"}, "stolen again"}), "ok");
  EXPECT_EQ(apply(early), "bad_order");
  EXPECT_EQ(apply(just_before), "bad_order");
  EXPECT_EQ(ask(question()), "locked");
}

TEST_F(ApplyTest, LocksOfTargetsNodesAndAll) {
  ASSERT_EQ(apply(LockStatement{head("carol"), {target, "db-prod"}, "x"}), "ok");
  EXPECT_EQ(ask(question()), "locked");
  ASSERT_EQ(apply(UnlockStatement{head("carol"), {target, "db-prod"}, "x"}), "ok");
  ASSERT_EQ(apply(LockStatement{head("carol"), {node, "gw1"}, "x"}), "ok");
  EXPECT_EQ(ask(question()), "locked");
  ASSERT_EQ(apply(UnlockStatement{head("carol"), {node, "gw1"}, "x"}), "ok");
  ASSERT_EQ(apply(LockStatement{head("carol"), {node, "jump1"}, "x"}), "ok");
  EXPECT_EQ(ask(question()), "locked");  // its only jump host
  ASSERT_EQ(apply(UnlockStatement{head("carol"), {node, "jump1"}, "x"}), "ok");
  ASSERT_EQ(apply(LockStatement{head("carol"), {}, "x"}), "ok");
  EXPECT_EQ(ask(question()), "locked");
  ASSERT_EQ(apply(UnlockStatement{head("carol"), {}, "x"}), "ok");
  EXPECT_EQ(ask(question()), "ok");
}

TEST_F(ApplyTest, WithTwoJumpHostsALockedOneIsLeftOut) {
  std::string& text = w.sources.policy_toml;
  const std::string one = "jump_hosts = [\"jump1\"]";
  text.replace(text.find(one), one.size(), "jump_hosts = [\"jump1\", \"jump2\"]");
  text += "\n[jump_hosts.jump2]\naddresses = [\"10.60.0.6\"]\nhost_keys = [\"" + ssh::PrivateKey::generate().public_key().str() +
          "\"]\nnode_key = \"" + ssh::PrivateKey::generate().public_key().str() + "\"\n";
  ASSERT_TRUE(signer.reload(w.sources));
  ASSERT_EQ(apply(LockStatement{head("carol"), {node, "jump1"}, "owned"}), "ok");
  const auto answer = signer.answer(question(), kNow);
  ASSERT_EQ(code_of(answer), "ok");
  const Grant grant = *parse_grant(parse_document(answer.at("grant"), "g")->body);
  ASSERT_EQ(grant.jump_hosts.size(), 1u);
  EXPECT_EQ(grant.jump_hosts[0].name, "jump2");
  for (const std::string& entry : render_scope(grant.scope)) EXPECT_EQ(entry.find("10.60.0.5"), std::string::npos) << entry;
  ASSERT_EQ(apply(LockStatement{head("carol"), {node, "jump2"}, "owned, too"}), "ok");
  EXPECT_EQ(ask(question()), "locked");
}

TEST_F(ApplyTest, WhatIsLockedOrRevokedMustExist) {
  EXPECT_EQ(apply(LockStatement{head("carol"), {person, "alicia"}, "x"}), "unknown_person");
  EXPECT_EQ(apply(LockStatement{head("carol"), {target, "db-prof"}, "x"}), "unknown_target");
  EXPECT_EQ(apply(LockStatement{head("carol"), {node, "gw9"}, "x"}), "wrong_node");
  EXPECT_EQ(apply(RevokeStatement{head("carol"), {incident, last.str()}, "x"}), "unknown_incident");
}

TEST_F(ApplyTest, ARevokeEndsWhatIsThereAndNotWhatComesLater) {
  WallTime t = kNow;
  for (const Subject& what : {Subject{person, "alice"}, Subject{target, "db-prod"}, Subject{}}) {
    SCOPED_TRACE(what.str());
    t += Seconds(1);
    const auto issued = question("alice", t), waiting = question("alice", t);
    ASSERT_EQ(ask(issued, t), "ok");
    EXPECT_EQ(apply(RevokeStatement{head("erin"), what, "x"}, t), "not_permitted");
    ASSERT_EQ(apply(RevokeStatement{head("carol"), what, "x"}, t), "ok");
    EXPECT_EQ(ask(issued, t), "revoked");
    EXPECT_EQ(ask(waiting, t), "revoked");
    EXPECT_EQ(ask(question("alice", t + Seconds(1)), t + Seconds(1)), "ok");
  }
  t += Seconds(2);
  const auto issued = question("alice", t);
  ASSERT_EQ(ask(issued, t), "ok");
  ASSERT_EQ(apply(RevokeStatement{head("carol"), {node, "gw1"}, "x"}, t), "ok");
  EXPECT_EQ(ask(issued, t), "revoked");
  // Anyone their own.
  const auto bobs = question("bob", t);
  ASSERT_EQ(ask(bobs, t), "ok");
  EXPECT_EQ(apply(RevokeStatement{head("alice"), {person, "bob"}, "x"}, t), "not_permitted");
  EXPECT_EQ(apply(RevokeStatement{head("bob"), {person, "bob"}, "x"}, t), "ok");
  EXPECT_EQ(ask(bobs, t), "revoked");
}

// Nothing was issued yet, so the signer does not know whose the session is; a broker that swallows it must gain nothing.
TEST_F(ApplyTest, WhatItsOwnOrItsApproverRevokedIsNeverIssued) {
  const auto revoke = [&](const std::string& by) { return apply(RevokeStatement{head(by), {session, last.str()}, "not any more"}); };
  for (const char* by : {"alice", "carol"}) {
    const auto asked = question();
    ASSERT_EQ(revoke(by), "ok");
    EXPECT_EQ(ask(asked), "revoked") << by;
  }
  // A stranger's claim stops nobody, not even after a restart.
  const auto asked = question();
  ASSERT_EQ(revoke("erin"), "ok");
  const auto own = question();
  ASSERT_EQ(revoke("alice"), "ok");
  restart();
  EXPECT_EQ(ask(asked), "ok");
  EXPECT_EQ(ask(own), "revoked");
}

TEST_F(ApplyTest, TheSameBytesAgainChangeNothing) {
  const auto lock = w.sign(LockStatement{head("carol"), {person, "alice"}, "x"});
  const json::value question{{"op", "apply"}, {"statement", render_document(lock)}};
  ASSERT_EQ(ask(question), "ok");
  ASSERT_EQ(apply(UnlockStatement{head("carol"), {person, "alice"}, "x"}), "ok");
  EXPECT_EQ(ask(question), "ok");
  EXPECT_EQ(ask(this->question()), "ok");  // not locked anew
}

TEST_F(ApplyTest, ARevokeCountsByWhicheverClockIsAhead) {
  const auto issued = question("alice", kNow + Seconds(200));  // its clock, and the revoker's, are 200 s ahead of the signer's
  ASSERT_EQ(ask(issued), "ok");
  ASSERT_EQ(apply(RevokeStatement{head("carol", kNow + Seconds(201)), {person, "alice"}, "x"}), "ok");
  EXPECT_EQ(ask(issued), "revoked");
}

TEST_F(ApplyTest, AKeyThatHasEndedSignsNothingForYesterday) {
  const auto asked = question(), approved = question("bob");
  std::string& people = w.sources.allowed_signers;
  const std::string line = "alice namespaces=\"jitwg\"";
  people.replace(people.find(line), line.size(), "alice namespaces=\"jitwg\",valid-before=\"20260302100100Z\"");
  ASSERT_TRUE(signer.reload(w.sources));
  EXPECT_EQ(ask(asked, kNow + Seconds(60)), "stale");
  EXPECT_EQ(ask(approved, kNow + Seconds(60)), "ok");
  EXPECT_EQ(ask(question()), "ok");  // still its time
}

TEST_F(ApplyTest, KindsThatAreNotItsBusiness) {
  const auto doc = w.sign(w.request());
  ASSERT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc))})), "ok");
  EXPECT_EQ(ask({{"op", "apply"}, {"statement", render_document(doc)}}), "unknown_type");
  const auto r = w.request();
  EXPECT_EQ(apply(r), "unknown_type");
  EXPECT_EQ(apply(LoginStatement{head("carol"), std::string(64, 'a'), Seconds(60)}), "unknown_type");
  EXPECT_EQ(apply(WriteOffStatement{head("carol"), r.session, "gw1", "x"}), "unknown_type");
  EXPECT_EQ(apply(IncidentReviewStatement{head("carol"), r.session, "x"}), "unknown_type");
}

class IncidentTest : public ApplyTest {
 protected:
  IncidentOpenStatement opening(const std::string& by = "carol", WallTime until = kNow + Seconds(3600)) {
    return {head(by), SessionId::make(kNow), {"label:prod"}, "db down", until};
  }
};

TEST_F(IncidentTest, OpensAccessUntilItEnds) {
  const auto open = opening();
  EXPECT_EQ(ask(question("bob", kNow, open.incident)), "no_incident");
  ASSERT_EQ(apply(open), "ok");
  restart();
  const auto asked = question("bob", kNow + Seconds(60), open.incident);
  const auto answer = signer.answer(asked, kNow + Seconds(60));
  ASSERT_EQ(code_of(answer), "ok");
  const Grant grant = *parse_grant(parse_document(answer.at("grant"), "g")->body);
  EXPECT_EQ(grant.incident, open.incident);
  EXPECT_EQ(grant.not_after, open.until);  // asked for 90 minutes
  EXPECT_EQ(ask(question("bob", kNow + Seconds(3595), open.incident), kNow + Seconds(3595)), "no_incident");
  ASSERT_EQ(apply(IncidentExtendStatement{head("carol", kNow + Seconds(3600)), open.incident, kNow + Seconds(9000), "not yet"}, kNow + Seconds(3600)), "ok");
  EXPECT_EQ(ask(question("bob", kNow + Seconds(3601), open.incident), kNow + Seconds(3601)), "ok");
}

TEST_F(IncidentTest, ClosedItOpensNothing) {
  const auto open = opening();
  ASSERT_EQ(apply(open), "ok");
  const auto issued = question("bob", kNow, open.incident), waiting = question("bob", kNow, open.incident);
  ASSERT_EQ(ask(issued), "ok");
  EXPECT_EQ(apply(IncidentCloseStatement{head("alice"), open.incident, "up"}), "not_permitted");
  ASSERT_EQ(apply(IncidentCloseStatement{head("carol"), open.incident, "up"}), "ok");
  EXPECT_EQ(ask(issued), "no_incident");
  EXPECT_EQ(ask(waiting), "no_incident");
  EXPECT_EQ(apply(IncidentExtendStatement{head("carol"), open.incident, kNow + Seconds(9000), "x"}), "wrong_state");
  EXPECT_EQ(apply(IncidentCloseStatement{head("carol"), open.incident, "up"}), "wrong_state");
  auto again = open;
  again.head = head("carol");
  EXPECT_EQ(apply(again), "replay");
}

TEST_F(IncidentTest, WithinWhatPolicySays) {
  EXPECT_EQ(apply(opening("alice")), "not_permitted");
  EXPECT_EQ(apply(opening("carol", kNow + Seconds(8 * 3600 + 1))), "duration_over_limit");
  auto wrong = opening();
  wrong.targets = {"db-prof"};
  EXPECT_EQ(apply(wrong), "unknown_target");
  auto old = opening();
  EXPECT_EQ(apply(old, kNow + Seconds(3600)), "stale");
  auto other = opening();
  other.targets = {"mgmt"};
  ASSERT_EQ(apply(other), "ok");
  EXPECT_EQ(ask(question("bob", kNow, other.incident)), "no_incident");
  EXPECT_EQ(ask(question("alice", kNow, opening().incident)), "no_incident");
}

TEST_F(IncidentTest, ARevokeOfItEndsItsSessionsOnly) {
  const auto open = opening();
  ASSERT_EQ(apply(open), "ok");
  const auto in = question("bob", kNow, open.incident), beside = question("alice");
  ASSERT_EQ(ask(in), "ok");
  ASSERT_EQ(ask(beside), "ok");
  ASSERT_EQ(apply(RevokeStatement{head("carol"), {incident, open.incident.str()}, "start over"}), "ok");
  EXPECT_EQ(ask(in), "revoked");
  EXPECT_EQ(ask(beside), "ok");
  EXPECT_EQ(ask(question("bob", kNow + Seconds(1), open.incident), kNow + Seconds(1)), "ok");
}

TEST_F(ApplyTest, ARuleMayWantHardwareKeys) {
  std::string& text = w.sources.policy_toml;
  const std::string rule = "name = \"platform reaches databases\"";
  text.replace(text.find(rule), rule.size(), rule + "\nkeys = \"sk\"");
  ASSERT_TRUE(signer.reload(w.sources));
  EXPECT_EQ(ask(question()), "hardware_key_wanted");
}

}  // namespace
}  // namespace jitwg::signer
