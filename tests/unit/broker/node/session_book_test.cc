#include "broker/node/session_book.h"

#include "broker/base/limits.h"
#include "tests/unit/broker/node/node_fixture.h"

namespace jitwg::node {
namespace {

class SessionBookTest : public NodeTest {
 protected:
  SessionBookTest() { restart(); }

  // As a new process finds it: the kernel and the disk stay, memory goes.
  void restart() {
    book.emplace(config(), *GrantStore::open(directory + "/state"), enforcer, is_mine);
    ASSERT_TRUE(book->load(clock.instant()));
  }
  bool apply(const Update& update) {
    book->apply(update, clock.instant());
    return book->converge(clock.instant());
  }
  // The broker takes everything that is owed.
  void hand_in() {
    const auto owed = book->owed();
    for (const auto& [session, report] : owed) book->reported(session, report.number);
  }
  std::string owed(const SessionId& id) const {
    const auto found = book->owed().find(id);
    if (found == book->owed().end()) return "nothing";
    const Finding& finding = found->second.finding;
    return std::string(name(finding.state)) +
           (finding.refusal ? " " + std::string(jitwg::name(*finding.refusal)) : "");
  }

  std::optional<SessionBook> book;
};

TEST_F(SessionBookTest, AGrantIsStoredOpenedAndConfirmed) {
  const Grant g = grant();
  EXPECT_FALSE(apply(snapshot({open(g)})));
  EXPECT_EQ(enforcer.open, std::set{g.session});
  EXPECT_EQ(owed(g.session), "open");
  EXPECT_TRUE(exists(grant_file(g.session)));
  ASSERT_EQ(book->sessions().size(), 1u);
  EXPECT_EQ(book->sessions()[0].grant, g);
}

TEST_F(SessionBookTest, WhatIsToCloseIsCutBeforeAnythingIsWritten) {
  const Grant revoked = grant(), unnamed = grant(), stays = grant();
  apply(snapshot({open(revoked), open(unnamed), open(stays)}));
  book->apply(set({closed(revoked.session)}), clock.instant());
  EXPECT_EQ(enforcer.cuts, std::set{revoked.session});
  EXPECT_TRUE(exists(tombstone_file(revoked.session)));
  book->apply(snapshot({open(stays), closed(revoked.session)}), clock.instant());
  EXPECT_EQ(enforcer.cuts, (std::set{revoked.session, unnamed.session}));
  EXPECT_EQ(enforcer.cut_reasons[revoked.session], CloseReason::revoked);
  EXPECT_EQ(enforcer.cut_reasons[unnamed.session], CloseReason::failed);
  EXPECT_FALSE(enforcer.buried_at_cut);
}

TEST_F(SessionBookTest, ANewSessionAloneIsAddedWithoutALookAtTheOthers) {
  const Grant first = grant(), second = grant();
  apply(snapshot({open(first)}));
  const int looks = enforcer.converges;
  book->apply(set({open(second)}), clock.instant());
  EXPECT_TRUE(book->open_fresh(clock.instant()));
  EXPECT_EQ(enforcer.converges, looks);
  EXPECT_EQ(enforcer.added, std::set{second.session});
  EXPECT_EQ(owed(second.session), "open");
  EXPECT_FALSE(book->converge(clock.instant())) << "and the next whole look finds it so";
}

TEST_F(SessionBookTest, AWholeLookIsDueForAllElse) {
  const Grant first = grant(), second = grant();
  book->apply(snapshot({open(first)}), clock.instant());
  EXPECT_FALSE(book->open_fresh(clock.instant())) << "nothing has been looked at yet";
  book->converge(clock.instant());
  book->apply(set({closed(first.session)}), clock.instant());
  EXPECT_FALSE(book->open_fresh(clock.instant())) << "a close needs evidence";
  book->apply(set({open(second)}), clock.instant());
  EXPECT_FALSE(book->open_fresh(clock.instant())) << "while one is closing";
  EXPECT_FALSE(book->converge(clock.instant()));
  EXPECT_EQ(owed(second.session), "open");
  enforcer.adds = false;
  book->apply(set({open(grant())}), clock.instant());
  EXPECT_FALSE(book->open_fresh(clock.instant())) << "the enforcer could not";
  enforcer.adds = true;
  book->apply(set({open(grant())}), clock.instant());
  EXPECT_FALSE(book->open_fresh(clock.instant())) << "it is left to do, until it is done";
}

TEST_F(SessionBookTest, ConfirmedOncePerSubscription) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  hand_in();
  book->converge(clock.instant());
  EXPECT_EQ(owed(g.session), "nothing");
  apply(snapshot({open(g)}));
  EXPECT_EQ(owed(g.session), "open");
}

TEST_F(SessionBookTest, WhatIsNotForUsIsRefusedAndNotStored) {
  Grant other_realm = grant(), other_node = grant(), ended = grant(), early = grant(),
        endless = grant();
  other_realm.realm = "elsewhere";
  other_node.gateway.name = "gw2";
  ended.not_before -= Seconds(100);
  ended.not_after = clock.time;
  early.not_before += Seconds(31);
  endless.not_after += Seconds(11LL * 365 * 86400);
  const Grant taken = grant(), forged = grant(), unsigned_grant = grant(), swapped = grant();
  enforcer.refuses_admission = {taken.session};
  Entry by_another_ca = open(forged), altered = open(unsigned_grant);
  by_another_ca.grant =
      ssh::sign(render_grant(forged), kGrantNamespace, ssh::PrivateKey::generate());
  altered.grant->body += " ";
  Entry under_another_id{.session = SessionId::make(clock.time), .grant = sign(swapped)};

  apply(snapshot({open(other_realm), open(other_node), open(ended), open(early), open(endless),
                  open(taken), by_another_ca, altered, under_another_id}));
  EXPECT_EQ(owed(other_realm.session), "refused wrong_realm");
  EXPECT_EQ(owed(other_node.session), "refused wrong_node");
  EXPECT_EQ(owed(ended.session), "refused not_live");
  EXPECT_EQ(owed(early.session), "refused clock");
  EXPECT_EQ(owed(endless.session), "refused bad_value");
  EXPECT_EQ(owed(taken.session), "refused address_taken");
  EXPECT_EQ(owed(forged.session), "refused foreign_grant");
  EXPECT_EQ(owed(unsigned_grant.session), "refused bad_signature");
  EXPECT_EQ(owed(under_another_id.session), "refused bad_value");
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_TRUE(std::filesystem::is_empty(directory + "/state/grants"));
}

TEST_F(SessionBookTest, UpToThirtySecondsEarlyIsSkew) {
  Grant g = grant();
  g.not_before += Seconds(30);
  apply(snapshot({open(g)}));
  EXPECT_EQ(owed(g.session), "open");
}

TEST_F(SessionBookTest, WhenClocksDisagreeNothingNewOpensAndClosingGoesOn) {
  const Grant held = grant(), fresh = grant();
  apply(snapshot({open(held)}));
  Update update = set({open(fresh), closed(held.session)});
  update.now += Seconds(31);
  apply(update);
  EXPECT_EQ(owed(fresh.session), "refused clock");
  EXPECT_EQ(owed(held.session), "closed");
  EXPECT_TRUE(book->clock_is_off());
  update = set({open(fresh)});
  update.now += Seconds(29);
  apply(update);
  EXPECT_EQ(owed(fresh.session), "refused clock") << "not to and fro at the line";
  apply(snapshot({open(fresh)}));
  EXPECT_EQ(owed(fresh.session), "open") << "clocks agree again";
}

TEST_F(SessionBookTest, ClosedNeedsEvidenceAndLeavesATombstone) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  hand_in();
  enforcer.stuck = {g.session};
  EXPECT_TRUE(apply(set({closed(g.session)}))) << "asks again soon";
  EXPECT_EQ(owed(g.session), "nothing");
  EXPECT_TRUE(exists(tombstone_file(g.session))) << "before anything else happens";
  EXPECT_TRUE(exists(grant_file(g.session)));
  enforcer.stuck.clear();
  EXPECT_FALSE(book->converge(clock.instant()));
  EXPECT_EQ(owed(g.session), "closed");
  EXPECT_EQ(book->owed().at(g.session).finding.evidence, enforcer.kNothing);
  EXPECT_EQ(enforcer.reasons.at(g.session), CloseReason::revoked);
  EXPECT_FALSE(exists(grant_file(g.session)));
  EXPECT_TRUE(book->sessions().empty());
}

