#include "pam_jitwg/hostd/cgroup.h"

#include <gtest/gtest.h>

namespace jitwg::hostd {
namespace {

// Only a login scope may ever be killed by that name: never the service that holds sshd, never a
// slice.
TEST(Cgroup, whatIsALoginScope) {
  EXPECT_EQ(parse_scope_path("0::/user.slice/user-2001.slice/session-3.scope\n"),
            "/user.slice/user-2001.slice/session-3.scope");
  EXPECT_EQ(parse_scope_path("4:memory:/x\n1:name=systemd:/y\n0::/user.slice/session-c1.scope\n"),
            "/user.slice/session-c1.scope");
  for (const char* other :
       {"", "\n", "0::/\n", "0::/system.slice/ssh.service\n", "0::/user.slice/user-2001.slice\n",
        "0::session-3.scope\n", "1:name=systemd:/user.slice/session-3.scope\n",
        "0::/user.slice/session-3.scope/sub\n", "0::/../user.slice/session-3.scope\n",
        "0::/user.slice/user@2001.service/app.slice/run-1.scope\n",
        "0::/user.slice/session-3.scope (deleted)\n"})
    EXPECT_EQ(parse_scope_path(other), "") << other;
}

TEST(Cgroup, noOtherNameIsKilled) {
  const Cgroups cgroups("/nonexistent");
  for (const char* path :
       {"", "/", "/system.slice/ssh.service", "/x\n0::/session-1.scope", "/session-1.scope/..",
        "/user.slice", "/user.slice/user-0.slice", "/user.slice/user-1.slice/user@2.service",
        "/user.slice/user-01.slice/user@01.service", "/user.slice/user-.slice/user@.service",
        "/user.slice/user-1.slice/user@1.service/..", "/user.slice/user-1.slice/user@1.service/x",
        "/x/user.slice/user-1.slice/user@1.service", "/system.slice/system-user.slice/user@1.service"})
    EXPECT_FALSE(cgroups.kill_theirs(path)) << path;
  EXPECT_TRUE(cgroups.kill_theirs("/session-1.scope"));  // gone is dead
}

TEST(Cgroup, aUsersManagerIsTheirs) {
  const Cgroups cgroups("/nonexistent");
  EXPECT_EQ(manager_path(2001), "/user.slice/user-2001.slice/user@2001.service");
  for (const uid_t uid : {0u, 2001u, 4294967294u}) {
    EXPECT_TRUE(cgroups.kill_theirs(manager_path(uid)));
    EXPECT_TRUE(cgroups.processes_of(manager_path(uid))->empty());
  }
}

TEST(Cgroup, aRootThatIsNone) {
  const auto prepared = Cgroups("/tmp").prepare();
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::bad_config);
}

}  // namespace
}  // namespace jitwg::hostd
