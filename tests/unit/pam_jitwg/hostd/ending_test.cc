#include "pam_jitwg/hostd/ending.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "broker/base/encoding.h"

namespace jitwg::hostd {
namespace {

const WallTime kEnd = *parse_time("2026-03-02T10:00:00Z");
const BootTime kBoot{std::chrono::hours(1)};

TEST(Warnings, onceEachAndOnlyThoseAhead) {
  EXPECT_EQ(due_warning(kEnd, kEnd - Seconds(901), kEnd - Seconds(900)), Seconds(900));
  EXPECT_EQ(due_warning(kEnd, kEnd - Seconds(900), kEnd - Seconds(899)), std::nullopt);
  EXPECT_EQ(due_warning(kEnd, kEnd - Seconds(301), kEnd - Seconds(299)), Seconds(300));
  EXPECT_EQ(due_warning(kEnd, kEnd - Seconds(61), kEnd - Seconds(60)), Seconds(60));
  EXPECT_EQ(due_warning(kEnd, kEnd - Seconds(2000), kEnd - Seconds(30)),
            Seconds(60));  // a long pause: the last one
  EXPECT_EQ(due_warning(kEnd, kEnd - Seconds(61), kEnd), std::nullopt);
}

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, path, type, rest;
  while (mounts >> device >> path >> type && std::getline(mounts, rest))
    if (type == "cgroup2") return path;
  return "";
}

// On the kernel's own cgroups, in a subtree of this test. A "monitor" is a child that sleeps; what
// it starts ignores SIGTERM, as nohup'ed work does SIGHUP.
class EndingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string mount = cgroup2_mount();
    root_ = mount + "/jitwg-ending-test-" + std::to_string(getpid());
    std::error_code failed;
    if (mount.empty() || !std::filesystem::create_directory(root_, failed))
      GTEST_SKIP() << "SKIPPED: no cgroup v2 that this user may write";
    char name[] = "/tmp/jitwg-ending-XXXXXX";
    directory_ = mkdtemp(name);
    std::vector<std::string> damaged;
    logins_.emplace(std::move(*Logins::load(directory_, damaged)));
    cgroups_.emplace(root_);
    ASSERT_TRUE(cgroups_->prepare());
    ending_.emplace(*cgroups_, *logins_, Seconds(5),
                    Ending::Tell{[this](const Login& login) { ended_.push_back(login.monitor); },
                                 [](const Login&, const std::string&) {}});
  }
  void TearDown() override {
    if (directory_.empty()) return;
    for (const pid_t monitor : monitors_) ::kill(monitor, SIGKILL), waitpid(monitor, nullptr, 0);
    std::ofstream(root_ + "/cgroup.kill") << "1";
    for (int i = 0; i < 100 && std::filesystem::exists(root_); ++i) {
      for (const auto& session : sessions_) cgroups_->remove(session);
      rmdir((root_ + "/jitwg").c_str());
      if (rmdir(root_.c_str()) != 0) poll(nullptr, 0, 10);
    }
    std::filesystem::remove_all(directory_);
  }

  // A login of `session`: a monitor that ends at SIGTERM and a child of it that does not.
  Login log_in(const SessionId& session) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    const pid_t monitor = fork();
    if (monitor == 0) {
      char byte = 0;
      close(ready[1]);
      if (read(ready[0], &byte, 1) != 1)
        _exit(1);  // bound now: what is started from here on is born in the leaf
      if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        setsid();
        while (true) pause();
      }
      while (true) pause();
    }
    close(ready[0]);
    monitors_.push_back(monitor);
    EXPECT_TRUE(cgroups_->attach(session, monitor));
    Login login{
        session, "alice", "alice", "db-prod", "10.90.0.7", observe_process(monitor)->process,
        kEnd,    kEnd,    {},      true};
    EXPECT_TRUE(logins_->put(login));
    EXPECT_EQ(write(ready[1], "x", 1), 1);
    close(ready[1]);
    sessions_.push_back(session);
    wait_until([&] { return cgroups_->processes(session)->size() >= 2; });
    return login;
  }
  template <typename Condition>
  void wait_until(Condition condition) {
    bool met = condition();
    for (int i = 0; i < 500 && !met; ++i) {
      poll(nullptr, 0, 10);
      met = condition();
    }
    EXPECT_TRUE(met);
  }
  bool step(const SessionId& session, BootTime now) {
    const auto gone = ending_->step(session, CloseReason::revoked, "db-prod", now);
    EXPECT_TRUE(gone) << (gone ? "" : gone.error().render());
    return gone && *gone;
  }
  bool reap(const Login& login) {
    return waitpid(login.monitor.pid, nullptr, WNOHANG) == login.monitor.pid;
  }

  std::string root_, directory_;
  std::vector<pid_t> monitors_;
  std::vector<Process> ended_;
  std::vector<SessionId> sessions_;
  std::optional<Logins> logins_;
  std::optional<Cgroups> cgroups_;
  std::optional<Ending> ending_;
};