TEST_F(SessionBookTest, AClosedSessionIsNotAdmittedAgainAlsoAfterARestart) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  apply(set({closed(g.session)}));
  hand_in();
  apply(set({open(g)}));
  EXPECT_EQ(owed(g.session), "closed") << "with the evidence of then: a broker that forgot it learns it";
  hand_in();
  restart();
  apply(snapshot({open(g)}));
  EXPECT_EQ(owed(g.session), "closed");
  EXPECT_EQ(book->admit(sign(g), clock.instant()).error().code, Code::not_live);
  EXPECT_TRUE(enforcer.open.empty());
}

TEST_F(SessionBookTest, KilledWhileClosingItGoesOnClosing) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  enforcer.stuck = {g.session};
  apply(set({closed(g.session, CloseReason::returned)}));
  restart();
  enforcer.stuck.clear();
  EXPECT_FALSE(book->converge(clock.instant())) << "and that without a broker";
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_EQ(enforcer.reasons.at(g.session), CloseReason::returned);
  EXPECT_EQ(owed(g.session), "closed");
}

TEST_F(SessionBookTest, KilledBetweenTombstoneAndGrantItStaysClosed) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  std::filesystem::copy(grant_file(g.session), directory + "/kept");
  apply(set({closed(g.session)}));
  std::filesystem::copy(directory + "/kept", grant_file(g.session));
  restart();
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_FALSE(exists(grant_file(g.session)));
}

