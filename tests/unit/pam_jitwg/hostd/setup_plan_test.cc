#include "pam_jitwg/hostd/setup_plan.h"

#include <gtest/gtest.h>

#include <map>

namespace jitwg::hostd {
namespace {

constexpr char kPam[] = "account required a.so\nsession required pam_loginuid.so\n";
const std::string kDropInPath = std::string(kSshdFolder) + "/" + kSshdDropIn;
using Texts = std::map<std::string, std::string>;

SetupInput input(std::vector<std::string> rescue = {}, std::vector<std::string> names = {}) {
  return {{"/m/pam_jitwg.so", std::move(rescue)}, "UsePAM yes\n\nMatch all\nX no\n", "[Journal]\nAudit=\n", true, true, std::move(names)};
}

std::vector<SeenFile> see(const Texts& texts, const std::vector<std::string>& rescue = {}) {
  std::vector<SeenFile> seen;
  for (const std::string& path : setup_paths(rescue))
    seen.push_back({path, texts.contains(path) ? std::optional(texts.at(path)) : std::nullopt});
  return seen;
}

Texts applied(Texts texts, const Result<std::vector<FileChange>>& changes) {
  EXPECT_TRUE(changes);
  for (const FileChange& change : *changes) {
    if (change.after) texts[change.path] = *change.after;
    else texts.erase(change.path);
  }
  return texts;
}

const Texts kDebian = {{kSshdMain, "# Debian\n\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n"}, {"/etc/pam.d/sshd", kPam}};

TEST(SetupPlan, PutInAndTakenOutEverythingIsAsBefore) {
  for (const std::vector<std::string>& rescue : {std::vector<std::string>{}, {"rescue"}}) {
    const Texts after = applied(kDebian, plan_setup(see(kDebian, rescue), input(rescue)));
    EXPECT_EQ(after.at(kSshdMain), kDebian.at(kSshdMain)) << "Debian's Include is first";
    EXPECT_TRUE(after.contains(kDropInPath) && after.contains(kJournaldFile) && after.contains(kPolkitFile));
    EXPECT_TRUE(plan_setup(see(after, rescue), input(rescue))->empty());
    EXPECT_EQ(applied(after, plan_removal(see(after, rescue))), kDebian);
  }
}

TEST(SetupPlan, WhoeverIsReadBeforeTheDropInGetsALineInFrontOfAll) {
  const std::string include = "# jitwg begin\nInclude /etc/ssh/sshd_config.d/00-jitwg.conf\n# jitwg end\n";
  for (const std::string main : {"PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", "UsePAM yes\n", "",
                                 "Match all\nInclude /etc/ssh/sshd_config.d/*.conf"}) {
    Texts texts = kDebian;
    texts[kSshdMain] = main;
    const Texts after = applied(texts, plan_setup(see(texts), input()));
    EXPECT_EQ(after.at(kSshdMain), include + main);
    EXPECT_TRUE(plan_setup(see(after), input())->empty());
    EXPECT_EQ(applied(after, plan_removal(see(after))), texts);
  }
  EXPECT_EQ(applied(kDebian, plan_setup(see(kDebian), input({}, {"00-a.conf"}))).at(kSshdMain), include + kDebian.at(kSshdMain));
  EXPECT_EQ(applied(kDebian, plan_setup(see(kDebian), input({}, {"00-a.conf.bak", "50-cloud-init.conf"}))).at(kSshdMain), kDebian.at(kSshdMain));
}

TEST(SetupPlan, TheRescueBlockStandsBeforeTheOneForAll) {
  const std::string text = sshd_lines(input({"rescue", "ops"}));
  EXPECT_LT(text.find("\nMatch User rescue,ops\nAuthorizedKeysFile /etc/ssh/jitwg-rescue_keys/%u\nTrustedUserCAKeys none\n"), text.find("\nMatch all\n"));
  EXPECT_EQ(sshd_lines(input()).find("Match User"), std::string::npos);
}

TEST(SetupPlan, WhatOthersPutBesideOursStays) {
  Texts texts = kDebian;
  texts[kDropInPath] = "# mine";
  texts[kPolkitFile] = "polkit.log(\"x\");\n";
  const Texts after = applied(texts, plan_setup(see(texts), input()));
  EXPECT_TRUE(after.at(kDropInPath).starts_with("# mine\n# jitwg begin\n"));
  EXPECT_EQ(applied(after, plan_removal(see(after))), texts);
}

TEST(SetupPlan, KeysThatSomebodyPutInAreNotTakenAway) {
  const std::vector<std::string> rescue = {"rescue"};
  Texts after = applied(kDebian, plan_setup(see(kDebian, rescue), input(rescue)));
  after[std::string(kRescueKeys) + "/rescue"] += "ssh-ed25519 AAAA\n";
  EXPECT_TRUE(plan_setup(see(after, rescue), input(rescue))->empty());
  EXPECT_TRUE(applied(after, plan_removal(see(after, rescue))).contains(std::string(kRescueKeys) + "/rescue"));
}

TEST(SetupPlan, AMarkWithoutItsOtherHalfIsNamed) {
  Texts texts = kDebian;
  texts["/etc/pam.d/sshd"] += "# jitwg begin\n";
  for (const auto& changes : {plan_setup(see(texts), input()), plan_removal(see(texts))}) {
    ASSERT_FALSE(changes);
    EXPECT_EQ(changes.error().code, Code::bad_config);
    EXPECT_TRUE(changes.error().message.starts_with("/etc/pam.d/sshd: "));
  }
}

TEST(SetupPlan, OnlyPlainNamesGetIntoSshdsAndPamsFiles) {
  EXPECT_TRUE(check_rescue({"rescue", "ops_1", "a.b-c"}));
  for (const char* name : {"", "*", "!root", "a,b", "a b", "a:b", "-x", ".", "..", "a/b", "a\nb", "ümlaut", "a%u"})
    EXPECT_FALSE(check_rescue({name})) << name;
  EXPECT_FALSE(check_rescue(std::vector<std::string>(17, "a")));
}

}  // namespace
}  // namespace jitwg::hostd