TEST_F(EndingTest, firstAskedThenKilledThenReadBack) {
  const SessionId session = SessionId::make(kEnd), other = SessionId::make(kEnd);
  const Login login = log_in(session);
  const Login untouched = log_in(other);
  EXPECT_FALSE(step(session, kBoot));
  wait_until([&] { return reap(login); });  // the monitor went by SIGTERM …
  EXPECT_FALSE(step(session, kBoot + Seconds(4)));
  EXPECT_EQ(cgroups_->processes(session)->size(), 1u);  // … and what ignores it has the grace
  EXPECT_FALSE(step(session, kBoot + Seconds(5)));
  wait_until([&] { return cgroups_->processes(session)->empty(); });
  EXPECT_EQ(ending_->under_way(), std::vector<SessionId>{session});
  EXPECT_TRUE(*ending_->again(session, kBoot + Seconds(5)));
  EXPECT_TRUE(ending_->under_way().empty());
  EXPECT_TRUE(logins_->of(session).empty());
  EXPECT_EQ(ended_, std::vector<Process>{login.monitor});
  EXPECT_EQ(*cgroups_->sessions(), std::vector<SessionId>{other});
  EXPECT_EQ(cgroups_->processes(other)->size(), 2u);
  EXPECT_FALSE(reap(untouched));
}

TEST_F(EndingTest, nothingThereIsDoneAtOnce) {
  const SessionId session = SessionId::make(kEnd);
  EXPECT_TRUE(step(session, kBoot));
  EXPECT_TRUE(ending_->under_way().empty());
}

TEST_F(EndingTest, aMonitorThatWasMovedAwayDiesToo) {
  const SessionId session = SessionId::make(kEnd);
  const Login login = log_in(session);
  std::ofstream(root_ + "/cgroup.procs") << login.monitor.pid << std::flush;
  std::ofstream(root_ + "/jitwg/cgroup.procs") << login.monitor.pid << std::flush;
  ASSERT_TRUE(cgroups_->kill(session));
  wait_until([&] { return cgroups_->processes(session)->empty(); });
  EXPECT_FALSE(step(session, kBoot)) << "the monitor lives: not done";
  EXPECT_FALSE(step(session, kBoot + Seconds(5)));
  wait_until([&] { return reap(login); });
  EXPECT_TRUE(step(session, kBoot + Seconds(6)));
}

TEST_F(EndingTest, leavesWithoutARecordAreFoundAndEnded) {
  const SessionId session = SessionId::make(kEnd);
  const Login login = log_in(session);
  ASSERT_TRUE(logins_->drop({session, login.monitor.pid}));
  EXPECT_EQ(*cgroups_->sessions(), std::vector<SessionId>{session});
  EXPECT_FALSE(step(session, kBoot));
  EXPECT_FALSE(step(session, kBoot + Seconds(5)));
  wait_until([&] { return reap(login); });
  wait_until([&] { return step(session, kBoot + Seconds(6)); });
}

}  // namespace
}  // namespace jitwg::hostd