TEST_F(SessionBookTest, ExpiresByItselfOnTheSecond) {
  const Grant g = grant(Seconds(60));
  apply(snapshot({open(g)}));
  clock.time = g.not_after - Seconds(1);
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{g.session});
  EXPECT_EQ(book->next_change(clock.instant()), Seconds(1));
  clock.time = g.not_after;
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_EQ(enforcer.reasons.at(g.session), CloseReason::expired);
  EXPECT_EQ(owed(g.session), "closed");
  EXPECT_EQ(book->next_change(clock.instant()), std::nullopt);
}

TEST_F(SessionBookTest, TheEarlierOfTwoClocksEndsItForEver) {
  const Grant ended = grant(Seconds(60)), lives = grant(Seconds(3600));
  apply(snapshot({open(ended), open(lives)}));
  clock.pass(Seconds(59));
  clock.time -= std::chrono::hours(24);  // set back, far before both began
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, (std::set{ended.session, lives.session})) << "what runs goes on";
  EXPECT_EQ(book->next_change(clock.instant()), Seconds(1));
  clock.pass(Seconds(1));
  for (int process = 0; process < 2; ++process) {
    restart();
    book->converge(clock.instant());
    EXPECT_EQ(enforcer.open, std::set{lives.session}) << "killed just then, it knows as much";
  }
  EXPECT_EQ(enforcer.reasons.at(ended.session), CloseReason::expired);
  EXPECT_EQ(owed(ended.session), "closed");
  clock.time += std::chrono::hours(24);
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{lives.session});
  clock.time += Seconds(3600);  // set forward: the wall clock is the earlier one
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty());
  clock.time -= Seconds(3600);
  restart();
  apply(snapshot({open(lives)}));
  EXPECT_TRUE(enforcer.open.empty()) << "and it stays ended";
}

