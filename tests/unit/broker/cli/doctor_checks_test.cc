#include "broker/cli/doctor_checks.h"

#include <gtest/gtest.h>

#include "broker/doctor/realm.h"

namespace jitwg::cli {
namespace {

using Level = doctor::Finding::Level;

Level include(const std::string& text) {
  return check_ssh_include(text, "/home/alice/.config/jitwg/ssh_config", "/home/alice").level;
}

TEST(SshInclude, CountsOnlyForEveryHost) {
  EXPECT_EQ(include("Include ~/.config/jitwg/ssh_config\n"), Level::ok);
  EXPECT_EQ(include("# mine\ninclude other /home/alice/.config/jitwg/ssh_config\nHost x\n"),
            Level::ok);
  EXPECT_EQ(include("Include=~/.config/jitwg/ssh_config"), Level::ok);
  EXPECT_EQ(include(""), Level::warning);
  EXPECT_EQ(include("#Include ~/.config/jitwg/ssh_config\n"), Level::warning);
  EXPECT_EQ(include("Host x\n  User y\nInclude ~/.config/jitwg/ssh_config\n"), Level::warning);
  EXPECT_EQ(include("Match host x\nInclude ~/.config/jitwg/ssh_config\n"), Level::warning);
}

TEST(Sudo, WithoutPasswordWithOneOrNotAtAll) {
  EXPECT_EQ(check_sudo({0, "/usr/bin/wg-quick up x\n"}, "alice").level, Level::ok);
  EXPECT_EQ(check_sudo({1, "sudo: a password is required\n"}, "alice").level, Level::warning);
  const auto refused = check_sudo({1, "Sorry, user alice may not run sudo on laptop.\n"}, "alice");
  EXPECT_EQ(refused.level, Level::problem);
  EXPECT_EQ(refused.remedy, "/etc/sudoers.d/jitwg: alice ALL=(root) NOPASSWD: /usr/bin/wg-quick");
}

TEST(Wireguard, ToolAndSomethingThatCarriesIt) {
  EXPECT_EQ(check_wireguard({true, true, false}).level, Level::ok);
  EXPECT_EQ(check_wireguard({true, false, true}).level, Level::ok);
  EXPECT_EQ(check_wireguard({true, false, false}).level, Level::problem);
  EXPECT_EQ(check_wireguard({false, true, true}).level, Level::problem);
}

TEST(Realm, ClockRealmAndCaEachTellOnTheirOwn) {
  using namespace std::chrono_literals;
  const auto answer = parse_json(
      R"({"realm":"lab-1","version":"1","now":"2026-03-02T10:00:00Z","ca_public_key":"ssh-ed25519 A","duration":60})",
      1000);
  const doctor::RealmSeen seen = doctor::parse_realm(*answer).value();
  const auto problems = [&](const doctor::RealmSeen& own) {
    std::string names;
    for (const auto& finding : doctor::check_realm(own, seen, {"/f", "/f: ca = "}))
      if (finding.level == Level::problem) names += finding.what + " ";
    return names;
  };
  EXPECT_EQ(problems(seen), "");
  EXPECT_EQ(problems({"lab-2", seen.ca, seen.now}), "realm ");
  EXPECT_EQ(problems({seen.realm, {"ssh-ed25519 B"}, seen.now}), "broker_ca ");
  EXPECT_EQ(problems({seen.realm, seen.ca, seen.now + 31s}), "clock ");
  EXPECT_EQ(problems({"", {}, seen.now}), "");
  EXPECT_FALSE(
      doctor::parse_realm(*parse_json(R"({"realm":"x","ca_public_key":"y","now":"today"})", 1000)));
}

TEST(Realm, BothKeysOfAChangingCaBelongHere) {
  const auto level = [](std::vector<std::string> own, std::vector<std::string> theirs) {
    const auto found = doctor::check_realm({"r", std::move(own), {}}, {"r", std::move(theirs), {}},
                                           {"/f", "/f: ca = "});
    return std::pair(found.back().level, found.back().remedy);
  };
  EXPECT_EQ(level({"new", "old"}, {"old", "new"}).first, Level::ok);
  EXPECT_EQ(level({"old"}, {"new", "old"}).first, Level::problem);
  EXPECT_TRUE(level({"old"}, {"new", "old"}).second.starts_with("/f: ca = new"));
  EXPECT_EQ(level({"old"}, {"old", "new"}).first, Level::warning);
  EXPECT_EQ(level({"new"}, {"new", "old"}).first, Level::warning);
  EXPECT_EQ(level({"new", "old"}, {"new"}).first, Level::warning);
  EXPECT_NE(level({"new", "old"}, {"new"}).second.find("remove /f: ca = old"), std::string::npos);
}

}  // namespace
}  // namespace jitwg::cli
