#include "broker/node/grant_store.h"

#include "tests/unit/broker/node/node_fixture.h"

namespace jitwg::node {
namespace {

class GrantStoreTest : public NodeTest {
 protected:
  GrantStore store = *GrantStore::open(directory + "/state");
  const SessionId id = SessionId::make(clock.time);
  const Tombstone tombstone{id, clock.time, CloseReason::returned, enforcer.kNothing, true};
};

TEST_F(GrantStoreTest, RemembersGrantsAndTombstones) {
  const ssh::SignedDocument document{"body \x01", "signature"};
  Tombstone unread = tombstone;
  unread.session = SessionId::make(clock.time);
  unread.evidence = nullptr;
  unread.reported = false;
  const ClockMark mark{"one", clock.instant()};
  ASSERT_TRUE(store.store_grant(id, {document, mark}));
  ASSERT_TRUE(store.store_tombstone(tombstone));
  ASSERT_TRUE(store.store_tombstone(unread));
  const auto contents = GrantStore::open(directory + "/state")->load();
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->grants.size(), 1u);
  EXPECT_EQ(contents->grants.at(id).document, document);
  EXPECT_EQ(contents->grants.at(id).taken, mark);
  ASSERT_EQ(contents->tombstones.size(), 2u);
  for (const Tombstone& t : contents->tombstones)
    EXPECT_EQ(t, t.session == id ? tombstone : unread);

  ASSERT_TRUE(store.remove_grant(id));
  ASSERT_TRUE(store.remove_grant(id)) << "gone already is fine";
  ASSERT_TRUE(store.remove_tombstone(id));
  EXPECT_TRUE(store.load()->grants.empty());
  EXPECT_EQ(store.load()->tombstones.size(), 1u);
}

TEST_F(GrantStoreTest, DamageCostsOnlyTheDamagedFile) {
  const SessionId half = SessionId::make(clock.time), tomb = SessionId::make(clock.time);
  ASSERT_TRUE(store.store_grant(id, {{"body", "signature"}}));
  overwrite(grant_file(half), "{\"body\": \"aGFs");
  overwrite(tombstone_file(tomb), "");
  overwrite(tombstone_file(half), render_tombstone(tombstone));  // of another session
  overwrite(directory + "/state/grants/README", "hello");
  overwrite(grant_file(half) + ".new", "half written");
  const auto contents = store.load();
  ASSERT_TRUE(contents);
  ASSERT_EQ(contents->grants.size(), 1u);
  EXPECT_EQ(contents->grants.at(id).taken, std::nullopt) << "as an older version writes it";
  EXPECT_TRUE(contents->tombstones.empty());
  EXPECT_EQ(
      std::set<SessionId>(contents->damaged_tombstones.begin(), contents->damaged_tombstones.end()),
      (std::set<SessionId>{half, tomb}));
  EXPECT_FALSE(exists(grant_file(half) + ".new"));
}

TEST_F(GrantStoreTest, TheFirstMarkOfABootStands) {
  const ClockMark first{"one", clock.instant()};
  EXPECT_EQ(*store.first_mark(first), first);
  clock.pass(Seconds(5));
  EXPECT_EQ(*store.first_mark({"one", clock.instant()}), first);
  const ClockMark second{"two", {clock.time, BootTime(Seconds(1))}};
  EXPECT_EQ(*store.first_mark(second), second);
  overwrite(directory + "/state/boot.json", R"({"boot_id":"two","boot_ms":99999999999999999,"wall_ms":1})");
  EXPECT_EQ(*store.first_mark(second), second) << "damaged, it is taken anew";
}

TEST_F(GrantStoreTest, AGrantWithAnOddMarkIsDamaged) {
  for (const char* taken : {"7", "{}", R"({"boot_id":"one","boot_ms":-1,"wall_ms":1})"}) {
    overwrite(grant_file(id), std::string(R"({"body":"","signature":"","taken":)") + taken + "}");
    EXPECT_TRUE(store.load()->grants.empty()) << taken;
  }
}

TEST_F(GrantStoreTest, OddTombstonesAreRefused) {
  const std::string good = render_tombstone(tombstone);
  ASSERT_TRUE(parse_tombstone(good));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"returned", "bored"},
           {"10:00:00Z", "10:00"},
           {"true", "1"},
           {"\"reported\"", "\"x\""},
           {"{\"peer\":false,\"elements\":0,\"flows\":0}", "7"}}) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << text;
    text.replace(text.find(from), from.size(), to);
    EXPECT_FALSE(parse_tombstone(text)) << text;
  }
}

TEST_F(GrantStoreTest, FilesAreThisNodesAlone) {
  ASSERT_TRUE(store.store_grant(id, {{"body", "signature"}}));
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(grant_file(id)).permissions(),
            perms::owner_read | perms::owner_write);
  EXPECT_EQ(std::filesystem::status(directory + "/state/grants").permissions(), perms::owner_all);
}

}  // namespace
}  // namespace jitwg::node