TEST_F(SessionBookTest, AStepOfADayOpensNoWayBackForWhatWasClosed) {
  const Grant g = grant(Seconds(3600));
  apply(snapshot({open(g)}));
  apply(set({closed(g.session)}));
  hand_in();
  clock.time += std::chrono::hours(72);
  book->converge(clock.instant());
  restart();
  book->converge(clock.instant());
  clock.time -= std::chrono::hours(72);
  EXPECT_EQ(book->admit(sign(g), clock.instant()).error().code, Code::not_live);
  apply(snapshot({open(g)}));
  EXPECT_TRUE(enforcer.open.empty());
}

TEST_F(SessionBookTest, AfterAnotherBootTheWallClockAloneDecides) {
  const Grant g = grant(Seconds(3600));
  apply(snapshot({open(g)}));
  // The machine starts anew, and its clock is behind.
  enforcer.open.clear();
  boot_id = "two";
  clock.boot = BootTime(Seconds(7));
  clock.time -= std::chrono::minutes(45);
  restart();
  EXPECT_FALSE(book->converge(clock.instant()));
  EXPECT_TRUE(enforcer.open.empty()) << "not before its begin";
  EXPECT_FALSE(exists(tombstone_file(g.session))) << "nor is it closed";
  EXPECT_EQ(book->next_change(clock.instant()), std::chrono::minutes(45) - limits::kNodeClockSkew);
  EXPECT_TRUE(book->sessions().empty());
  clock.time += std::chrono::minutes(45);
  clock.pass(Seconds(600));
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{g.session});
  // From here on it is as in the boot that took it.
  clock.time -= std::chrono::hours(24);
  restart();
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty()) << "at the first look of this boot it was not yet time";
  clock.time += std::chrono::hours(24);
  restart();
  clock.pass(Seconds(3000));
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_EQ(owed(g.session), "closed");
}

TEST_F(SessionBookTest, ABootThatKnewTheTimeHoldsItAgainstAStep) {
  const Grant g = grant(Seconds(3600));
  apply(snapshot({open(g)}));
  boot_id = "two";
  clock = {clock.time + Seconds(600), BootTime(Seconds(7))};
  restart();
  clock.pass(Seconds(2999));
  clock.time -= std::chrono::hours(24);
  restart();
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{g.session}) << "by the boot clock it is a second before its end";
  clock.pass(Seconds(1));
  restart();
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_EQ(owed(g.session), "closed");
}

TEST_F(SessionBookTest, AGrantStoredByAVersionThatKnewNoBootClockIsServed) {
  const Grant g = grant(Seconds(3600));
  ASSERT_TRUE(GrantStore::open(directory + "/state")->store_grant(g.session, {sign(g)}));
  restart();
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{g.session});
  clock.pass(Seconds(3600));
  clock.time -= std::chrono::hours(24);
  restart();
  book->converge(clock.instant());
  EXPECT_TRUE(enforcer.open.empty()) << "counted from when it was first seen";
}

TEST_F(SessionBookTest, ARestartServesExactlyTheStoredLiveGrants) {
  const Grant lives = grant(), ends = grant(Seconds(10));
  apply(snapshot({open(lives), open(ends)}));
  clock.time += Seconds(20);
  enforcer.open.clear();
  restart();
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{lives.session});
  EXPECT_EQ(owed(ends.session), "closed");
  EXPECT_EQ(owed(lives.session), "nothing") << "nobody has asked yet";
}

