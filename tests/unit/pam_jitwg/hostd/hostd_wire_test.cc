// hostd's half of the wire against the module's half.
#include <gtest/gtest.h>

#include "pam_jitwg/hostd/wire.h"

namespace jitwg::hostd {
namespace {

const std::string kSession = "0197c0de-0000-7000-8000-00000000abcd";

TEST(HostdWire, readsWhatTheModuleWrites) {
  for (const Question& q :
       {Question{Phase::principals, "alice", "QUJD", {}}, Question{Phase::account, "alice", {}, {}},
        Question{Phase::open, "al=ice", "QUJD==", "fd00:90::7"},
        Question{Phase::close, "alice", {}, {}, {}}, Question{Phase::sudo, "alice", {}, {}, "su"},
        Question{Phase::job, "alice", {}, {}, "cron"},
        Question{Phase::job_open, "alice", {}, {}, "a=b"}})
    EXPECT_EQ(parse_question(*pam::render(q)), q);
}

TEST(HostdWire, writesWhatTheModuleReads) {
  for (const Answer& a : {Answer{true, "ok", kSession, 1700000000, ""},
                          Answer{false, "revoked", kSession, 0, "jitwg: a = b"},
                          Answer{false, "not_live", "", 0, "Grüße"}})
    EXPECT_EQ(pam::parse_answer(render(a)), a);
}

TEST(HostdWire, everyTruncatedQuestionIsNone) {
  const std::string whole = *pam::render(Question{Phase::open, "alice", "QUJD", "10.90.0.7"});
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(parse_question(whole.substr(0, n))) << n;
}

TEST(HostdWire, questionsThatAreNone) {
  for (const std::string& bad :
       {std::string("jitwg1\nphase=account\nuser=alice\ncertificate=QUJD\n"),
        std::string("jitwg1\nphase=account\nuser=alice\nphase=account\n"),
        std::string("jitwg1\nphase=account\nuser=alice\nphase=open\n"),
        std::string("jitwg1\nphase=account\nuser=alice\nuser=bob\n"),
        std::string("jitwg1\nphase=sudo\nuser=alice\n"),
        std::string("jitwg1\nphase=sudo\nuser=alice\nservice=\n"),
        std::string("jitwg1\nphase=job\nuser=alice\nservice=cron\nservice=cron\n"),
        std::string("jitwg1\nphase=job_open\nuser=alice\nservice=cron\ncertificate=QUJD\n"),
        std::string("jitwg1\nphase=jobs\nuser=alice\nservice=cron\n"),
        std::string("jitwg1\nphase=account\nuser=alice\nservice=sshd\n"),
        std::string("jitwg1\nphase=account\nuser=\n"),
        std::string("jitwg1\nphase=account\nuser=a\tb\n"),
        std::string("jitwg2\nphase=account\nuser=alice\n"),
        std::string("jitwg1\nphase=open\nuser=alice\ncertificate=QUJD\n"),
        std::string("jitwg1\nphase=principals\nuser=alice\ncertificate=\n"),
        std::string("phase=account\nuser=alice\n"),
        std::string("jitwg1\n\nphase=account\nuser=alice\n"),
        "jitwg1\nphase=principals\nuser=alice\ncertificate=" + std::string(70000, 'A') + "\n",
        std::string(200000, '\n')})
    EXPECT_FALSE(parse_question(bad)) << bad.substr(0, 80);
}

}  // namespace
}  // namespace jitwg::hostd
