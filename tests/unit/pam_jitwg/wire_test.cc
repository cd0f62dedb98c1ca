#include "pam_jitwg/wire.h"

#include <gtest/gtest.h>

namespace jitwg::pam {
namespace {

const std::string kSession = "0197c0de-0000-7000-8000-00000000abcd";
const std::string kAllow = "jitwg1\nverdict=allow\ncode=ok\nsession=" + kSession +
                           "\nnot_after=1700000000\ntext=hi = there\n";

TEST(Wire, questionsCarryTheKeysOfTheirPhase) {
  EXPECT_EQ(*render(Question{Phase::account, "alice", {}, {}}),
            "jitwg1\nphase=account\nuser=alice\n");
  EXPECT_EQ(*render(Question{Phase::close, "alice", {}, {}}), "jitwg1\nphase=close\nuser=alice\n");
  EXPECT_EQ(*render(Question{Phase::principals, "alice", "QUJD", {}}),
            "jitwg1\nphase=principals\nuser=alice\ncertificate=QUJD\n");
  EXPECT_EQ(*render(Question{Phase::open, "alice", "QUJD", "10.90.0.7"}),
            "jitwg1\nphase=open\nuser=alice\ncertificate=QUJD\nclient=10.90.0.7\n");
  EXPECT_EQ(*render(Question{Phase::sudo, "alice", {}, {}, "sudo-i"}),
            "jitwg1\nphase=sudo\nuser=alice\nservice=sudo-i\n");
  EXPECT_EQ(*render(Question{Phase::job, "alice", {}, {}, "cron"}),
            "jitwg1\nphase=job\nuser=alice\nservice=cron\n");
  EXPECT_EQ(*render(Question{Phase::job_open, "alice", {}, {}, "atd"}),
            "jitwg1\nphase=job_open\nuser=alice\nservice=atd\n");
}

TEST(Wire, impossibleQuestionsAreNotAsked) {
  EXPECT_FALSE(render(Question{Phase::account, "", {}, {}}));
  EXPECT_FALSE(render(Question{Phase::account, "a\nverdict=allow", {}, {}}));
  EXPECT_FALSE(render(Question{Phase::account, std::string("a\0b", 3), {}, {}}));
  EXPECT_FALSE(render(Question{Phase::account, std::string(257, 'a'), {}, {}}));
  EXPECT_FALSE(render(Question{Phase::account, "alice", "QUJD", {}}));
  EXPECT_FALSE(render(Question{Phase::principals, "alice", {}, {}, {}}));
  EXPECT_FALSE(render(Question{Phase::account, "alice", {}, {}, "sshd"}));
  EXPECT_FALSE(render(Question{Phase::sudo, "alice", {}, {}, {}}));
  EXPECT_FALSE(render(Question{Phase::sudo, "alice", {}, {}, "su\ndo"}));
  EXPECT_FALSE(render(Question{Phase::job, "alice", {}, {}, std::string(65, 'a')}));
  EXPECT_FALSE(render(Question{Phase::job_open, "alice", "QUJD", {}, "cron"}));
  EXPECT_FALSE(render(Question{Phase::open, "alice", "QUJD", {}}));
  EXPECT_FALSE(
      render(Question{Phase::open, "alice", std::string(kCertificateBytes + 1, 'A'), "10.90.0.7"}));
}

TEST(Wire, answerIsRead) {
  const auto answer = parse_answer(kAllow);
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, (Answer{true, "ok", kSession, 1700000000, "hi = there"}));
  const auto denied =
      parse_answer("jitwg1\ntext=\nverdict=deny\ncode=not_live\nsession=\nnot_after=0\n");
  ASSERT_TRUE(denied);
  EXPECT_FALSE(denied->allow);
}

TEST(Wire, everyTruncatedAnswerIsNone) {
  for (size_t n = 0; n < kAllow.size(); ++n) EXPECT_FALSE(parse_answer(kAllow.substr(0, n))) << n;
}

TEST(Wire, answersThatAreNone) {
  const std::string head = "jitwg1\nverdict=";
  const std::string tail = "\ncode=ok\nsession=" + kSession + "\nnot_after=1\ntext=\n";
  ASSERT_TRUE(parse_answer(head + "allow" + tail));
  for (const std::string& bad : {
           head + "ALLOW" + tail,
           head + tail,
           head + "allow" + tail + "extra=1\n",
           head + "allow" + tail + "code=ok\n",
           head + "allow" + tail + "\n",
           "\n" + head + "allow" + tail,
           "jitwg2\nverdict=allow" + tail,
           head + "allow\ncode=ok\nsession=\nnot_after=1\ntext=\n",
           head + "allow\ncode=ok\nsession=" + kSession + "\nnot_after=0\ntext=\n",
           head + "allow\ncode=ok\nsession=" + kSession + "\nnot_after=-1\ntext=\n",
           head + "allow\ncode=ok\nsession=" + kSession + "\nnot_after=1x\ntext=\n",
           head + "allow\ncode=ok\nsession=" + kSession +
               "\nnot_after=99999999999999999999\ntext=\n",
           head + "allow\ncode=ok\nsession=" + kSession + ",root\nnot_after=1\ntext=\n",
           head + "allow\ncode=ok\nsession=" + std::string(35, 'a') + "\nnot_after=1\ntext=\n",
           head + "allow\ncode=ok\nsession=" + kSession + "\nnot_after=1\ntext=\x1b[2J\n",
           head + "allow\ncode=\nsession=" + kSession + "\nnot_after=1\ntext=\n",
           head + "allow" + tail + std::string(kPacketBytes, ' '),
       })
    EXPECT_FALSE(parse_answer(bad)) << bad.substr(0, 200);
}

}  // namespace
}  // namespace jitwg::pam
