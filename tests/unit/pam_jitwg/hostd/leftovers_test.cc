#include "pam_jitwg/hostd/leftovers.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace jitwg::hostd {
namespace {

using Found = std::vector<std::string>;

class LeftoversTest : public ::testing::Test {
 protected:
  LeftoversTest() {
    char name[] = "/tmp/jitwg-leftovers-XXXXXX";
    root = mkdtemp(name);
    places = {root + "/linger", root + "/atjobs", root + "/crontabs"};
    for (const auto& place : {places.linger, places.at_jobs, places.crontabs})
      std::filesystem::create_directory(place);
  }
  ~LeftoversTest() override { std::filesystem::remove_all(root); }
  void touch(const std::string& path) { std::ofstream(path) << "x"; }
  Found end(Seconds after) {
    return end_leftovers(places, "alice", getuid(),
                         std::chrono::floor<Seconds>(std::chrono::system_clock::now()) + after);
  }

  std::string root;
  LeftoverPlaces places;
  const Seconds before{-60}, later{60};
};

TEST_F(LeftoversTest, nothing) {
  EXPECT_EQ(end(before), Found{});
  std::filesystem::remove_all(root);  // a host without cron, at and systemd
  EXPECT_EQ(end(before), Found{});
}

TEST_F(LeftoversTest, whatIsNewIsFoundAndLingeringEnds) {
  touch(places.linger + "/alice");
  touch(places.linger + "/bob");
  touch(places.crontabs + "/alice");
  touch(places.crontabs + "/bob");
  touch(places.at_jobs + "/a00001");
  EXPECT_EQ(end(before), (Found{"lingering, now turned off", "a new crontab", "1 at job (a00001)"}));
  EXPECT_FALSE(std::filesystem::exists(places.linger + "/alice"));
  EXPECT_TRUE(std::filesystem::exists(places.linger + "/bob"));
}

TEST_F(LeftoversTest, whatIsOlderIsNotTheSessions) {
  touch(places.linger + "/alice");
  touch(places.crontabs + "/alice");
  touch(places.at_jobs + "/a00001");
  EXPECT_EQ(end(later), Found{"lingering, turned on before the session"});
  EXPECT_TRUE(std::filesystem::exists(places.linger + "/alice"));
}

TEST_F(LeftoversTest, manyJobsAreCounted) {
  for (char c = 'a'; c <= 'h'; ++c) touch(places.at_jobs + "/" + c);
  std::filesystem::create_directory(places.at_jobs + "/folder");
  EXPECT_EQ(end(before), Found{"8 at jobs (a, b, c, d, e, ...)"});
}

TEST_F(LeftoversTest, aNameThatIsAPathLeadsNowhere) {
  touch(root + "/secret");
  const WallTime since{};
  EXPECT_EQ(end_leftovers(places, "../secret", 1, since), Found{});
  EXPECT_EQ(end_leftovers(places, "..", 1, since), Found{});
  EXPECT_EQ(end_leftovers(places, "", 1, since), Found{});
  EXPECT_TRUE(std::filesystem::exists(root + "/secret"));
}

TEST_F(LeftoversTest, lingeringThatStaysIsSaid) {
  std::filesystem::create_directory(places.linger + "/alice");  // unlink(2) takes no directory
  const Found found = end(before);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_NE(found[0].find("could not be turned off"), std::string::npos) << found[0];
}

}  // namespace
}  // namespace jitwg::hostd
