#include "ssh-ca/signer/ledger.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "ssh-ca/signer/frames.h"
#include "tests/unit/ssh-ca/signer/world.h"

// The disk, as this program's code sees it.
static int failing_sync = 0;
extern "C" int fdatasync(int fd) {
  if (failing_sync == 0) return ::fsync(fd);
  errno = failing_sync;
  return -1;
}

namespace jitwg::signer {
namespace {

struct LedgerTest : ::testing::Test {
  World w;
  std::string path = w.dir + "/ledger";
  void fill(int count) {
    Signer signer = w.signer();
    for (int i = 0; i < count; ++i) {
      const auto doc = w.sign(w.request());
      ASSERT_EQ(code_of(signer.answer(w.issue(doc, {w.sign(w.decision(doc))}), kNow)), "ok");
    }
    ASSERT_TRUE(signer.sync());
  }
  void revoke() {
    Signer signer = w.signer();
    const RevokeStatement stop{w.head("carol", kNow), {Subject::Kind::session, SessionId::make(kNow).str()}, "stop"};
    ASSERT_EQ(code_of(signer.answer({{"op", "apply"}, {"statement", render_document(w.sign(stop))}}, kNow)), "ok");
    ASSERT_TRUE(signer.sync());
  }
  // In place, without the care that write_file() takes: thousands of times.
  void put_raw(const std::string& text) { std::ofstream(path, std::ios::binary | std::ios::trunc) << text; }
  std::string bytes() { return *read_file(path, 1 << 24); }
  void put(const std::string& text) { ASSERT_TRUE(write_file(path, text, 0600)); }
};

TEST_F(LedgerTest, TornLastLineIsCutOffAtEveryByte) {
  fill(2);
  const std::string whole = bytes();
  const size_t first = whole.find('\n') + 1;
  for (const size_t cut : {first + 1, first + 64, first + 65, first + 200, whole.size() - 1}) {
    put(whole.substr(0, cut));
    const auto ledger = Ledger::open(path);
    ASSERT_TRUE(ledger) << cut << " " << ledger.error().render();
    EXPECT_TRUE(ledger->repaired());
    EXPECT_EQ(ledger->memory().issued_count(), 1u);
    EXPECT_EQ(bytes(), whole.substr(0, first));
  }
}

TEST_F(LedgerTest, TornWhereverTheLastWriteStopped) {
  fill(1);
  const size_t first = bytes().size();
  revoke();
  const std::string whole = bytes();
  for (size_t cut = first + 1; cut < whole.size(); ++cut) {
    put_raw(whole.substr(0, cut));
    const auto ledger = Ledger::open(path);
    ASSERT_TRUE(ledger) << cut << " " << ledger.error().render();
    ASSERT_TRUE(ledger->repaired()) << cut;
    ASSERT_EQ(ledger->memory().issued_count(), 1u);
    ASSERT_EQ(bytes().size(), first) << cut;
  }
}

TEST_F(LedgerTest, NoBitOfItChangesUnnoticed) {
  revoke();
  revoke();
  const std::string whole = bytes();
  for (size_t i = 0; i < whole.size(); ++i)
    for (int bit = 1; bit < 256; bit <<= 1) {
      if (whole[i] != '\n' && bit != 1 << i % 8) continue;  // one bit of each byte; of those that end a line, each
      std::string bad = whole;
      bad[i] = static_cast<char>(bad[i] ^ bit);
      put_raw(bad);
      const auto ledger = Ledger::open(path);
      ASSERT_FALSE(ledger) << i << " of " << whole.size() << ", bit " << bit;
      ASSERT_EQ(ledger.error().code, Code::corrupt);
      ASSERT_NE(ledger.error().message.find(path + " line "), std::string::npos);
      ASSERT_FALSE(ledger.error().hint.empty());
    }
  EXPECT_EQ(bytes().size(), whole.size()) << "what may be evidence is left alone";
  put(whole.substr(whole.find('\n') + 1));  // the first record removed
  EXPECT_EQ(Ledger::open(path).error().code, Code::corrupt);
}

TEST_F(LedgerTest, AfterAFailedWriteNothingIsDurableAndNothingIsHidden) {
  for (const int number : {EIO, ENOSPC}) {
    put("");
    Signer signer = w.signer();
    const auto doc = w.sign(w.request());
    const auto question = w.issue(doc, {w.sign(w.decision(doc))});
    ASSERT_EQ(code_of(signer.answer(question, kNow)), "ok");
    failing_sync = number;
    EXPECT_EQ(signer.sync().error().code, Code::io);
    EXPECT_FALSE(signer.sync()) << "not once it has failed: the kernel forgets what it could not write";
    failing_sync = 0;
    EXPECT_FALSE(signer.sync());
  }
}

TEST_F(LedgerTest, ADestroyedLedgerIsNotTakenForATornLine) {
  fill(1);
  const std::string whole = bytes();
  for (const std::string& bad : {std::string(4096, '\0'), whole + std::string(4096, '\0'), std::string("{\"kind\":"),
                                 whole + whole.substr(0, 64) + "{\"kind", whole + std::string(2 << 20, 'a')}) {
    put(bad);
    const auto ledger = Ledger::open(path);
    ASSERT_FALSE(ledger) << bad.size();
    EXPECT_EQ(ledger.error().code, Code::corrupt);
    EXPECT_EQ(bytes(), bad);
  }
}

TEST_F(LedgerTest, AMissingLedgerIsNotAnEmptyOne) {
  ASSERT_TRUE(remove_file(path));
  const auto ledger = Ledger::open(path);
  ASSERT_FALSE(ledger);
  EXPECT_NE(ledger.error().hint.find("init"), std::string::npos);
  EXPECT_FALSE(read_file(path, 1));
}

TEST_F(LedgerTest, OneSignerAtATime) {
  const auto first = Ledger::open(path);
  ASSERT_TRUE(first);
  EXPECT_EQ(Ledger::open(path).error().code, Code::wrong_state);
}

TEST_F(LedgerTest, CaKeyOthersMayReadIsRefused) {
  ASSERT_TRUE(write_file(w.dir + "/ca", w.ca.render_openssh(""), 0640));
  EXPECT_EQ(make_native_backend(w.dir + "/ca").error().code, Code::unsafe_file);
  EXPECT_EQ(make_native_backend(w.dir + "/none").error().code, Code::io);
}

TEST(Frames, PartialBrokenAndOversized) {
  const json::value message = {{"op", "policy"}};
  const std::string frame = render_frame(message);
  std::string buffer;
  for (size_t i = 0; i + 1 < frame.size(); ++i) {
    buffer += frame[i];
    ASSERT_EQ(*take_frame(buffer), std::nullopt);
  }
  buffer += frame.back() + frame;
  EXPECT_EQ(**take_frame(buffer), message);
  EXPECT_EQ(**take_frame(buffer), message);
  EXPECT_TRUE(buffer.empty());
  buffer = std::string("\xff\xff\xff\xff", 4);
  EXPECT_EQ(take_frame(buffer).error().code, Code::too_large);
  buffer = std::string("\0\0\0\1x", 5);
  EXPECT_EQ(take_frame(buffer).error().code, Code::bad_json);
}

}  // namespace
}  // namespace jitwg::signer
