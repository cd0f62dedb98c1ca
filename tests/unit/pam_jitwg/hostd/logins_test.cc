#include "pam_jitwg/hostd/logins.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace jitwg::hostd {
namespace {

const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");

class LoginsTest : public ::testing::Test {
 protected:
  LoginsTest() {
    char name[] = "/tmp/jitwg-logins-XXXXXX";
    directory = mkdtemp(name);
  }
  ~LoginsTest() override { std::filesystem::remove_all(directory); }
  Logins load() { return std::move(*Logins::load(directory, damaged)); }

  std::string directory;
  std::vector<std::string> damaged;
  Login login{SessionId::make(kNow),
              "alice",
              "alice",
              "db-prod",
              "10.90.0.7",
              {4242, 987654},
              kNow,
              kNow + Seconds(60),
              "/user.slice/session-3.scope",
              true};
};

TEST_F(LoginsTest, aRestartKnowsThem) {
  Logins first = load();
  ASSERT_TRUE(first.put(login));
  Login other = login;
  other.monitor.pid = 17;
  other.person = "bob";
  other.is_open = false;
  ASSERT_TRUE(first.put(other));
  const Logins second = load();
  EXPECT_EQ(second.all(), first.all());
  EXPECT_EQ(*second.find(login.monitor), login);
  EXPECT_EQ(second.of(login.session).size(), 2u);
  EXPECT_EQ(second.persons(), std::set<std::string>{"alice"});
  EXPECT_TRUE(damaged.empty());
}

TEST_F(LoginsTest, foundByTheKernelsAuditSession) {
  Logins logins = load();
  ASSERT_TRUE(logins.put(login));  // as it stands: in none
  EXPECT_EQ(logins.find_by_audit_session(kNoAuditSession), nullptr);
  login.audit_session = 7;
  login.is_open = false;
  ASSERT_TRUE(logins.put(login));
  EXPECT_EQ(*load().find_by_audit_session(7), login);
  EXPECT_EQ(load().find_by_audit_session(8), nullptr);
}

TEST_F(LoginsTest, aUsersSessionsAreThoseWithAnOpenLoginIfThereIsOne) {
  Logins logins = load();
  Login left = login, another = login;
  left.session = SessionId::make(kNow);
  left.is_open = false;
  ASSERT_TRUE(logins.put(left));
  EXPECT_EQ(logins.sessions_of("alice"), std::vector<SessionId>{left.session});
  another.monitor.pid = 17;
  ASSERT_TRUE(logins.put(login));
  ASSERT_TRUE(logins.put(another));
  EXPECT_EQ(logins.sessions_of("alice"), std::vector<SessionId>{login.session});
  EXPECT_TRUE(logins.sessions_of("bob").empty());
}

TEST_F(LoginsTest, aRecordFromBeforeAuditSessions) {
  std::string text = render_login(login);
  text = text.substr(0, text.find(",\"audit_session\"")) + "}";
  EXPECT_EQ(*parse_login(text), login);
  for (const char* bad : {"0", "-1", "4294967296", "\"7\""}) {
    std::string wrong = render_login(login);
    wrong.replace(wrong.find("4294967295"), 10, bad);
    EXPECT_FALSE(parse_login(wrong)) << bad;
    wrong = render_login(login);
    wrong.replace(wrong.rfind("4294967295"), 10, bad);
    EXPECT_EQ(parse_login(wrong).has_value(), std::string_view(bad) == "0") << bad;  // root's
  }
}

TEST_F(LoginsTest, dropped) {
  Logins logins = load();
  ASSERT_TRUE(logins.put(login));
  ASSERT_TRUE(logins.drop({login.session, login.monitor.pid}));
  EXPECT_TRUE(load().all().empty());
  EXPECT_EQ(logins.find(Process{4242, 987654}), nullptr);
}

TEST_F(LoginsTest, aDamagedRecordIsNamedAndTheOthersCount) {
  ASSERT_TRUE(load().put(login));
  std::ofstream(directory + "/half") << render_login(login).substr(0, 40);
  std::ofstream(directory + "/x.new") << "torn";
  const Logins logins = load();
  EXPECT_EQ(logins.all().size(), 1u);
  EXPECT_EQ(damaged, std::vector<std::string>{"half"});
}

TEST_F(LoginsTest, recordsThatAreNone) {
  for (const char* bad : {"", "{}", "[]", "{\"session\":\"x\"}"})
    EXPECT_FALSE(parse_login(bad)) << bad;
  std::string text = render_login(login);
  text.replace(text.find("4242"), 4, "-242");
  EXPECT_FALSE(parse_login(text));
}

}  // namespace
}  // namespace jitwg::hostd