TEST_F(SessionBookTest, AStoredGrantIsVerifiedAgain) {
  const Grant whole = grant(), half = grant(), foreign = grant(), misplaced = grant();
  apply(snapshot({open(whole), open(half), open(foreign)}));
  std::filesystem::resize_file(grant_file(half.session), 100);
  GrantStore store = *GrantStore::open(directory + "/state");
  ASSERT_TRUE(store.store_grant(foreign.session, {ssh::sign(render_grant(foreign), kGrantNamespace,
                                                            ssh::PrivateKey::generate())}));
  ASSERT_TRUE(store.store_grant(SessionId::make(clock.time), {sign(misplaced)}));
  restart();
  book->converge(clock.instant());
  EXPECT_EQ(enforcer.open, std::set{whole.session});
  apply(snapshot({open(whole), open(half)}));
  EXPECT_EQ(enforcer.open, (std::set{whole.session, half.session}))
      << "brought anew, it is whole again";
}

TEST_F(SessionBookTest, WhatASnapshotDoesNotNameIsClosedBreakGlassStays) {
  Grant forgotten = grant(), glass = grant(), named = grant();
  glass.break_glass = true;
  apply(snapshot({open(forgotten), open(named)}));
  ASSERT_TRUE(book->admit(sign(glass), clock.instant()));
  apply(snapshot({open(named)}));
  EXPECT_EQ(enforcer.open, (std::set{named.session, glass.session}));
  EXPECT_EQ(owed(forgotten.session), "closed");
  EXPECT_EQ(owed(glass.session), "nothing");
  apply(set({}));
  EXPECT_EQ(enforcer.open.size(), 2u) << "a set says nothing of the rest";
  apply(set({closed(glass.session)}));
  EXPECT_EQ(enforcer.open, std::set{named.session}) << "named, it closes too";
}

TEST_F(SessionBookTest, ClosedIsSaidAgainWhenTheBrokerStillAsks) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  apply(set({closed(g.session)}));
  hand_in();
  EXPECT_EQ(owed(g.session), "nothing");
  restart();
  EXPECT_EQ(owed(g.session), "nothing") << "the disk knows that it was taken";
  apply(snapshot({closed(g.session)}));
  EXPECT_EQ(owed(g.session), "closed");
}

TEST_F(SessionBookTest, AReportNobodyTookIsOwedAfterARestart) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  apply(set({closed(g.session)}));
  restart();
  EXPECT_EQ(owed(g.session), "closed");
  EXPECT_EQ(book->owed().at(g.session).finding.evidence, enforcer.kNothing);
}

TEST_F(SessionBookTest, ClosingWhatWasNeverSeenIsProvenAndRemembered) {
  const Grant g = grant();
  enforcer.stuck = {g.session};
  EXPECT_TRUE(apply(snapshot({closed(g.session)})));
  EXPECT_EQ(owed(g.session), "nothing") << "no evidence yet";
  enforcer.stuck.clear();
  EXPECT_FALSE(book->converge(clock.instant()));
  EXPECT_EQ(owed(g.session), "closed");
  restart();
  apply(snapshot({open(g)}));
  EXPECT_EQ(owed(g.session), "closed") << "still owed, and worth more than the refusal";
  EXPECT_TRUE(enforcer.open.empty());
}

TEST_F(SessionBookTest, ADamagedTombstoneStillBlocks) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  apply(set({closed(g.session)}));
  hand_in();
  overwrite(tombstone_file(g.session), "{");
  restart();
  book->converge(clock.instant());
  hand_in();
  apply(snapshot({open(g)}));
  EXPECT_EQ(owed(g.session), "closed");
  EXPECT_TRUE(enforcer.open.empty());
}

TEST_F(SessionBookTest, ATombstoneIsForgottenADayAfterTheEnd) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  apply(set({closed(g.session)}));
  clock.time = g.not_after + limits::kTombstone;
  apply(heartbeat());
  EXPECT_TRUE(exists(tombstone_file(g.session)));
  const Update update = heartbeat();
  clock.time += Seconds(1);
  apply(update);
  EXPECT_TRUE(exists(tombstone_file(g.session))) << "by this clock alone, which may be wrong";
  apply(heartbeat());
  EXPECT_FALSE(exists(tombstone_file(g.session)));
  EXPECT_EQ(book->admit(sign(g), clock.instant()).error().code, Code::not_live)
      << "its time is over anyway";
}

