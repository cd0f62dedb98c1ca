#include "pam_jitwg/hostd/status.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace jitwg::hostd {
namespace {

const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");

State state() {
  return {"jump1", {4242, 987654}, kNow, kNow - Seconds(3), 42, Seconds(120), Seconds(600)};
}

Login login() {
  Login l{.session = SessionId::make(kNow), .person = "alice", .login = "deploy"};
  l.target = "db-prod";
  l.client = "10.90.0.7";
  l.monitor = {17, 5};
  l.since = l.first_since = kNow - Seconds(60);
  l.not_after = kNow + Seconds(3600);
  l.audit_session = 9;
  l.first_start = 5;
  return l;
}

TEST(Status, theStateFile) {
  EXPECT_EQ(*parse_state(render_state(state())), state());
  State unheard = state();
  unheard.heard.reset();
  EXPECT_EQ(*parse_state(render_state(unheard)), unheard);
  for (const char* bad : {"", "{}", "[]", "null", "{\"node\":\"x\"}"}) EXPECT_FALSE(parse_state(bad)) << bad;
}

TEST(Status, howOldItsKnowledgeIs) {
  const auto word = [](std::optional<WallTime> heard) {
    Status status{.state = state(), .is_running = true};
    status.state->heard = heard;
    return std::string(render_status(status, kNow).at("replica").as_string());
  };
  EXPECT_EQ(word(kNow), "fresh");
  EXPECT_EQ(word(kNow - Seconds(120)), "fresh");
  EXPECT_EQ(word(kNow - Seconds(121)), "stale");
  EXPECT_EQ(word(kNow - Seconds(600)), "stale");
  EXPECT_EQ(word(kNow - Seconds(601)), "lost");
  EXPECT_EQ(word(std::nullopt), "lost");
  EXPECT_EQ(render_status({}, kNow).at("replica"), "lost");
}

TEST(Status, forPeople) {
  setenv("TZ", "Europe/Istanbul", 1);
  tzset();
  Status status{.state = state(), .is_running = true, .logins = {{login(), 3}}};
  std::string text = render_status_table(status, kNow);
  for (const char* part : {"jump1: jitwg-hostd runs\n", "last heard 3s ago, replica at revision 42\n",
                           "1h", "2026-03-02 12:59:00 +03", " 3 ", "/jitwg/", "deploy"})
    EXPECT_NE(text.find(part), text.npos) << part << "\n" << text;
  EXPECT_EQ(text.find("processes left"), text.npos);

  status.logins[0].login.is_open = false;
  status.logins[0].login.scope = "/user.slice/session-3.scope";
  status.logins[0].login.person = "ali\x1b[2Jce";
  status.is_running = false;
  status.damaged = {"half\n"};
  text = render_status_table(status, kNow);
  for (const char* part : {"does not run since about 2026-03-02 13:00:00 +03", "processes left",
                           "/user.slice/session-3.scope", "damaged record"})
    EXPECT_NE(text.find(part), text.npos) << part << "\n" << text;
  EXPECT_EQ(text.find('\x1b'), text.npos);

  status.is_running = true;
  EXPECT_NE(render_status_table(status, kNow + Seconds(31)).find("hangs"), text.npos);
  EXPECT_NE(render_status_table({}, kNow).find("has not since boot"), text.npos);
  EXPECT_NE(render_status_table({}, kNow).find("nobody is logged in"), text.npos);
}

TEST(Status, forPrograms) {
  Status status{.state = state(), .is_running = true, .logins = {{login(), 3}, {login(), {}}}};
  status.logins[1].login.audit_session = kNoAuditSession;
  const json::object object = render_status(status, kNow);
  EXPECT_EQ(object.at("revision"), 42);
  EXPECT_EQ(object.at("heard"), "2026-03-02T09:59:57Z");
  const json::array& logins = object.at("logins").as_array();
  EXPECT_EQ(logins[0].at("time_left"), 3600);
  EXPECT_EQ(logins[0].at("processes"), 3u);
  EXPECT_EQ(logins[0].at("audit_session"), 9u);
  EXPECT_TRUE(logins[1].at("processes").is_null());
  EXPECT_TRUE(logins[1].at("audit_session").is_null());
}

TEST(Status, fromWhatIsThere) {
  char name[] = "/tmp/jitwg-status-XXXXXX";
  const std::string directory = mkdtemp(name);
  EXPECT_EQ(observe_status(directory, "/nonexistent").error().code, Code::hostd_unavailable);
  std::filesystem::create_directory(directory + "/logins");
  EXPECT_FALSE(observe_status(directory, "/nonexistent")->is_running);
  State mine = state();
  mine.daemon = observe_process(getpid())->process;
  std::ofstream(directory + "/state") << render_state(mine);
  std::ofstream(directory + "/logins/half") << "x";
  Status status = *observe_status(directory, "/nonexistent");
  EXPECT_TRUE(status.is_running);
  EXPECT_EQ(status.state, mine);
  EXPECT_EQ(status.damaged, std::vector<std::string>{"half"});
  mine.daemon.start ^= 1;  // the pid is another's by now
  std::ofstream(directory + "/state") << render_state(mine);
  EXPECT_FALSE(observe_status(directory, "/nonexistent")->is_running);
  std::ofstream(directory + "/state") << "garbage";
  EXPECT_EQ(observe_status(directory, "/nonexistent")->state, std::nullopt);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace jitwg::hostd
