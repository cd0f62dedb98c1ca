#include "broker/doctor/machine.h"

#include <gtest/gtest.h>

namespace jitwg::doctor {
namespace {

using Level = Finding::Level;
using namespace std::chrono_literals;

const User kGateway{"jitwg-gw", 4242};

Result<PathSeen> file(mode_t mode, uid_t uid) {
  return PathSeen{"/etc/jitwg/node_key", S_IFREG | mode, uid};
}

TEST(CheckPath, MindsOwnerAndEveryBitThatIsTooMuch) {
  EXPECT_EQ(check_path("node_key", file(0600, 4242), kGateway, 0600).level, Level::ok);
  EXPECT_EQ(check_path("node_key", file(0400, 4242), kGateway, 0600).level, Level::ok);
  const Finding open = check_path("node_key", file(0640, 4242), kGateway, 0600);
  EXPECT_EQ(open.level, Level::problem);
  EXPECT_EQ(open.remedy, "chmod 0600 /etc/jitwg/node_key");
  EXPECT_EQ(check_path("node_key", file(04600, 4242), kGateway, 0600).level, Level::problem);
  const Finding foreign = check_path("node_key", file(0600, 0), kGateway, 0600);
  EXPECT_EQ(foreign.remedy, "chown uid 4242 /etc/jitwg/node_key");
  EXPECT_EQ(foreign.text, "/etc/jitwg/node_key belongs to root, not to uid 4242");
}

TEST(CheckPath, WhatIsNotThereIsAProblemAndWhatMayNotBeSeenAWarning) {
  EXPECT_EQ(check_path("x", fail_errno("/x", ENOENT), kGateway, 0600).level, Level::problem);
  const Finding hidden = check_path("x", fail_errno("/x", EACCES), kGateway, 0600);
  EXPECT_EQ(hidden.level, Level::warning);
  EXPECT_EQ(hidden.remedy, "run this as root");
}

TEST(CheckParents, OnlyRootMayWriteAbove) {
  const auto directory = [](const char* path, mode_t mode, uid_t uid) -> Result<PathSeen> {
    return PathSeen{path, S_IFDIR | mode, uid};
  };
  EXPECT_EQ(check_parents("x", {directory("/", 0755, 0), directory("/etc", 0755, 0)}).level,
            Level::ok);
  EXPECT_EQ(check_parents("x", {directory("/", 0755, 0), directory("/etc", 0775, 0)}).remedy,
            "chmod go-w /etc");
  EXPECT_EQ(check_parents("x", {directory("/", 0755, 0), directory("/etc", 0755, 7)}).remedy,
            "chown root /etc");
}

TEST(ObserveParents, EveryDirectoryFromTheRootOn) {
  std::string seen;
  for (const auto& parent : observe_parents("/proc/sys/net"))
    seen += parent ? parent->path + " " : parent.error().message;
  EXPECT_EQ(seen, "/ /proc /proc/sys ");
}

TEST(CheckSpace, CountsBytesAndInodes) {
  constexpr uint64_t kMiB = 1 << 20;
  EXPECT_EQ(check_space("/s", Space{300 * kMiB, 300'000}).level, Level::ok);
  EXPECT_EQ(check_space("/s", Space{100 * kMiB, 300'000}).level, Level::warning);
  EXPECT_EQ(check_space("/s", Space{300 * kMiB, 100}).level, Level::problem);
  EXPECT_EQ(check_space("/s", Space{kMiB, 300'000}).level, Level::problem);
}

TEST(CheckUnit, RunsNowAndAfterTheNextBoot) {
  EXPECT_EQ(check_unit("jitwgd", {true, true, true}).level, Level::ok);
  EXPECT_EQ(check_unit("jitwgd", {true, false, true}).remedy, "systemctl enable --now jitwgd");
  EXPECT_EQ(check_unit("jitwgd", {true, true, false}).remedy, "systemctl enable jitwgd");
  EXPECT_EQ(check_unit("jitwgd", {false, false, false}).level, Level::warning);
}

TEST(CheckClock, ThirtySecondsEitherWay) {
  const WallTime now{1'000'000s};
  EXPECT_EQ(check_clock(now, now + 30s, "the broker").level, Level::ok);
  EXPECT_EQ(check_clock(now, now - 30s, "the broker").level, Level::ok);
  const Finding behind = check_clock(now, now + 125s, "the broker");
  EXPECT_EQ(behind.level, Level::problem);
  EXPECT_NE(behind.text.find("2m 5s behind the broker's"), std::string::npos);
  EXPECT_EQ(check_clock(now, now - 31s, "the broker").level, Level::problem);
}

TEST(Findings, AreShownSafelyAndCounted) {
  const Findings found = {ok("a", "fine"), warning("b", "hm\x1b[2J", "do this"),
                          problem("c", "bad", "do that")};
  EXPECT_EQ(render_text(found),
            "ok      a                fine\n"
            "warning b                hm\\u{1b}[2J\n        -> do this\n"
            "problem c                bad\n        -> do that\n"
            "1 problem, 1 warning\n");
  EXPECT_EQ(render_json(render({found[0], found[2]})),
            R"([{"check":"a","level":"ok","text":"fine","remedy":null},)"
            R"({"check":"c","level":"problem","text":"bad","remedy":"do that"}])");
  EXPECT_TRUE(has_problem(found));
  EXPECT_FALSE(has_problem({found[0], found[1]}));
}

}  // namespace
}  // namespace jitwg::doctor
