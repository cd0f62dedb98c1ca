#include "ssh-ca/admin/edit_people.h"

#include <gtest/gtest.h>

#include "ssh-ca/format/private_key.h"

namespace jitwg::signer {
namespace {

const WallTime kNow = *parse_time("2026-11-25T13:30:05Z");

ssh::PublicKey new_key() { return ssh::PrivateKey::generate().public_key(); }

std::string line(const std::string& person, const ssh::PublicKey& key, const std::string& options = "") {
  return person + " namespaces=\"jitwg\"" + options + " " + key.str();
}

Result<EditedPeople> add(std::string_view text, std::string_view person, const ssh::PublicKey& key) {
  return add_key(text, person, key, "");
}

TEST(EditPeople, AddAppendsOneLineAndLeavesTheRest) {
  const auto alice = new_key(), bob = new_key();
  const std::string before = "# people\n\n" + line("alice", alice);  // without a final newline
  const auto edited = add(before, "bob", bob);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->text, before + "\n" + line("bob", bob) + "\n");
  EXPECT_EQ(edited->lines, std::vector{line("bob", bob)});
  EXPECT_EQ(add("", "bob", bob)->text, line("bob", bob) + "\n");
}

TEST(EditPeople, TheSameKeyAgainChangesNothing) {
  const auto alice = new_key();
  const std::string text = line("alice", alice) + "\n";
  const auto edited = add(text, "alice", alice);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->text, text);
  EXPECT_EQ(edited->lines, std::vector{line("alice", alice)});
}

TEST(EditPeople, AKeyIsOnePersonsAndStaysEnded) {
  const auto key = new_key();
  EXPECT_EQ(add(line("alice", key), "bob", key).error().code, Code::key_reused);
  const auto ended = line("alice", key, ",valid-before=\"20260101Z\"");
  EXPECT_EQ(add(ended, "alice", key).error().code, Code::key_reused);
}

TEST(EditPeople, NamesArePlain) {
  for (const char* name : {"", "*", "a,b", "alice bob", "alice\nbob", "#alice", "\xc3\xa4", "!alice", "-alice"})
    EXPECT_EQ(add("", name, new_key()).error().code, Code::bad_argument) << name;
}

TEST(EditPeople, AFileThatIsBadAlreadyIsRefused) {
  const auto key = new_key();
  for (const std::string& bad : {"* namespaces=\"jitwg\" " + key.str(), "alice " + key.str(),
                                 line("alice", key) + "\n" + line("bob", key), std::string("rubbish")}) {
    EXPECT_EQ(add(bad, "zed", new_key()).error().code, Code::bad_allowed_signers) << bad;
    EXPECT_EQ(retire_keys(bad, "alice", {}, kNow).error().code, Code::bad_allowed_signers) << bad;
  }
}

TEST(EditPeople, OnlyAPlainCommentIsKept) {
  const auto key = new_key();
  EXPECT_EQ(add_key("", "alice", key, "alice@laptop")->text, line("alice", key) + " alice@laptop\n");
  for (const std::string& odd : {std::string("two\nlines"), std::string("\x1b[2J"), std::string(200, 'x')})
    EXPECT_EQ(add_key("", "alice", key, odd)->text, line("alice", key) + "\n");
}

TEST(EditPeople, RetireEndsTheKeysOfThatPersonOnly) {
  const auto old_key = new_key(), laptop = new_key(), bob = new_key();
  const std::string ended = line("alice", old_key, ",valid-before=\"20250101Z\"") + " old";
  const std::string text = "# people\n" + ended + "\n" + line("bob", bob) + "\n" + line("alice", laptop) + " laptop\n";
  const auto edited = retire_keys(text, "alice", {}, kNow);
  ASSERT_TRUE(edited);
  const std::string now_ended = line("alice", laptop, ",valid-before=\"20261125133005Z\"") + " laptop";
  EXPECT_EQ(edited->text, "# people\n" + ended + "\n" + line("bob", bob) + "\n" + now_ended + "\n");
  EXPECT_EQ(edited->lines, (std::vector{ended, now_ended}));
  // An hour later: ended is ended.
  EXPECT_EQ(retire_keys(edited->text, "alice", {}, kNow + Seconds(3600))->text, edited->text);

  const auto people = ssh::AllowedSigners::parse(edited->text);
  EXPECT_EQ(people->person_of(laptop, kNow - Seconds(1)).value(), "alice");
  EXPECT_EQ(people->person_of(laptop, kNow).error().code, Code::stale);
  EXPECT_EQ(people->person_of(bob, kNow).value(), "bob");
}

TEST(EditPeople, RetireBringsALaterEndForward) {
  const auto key = new_key();
  for (const char* options : {"namespaces=\"jitwg\",valid-before=\"20300101Z\"", "valid-before=\"20300101Z\",namespaces=\"jitwg\"",
                              "valid-after=\"20200101Z\",valid-before=\"20300101Z\",namespaces=\"jitwg\""}) {
    const auto edited = retire_keys("alice " + std::string(options) + " " + key.str() + "\n", "alice", {}, kNow);
    ASSERT_TRUE(edited) << options;
    EXPECT_EQ(ssh::AllowedSigners::parse(edited->text)->entries().front().valid_before, kNow) << edited->text;
    EXPECT_EQ(edited->text.find("2030"), std::string::npos);
  }
}

TEST(EditPeople, RetireOneKeyOfSeveral) {
  const auto lost = new_key(), kept = new_key();
  const std::string text = line("alice", lost) + "\n" + line("alice", kept) + "\n";
  const auto edited = retire_keys(text, "alice", lost.fingerprint(), kNow);
  ASSERT_TRUE(edited);
  EXPECT_EQ(edited->text, line("alice", lost, ",valid-before=\"20261125133005Z\"") + "\n" + line("alice", kept) + "\n");
  EXPECT_EQ(retire_keys(text, "alice", new_key().fingerprint(), kNow).error().code, Code::bad_argument);
  EXPECT_EQ(retire_keys(text, "bob", {}, kNow).error().code, Code::bad_argument);
  EXPECT_EQ(retire_keys(text, "bob", kept.fingerprint(), kNow).error().code, Code::bad_argument);
}

}  // namespace
}  // namespace jitwg::signer
