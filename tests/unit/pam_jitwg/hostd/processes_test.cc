#include "pam_jitwg/hostd/processes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pam_jitwg/hostd/stragglers.h"

namespace jitwg::hostd {
namespace {

constexpr char kStat[] =
    "4242 (a) R 1 (b) S 17 4242 4242 34817 4242 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3 4\n";

TEST(Processes, aNameMayHoldAnything) {
  const auto stat = parse_stat(kStat);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->process, (Process{4242, 987654}));
  EXPECT_EQ(stat->parent, 17);
  EXPECT_EQ(stat->terminal, 34817);
}

TEST(Processes, whatIsNoStatLine) {
  for (const char* bad : {"", "x", "4242 (a", "4242 (a) S 1 2 3",
                          "x (a) S 17 1 1 0 1 1 1 2 3 4 5 6 7 8 20 0 1 0 987654"})
    EXPECT_FALSE(parse_stat(bad)) << bad;
}

TEST(Processes, itself) {
  const auto self = observe_process(getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(self->parent, getppid());
  EXPECT_FALSE(is_root_sshd(getpid()));
  EXPECT_FALSE(observe_process(0));
  EXPECT_FALSE(observe_process(-1));
}

TEST(Processes, noAuditSession) {
  for (const pid_t nobody : {0, -1, 2147483647})
    EXPECT_EQ(audit_session_of(nobody), kNoAuditSession) << nobody;
}

TEST(Processes, aPidUsedAgainIsAnother) {
  Process self = observe_process(getpid())->process;
  EXPECT_TRUE(open_pidfd(self));
  ++self.start;
  const auto other = open_pidfd(self);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::not_live);
}

TEST(Processes, exitIsSeen) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    pause();
    _exit(0);
  }
  const auto pidfd = open_pidfd(observe_process(child)->process);
  ASSERT_TRUE(pidfd);
  EXPECT_FALSE(has_exited(*pidfd));
  EXPECT_TRUE(send_signal(*pidfd, SIGKILL));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(has_exited(*pidfd));
  EXPECT_FALSE(send_signal(*pidfd, SIGTERM));
}

// Runs `look` with only so many descriptors left.
template <typename Look>
auto with_spare(int spare, Look look) {
  rlimit before{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(next, 0);
  ::close(next);
  const rlimit few{static_cast<rlim_t>(next + spare), before.rlim_max};
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  auto found = look();
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  return found;
}

// "Nobody is left" is evidence: without descriptors it may not be said.
TEST(Stragglers, withoutDescriptorsNobodyKnows) {
  ASSERT_TRUE(find_in_audit_sessions({4242}));
  for (int spare = 0; spare < 3; ++spare)  // the walk holds /proc and two of a process
    EXPECT_FALSE(with_spare(spare, [] { return find_in_audit_sessions({4242}); })) << spare;
}

TEST(Processes, withoutDescriptorsNobodyIsGone) {
  const Process self = observe_process(getpid())->process;
  const auto seen = with_spare(0, [] { return observe_process(getpid()); });
  ASSERT_FALSE(seen);
  EXPECT_EQ(seen.error().code, Code::io);
  for (int spare = 0; spare < 2; ++spare) {  // the pidfd, and /proc's file
    const auto pidfd = with_spare(spare, [&] { return open_pidfd(self).map([](const Fd&) {}); });
    ASSERT_FALSE(pidfd) << spare;
    EXPECT_EQ(pidfd.error().code, Code::io) << spare;
  }
  EXPECT_EQ(observe_process(0).error().code, Code::not_live);
  EXPECT_EQ(observe_process(1 << 22).error().code, Code::not_live);  // past any pid_max
}

}  // namespace
}  // namespace jitwg::hostd