TEST_F(SessionBookTest, RefusedByTheMachineItIsReportedAndMayComeAgain) {
  const Grant g = grant();
  enforcer.refuses_opening = {g.session};
  EXPECT_TRUE(apply(snapshot({open(g)}))) << "once more, to remove what may be there of it";
  EXPECT_EQ(owed(g.session), "refused address_taken");
  EXPECT_FALSE(exists(grant_file(g.session)));
  EXPECT_FALSE(book->converge(clock.instant()));
  enforcer.refuses_opening.clear();
  apply(snapshot({open(g)}));
  EXPECT_EQ(owed(g.session), "open");
}

TEST_F(SessionBookTest, AGrantTheDiskDoesNotTakeIsRefused) {
  const Grant before = grant(), g = grant();
  apply(snapshot({open(before)}));
  std::filesystem::create_directories(grant_file(g.session) + ".new/in-the-way");
  apply(set({open(g)}));
  EXPECT_EQ(owed(g.session), "refused io");
  EXPECT_EQ(enforcer.open, std::set{before.session});
}

TEST_F(SessionBookTest, ATombstoneTheDiskDoesNotTakeIsTriedAgain) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  const std::string obstacle = tombstone_file(g.session) + ".new";
  std::filesystem::create_directories(obstacle + "/in-the-way");
  apply(set({closed(g.session)}));
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_EQ(owed(g.session), "closed");
  EXPECT_FALSE(exists(tombstone_file(g.session)));
  std::filesystem::remove_all(obstacle);
  book->converge(clock.instant());
  EXPECT_TRUE(exists(tombstone_file(g.session)));
}

TEST_F(SessionBookTest, OnADiskThatTakesNothingWhatWasStoredWaitsForTheBroker) {
  const Grant lives = grant(), ended = grant();
  apply(snapshot({open(lives), open(ended)}));
  std::filesystem::copy(grant_file(ended.session), directory + "/kept");
  apply(set({closed(ended.session)}));
  hand_in();
  // As if it had been read-only since before the end: neither was the tombstone written, nor the grant removed.
  std::filesystem::remove(tombstone_file(ended.session));
  std::filesystem::copy(directory + "/kept", grant_file(ended.session));
  std::filesystem::create_directories(directory + "/state/boot.json.new/in-the-way");
  restart();
  EXPECT_FALSE(book->converge(clock.instant()));
  EXPECT_TRUE(enforcer.open.empty());
  EXPECT_TRUE(book->sessions().empty());
  apply(snapshot({open(lives)}));
  EXPECT_EQ(enforcer.open, std::set{lives.session});
  EXPECT_EQ(owed(lives.session), "open");
  EXPECT_EQ(owed(ended.session), "closed");
}

TEST_F(SessionBookTest, ATombstoneTheDiskDidNotTakeIsTriedAtEachHeartbeat) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  const std::string obstacle = tombstone_file(g.session) + ".new";
  std::filesystem::create_directories(obstacle + "/in-the-way");
  apply(set({closed(g.session)}));
  std::filesystem::remove_all(obstacle);
  book->apply(heartbeat(), clock.instant());
  EXPECT_TRUE(exists(tombstone_file(g.session)));
}

TEST_F(SessionBookTest, ANewerFindingIsNotTakenForTheOneHandedIn) {
  const Grant g = grant();
  apply(snapshot({open(g)}));
  const uint64_t number = book->owed().at(g.session).number;
  apply(set({closed(g.session)}));
  book->reported(g.session, number);
  EXPECT_EQ(owed(g.session), "closed");
}

}  // namespace
}  // namespace jitwg::node
