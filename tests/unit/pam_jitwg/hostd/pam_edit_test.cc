#include "pam_jitwg/hostd/pam_edit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>

#include "broker/audit/event.h"
#include "pam_jitwg/hostd/setup_block.h"

namespace jitwg::hostd {
namespace {

const PamSetup kPlain = {"/m/pam_jitwg.so", {}}, kRescue = {"/m/pam_jitwg.so", {"rescue", "ops"}};

const PamFile& file(const std::string& name) {
  return *std::ranges::find(pam_files(), name, [](const PamFile& f) { return std::string(f.name); });
}

std::string edited(std::string_view text, const PamSetup& setup = kPlain) {
  const auto result = edit_pam(file("sshd"), text, setup);
  return result ? *result : "refused: " + result.error().message;
}

constexpr char kSmall[] = "@include common-auth\naccount required a.so\nsession required pam_loginuid.so\n@include common-session\n";

TEST(PamEdit, AccountComesFirstAndSessionBehindLoginuid) {
  EXPECT_EQ(edited(kSmall),
            "@include common-auth\n"
            "# jitwg begin\naccount    requisite    /m/pam_jitwg.so mode=login\n# jitwg end\n"
            "account required a.so\nsession required pam_loginuid.so\n"
            "# jitwg begin\nsession    requisite    /m/pam_jitwg.so mode=login\n# jitwg end\n"
            "@include common-session\n");
}

TEST(PamEdit, RescueAccountsJumpOverOursAndAreToldOf) {
  const std::string text = edited(kSmall, kRescue);
  EXPECT_NE(text.find("\naccount    [success=1 default=ignore] pam_succeed_if.so quiet user in rescue:ops\n"
                      "account    requisite    /m/pam_jitwg.so mode=login\n"), text.npos) << text;
  EXPECT_NE(text.find("\nsession    [success=1 default=ignore] pam_succeed_if.so quiet user notin rescue:ops\n"
                      "session    optional     pam_exec.so "), text.npos) << text;
  EXPECT_NE(text.find("JITWG_EVENT=rescue.login"), text.npos);
  EXPECT_NE(text.find("MESSAGE_ID=" + std::string(message_id(EventName::rescue_login))), text.npos);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LT(line.size(), 1000u) << "PAM reads 1,023 bytes of a line";
}

std::string edited_as(const std::string& name, std::string_view text, const PamSetup& setup = kPlain) {
  const auto result = edit_pam(file(name), text, setup);
  return result ? *result : "refused: " + result.error().message;
}

TEST(PamEdit, SudoAndJobsHaveTheirOwnModes) {
  EXPECT_EQ(edited_as("sudo", "session required pam_limits.so\n@include common-auth\n@include common-account\n", kRescue),
            "session required pam_limits.so\n@include common-auth\n# jitwg begin\n"
            "account    [success=1 default=ignore] pam_succeed_if.so quiet ruser in rescue:ops\n"
            "account    requisite    /m/pam_jitwg.so mode=sudo\n# jitwg end\n@include common-account\n");
  EXPECT_EQ(edited_as("cron", "session required pam_loginuid.so\n@include common-account\n@include common-session-noninteractive \n", kRescue),
            "session required pam_loginuid.so\n# jitwg begin\n"
            "session    [success=1 default=ignore] pam_succeed_if.so quiet user in rescue:ops\n"
            "session    requisite    /m/pam_jitwg.so mode=job\n# jitwg end\n# jitwg begin\n"
            "account    [success=1 default=ignore] pam_succeed_if.so quiet user in rescue:ops\n"
            "account    requisite    /m/pam_jitwg.so mode=job\n# jitwg end\n@include common-account\n@include common-session-noninteractive \n");
}

TEST(PamEdit, WhatIncludesAFileOfOursNeedsNoLineOfItsOwn) {
  const std::string su_l = "auth include su\naccount include su\nsession include su\n";
  EXPECT_EQ(edited_as("su-l", su_l), su_l);
  EXPECT_TRUE(is_in_place(file("su-l"), file("su-l").lines[0], su_l, kPlain));
  for (const std::string text : {"account include login\n", "account include sshd\n", "account required a.so\naccount include su\n"}) {
    EXPECT_NE(edited_as("su-l", text).find("mode=sudo"), std::string::npos) << text;
    EXPECT_FALSE(is_in_place(file("su-l"), file("su-l").lines[0], text, kPlain)) << text;
  }
}

TEST(PamEdit, AgainChangesNothingAndOtherAccountsChangeOnlyTheBlock) {
  for (const PamSetup& setup : {kPlain, kRescue}) {
    EXPECT_EQ(edited(edited(kSmall), setup), edited(kSmall, setup));
    EXPECT_EQ(edited(edited(kSmall, kRescue), setup), edited(kSmall, setup));
  }
}

TEST(PamEdit, WhatIsWrittenIsInPlace) {
  for (const PamSetup& setup : {kPlain, kRescue}) {
    const std::string text = edited(kSmall, setup);
    for (const PamLine& line : file("sshd").lines) {
      EXPECT_TRUE(is_in_place(file("sshd"), line, text, setup));
      EXPECT_FALSE(is_in_place(file("sshd"), line, kSmall, setup));
    }
  }
  for (const PamLine& line : file("sshd").lines) {
    EXPECT_FALSE(is_in_place(file("sshd"), line, edited(kSmall, kRescue), kPlain)) << "somebody jumps who may not";
    EXPECT_FALSE(is_in_place(file("sshd"), line, edited(kSmall), kRescue));
  }
}

TEST(PamEdit, LinesPutInByHandStay) {
  const std::string by_hand = "account requisite /x/pam_jitwg.so mode=login\n" + std::string(kSmall);
  EXPECT_EQ(edited(by_hand, kRescue), by_hand);
}

TEST(PamEdit, WhereThePlaceIsNotCertainTheLinesAreTold) {
  for (const std::string text : {
           "", "session required pam_loginuid.so\n@include common-session\n", "account required a.so\n",
           "account required a.so\n@include common-session\nsession required pam_loginuid.so\n",
           "account required a.so\nsession optional pam_systemd.so\nsession required pam_loginuid.so\n",
           "account required a.so\nsession include local\nsession required pam_loginuid.so\n",
           "account required a.so\n# session required pam_loginuid.so\n@include common-session\n",
           "account required a.so\nsession [success=2 default=ignore] pam_succeed_if.so uid < 1000\n"
           "session required pam_loginuid.so\n@include common-session\n",
           "account required a.so\r\nsession required pam_loginuid.so\r\n",
           "# jitwg begin\naccount required a.so\nsession required pam_loginuid.so\n",
           "account required a.so\n# jitwg end\nsession required pam_loginuid.so\n"}) {
    const auto result = edit_pam(file("sshd"), text, kPlain);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, Code::bad_config);
    const bool marks = text.find("jitwg") != text.npos;
    EXPECT_NE(result.error().hint.find(marks ? "by hand" : "account    requisite    /m/pam_jitwg.so mode=login"), std::string::npos);
  }
}

TEST(PamEdit, JumpsThatEndBeforeOursAndContinuedLinesAreNoHindrance) {
  EXPECT_NE(edited("account required a.so\nsession [success=1 default=ignore] pam_succeed_if.so uid < 1000\n"
                   "session required pam_loginuid.so\n").find("mode=login"), std::string::npos);
  EXPECT_NE(edited("account required a.so\nsession required \\\n pam_loginuid.so \\\n  debug\n@include common-session\n")
                .find("  debug\n# jitwg begin\nsession"), std::string::npos);
}

TEST(PamEdit, HomesSayNothingAboutTheEnvironment) {
  const std::string line = "session    required     pam_env.so user_readenv=1 envfile=/etc/default/locale";
  for (const std::string end : {"\n", ""}) {
    const std::string text = kSmall + line + end, with = edited(text);
    EXPECT_TRUE(takes_environment_from_homes(text));
    EXPECT_FALSE(takes_environment_from_homes(with));
    EXPECT_NE(with.find("\nsession    required     pam_env.so user_readenv=0 envfile=/etc/default/locale\n# jitwg end" + end), with.npos) << with;
    EXPECT_EQ(edited(with), with);
    EXPECT_EQ(*without_block(with), text);
  }
  EXPECT_TRUE(takes_environment_from_homes("session required \\\n pam_env.so user_readenv=1\n")) << "not changed, but told";
  EXPECT_FALSE(takes_environment_from_homes("# session required pam_env.so user_readenv=1\n"));
}

// Lines of all kinds in random order, with and without an end, and an administrator who edits afterwards.
TEST(PamEdit, TakenOutAgainEveryByteOfTheRestIsBack) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  const std::vector<std::string> pool = {
      "account required a.so", "account [success=1 default=ignore] b.so", "session required pam_loginuid.so", "@include common-auth",
      "@include common-account", "@include common-session", "@include local", "", "# a comment", "\t-session optional c.so \\", "  x",
      "auth include su", "session optional pam_systemd.so", "# session required pam_loginuid.so", "\xff\xfe", "Account required UPPER.so",
      "session required pam_env.so user_readenv=1", "session required pam_env.so user_readenv=1 # user_readenv=1"};
  size_t changed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t n = random() % 9; n > 0; --n) text += pool[random() % pool.size()] + "\n";
    if (random() % 2 && !text.empty()) text.pop_back();
    const PamSetup& setup = random() % 2 ? kPlain : kRescue;
    auto with = edit_pam(file("sshd"), text, setup);
    if (!with) continue;
    ++changed;
    ASSERT_EQ(*without_block(*with), text) << "seed " << seed << " round " << round;
    ASSERT_EQ(*edit_pam(file("sshd"), *with, setup), *with) << "seed " << seed;
    const std::string more = "# mine\n";  // above and below
    ASSERT_EQ(*without_block(more + *with), more + text) << "seed " << seed;
    const bool ended = with->ends_with('\n');
    ASSERT_EQ(*without_block(*with + (ended ? more : "")), text + (ended ? more : "")) << "seed " << seed;
  }
  EXPECT_GT(changed, 500u);
}

TEST(Block, AnywhereInAnyText) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t n = random() % 12; n > 0; --n) text += "ab\n\n# "[random() % 6];
    std::vector<size_t> places = {0, text.size()};
    for (size_t at = 0; at < text.size(); at = next_line(text, at)) places.push_back(at);
    const std::string with = with_block(text, places[random() % places.size()], "x\n");
    ASSERT_EQ(*without_block(with), text);
  }
}

}  // namespace
}  // namespace jitwg::hostd
