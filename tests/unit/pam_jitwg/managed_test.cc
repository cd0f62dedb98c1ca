#include "pam_jitwg/managed.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace jitwg::pam {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0::/root:/bin/sh\n"
    "daemon:x:1:1::/:/usr/sbin/nologin\n"
    "alice:x:2001:2001::/home/alice:/bin/sh\n"
    "rescue:x:2002:2002::/home/rescue:/bin/sh\n"
    "alice:x:5:5::/:/bin/sh\n"
    "broken:x:12a:5::/:/bin/sh\n"
    "short\n"
    "nobody:x:65534:65534::/:/bin/sh\n";

bool managed(std::string_view rules, std::string_view user) {
  return is_managed(parse_managed(rules), find_uid(kPasswd, user), user);
}

TEST(Managed, defaultIsRootAndPeople) {
  for (const char* rules : {"", "\n# nothing\n", "uids 0,1000-59999\n"}) {
    EXPECT_TRUE(managed(rules, "root"));
    EXPECT_TRUE(managed(rules, "alice"));
    EXPECT_FALSE(managed(rules, "daemon"));
    EXPECT_FALSE(managed(rules, "nobody"));
  }
}

TEST(Managed, exceptionsAndOtherRanges) {
  EXPECT_FALSE(managed("uids 0,1000-59999\nexcept rescue # see the run book\n", "rescue"));
  EXPECT_TRUE(managed("except rescue\n", "alice"));
  EXPECT_TRUE(managed("uids 0 , 1-2 , 65534\n", "nobody"));
  EXPECT_FALSE(managed("uids 0", "alice"));
}

TEST(Managed, anUnknownUserIsManaged) {
  EXPECT_TRUE(managed("uids 0\n", "stranger"));
  EXPECT_TRUE(managed("uids 0\n", "broken"));
  EXPECT_TRUE(managed("uids 0\n", "short"));
  EXPECT_TRUE(managed("uids 0\n", ""));
}

TEST(Managed, aLineThatIsNoneManagesEverybody) {
  for (const char* rules :
       {"uid 0\n", "uids\n", "uids 5-\n", "uids -5\n", "uids 9-1\n", "uids 0,\n",
        "uids 0\nuids 1\n", "uids 0 1\n", "uids 4294967296\n", "except\n", "except a b\n",
        "except a:b\n", "Except a\n", "uids 0x10\n", "uids 0\n<<<<<<<\n"}) {
    EXPECT_FALSE(parse_managed(rules)) << rules;
    EXPECT_TRUE(managed(rules, "daemon")) << rules;
  }
}

class Files : public ::testing::Test {
 protected:
  Files() {
    char name[] = "/tmp/jitwg-managed-XXXXXX";
    directory_ = mkdtemp(name);
    files_ = {directory_ + "/managed", directory_ + "/passwd", geteuid()};
    write(files_.passwd, kPasswd);
  }
  ~Files() override { std::filesystem::remove_all(directory_); }
  static void write(const std::string& path, std::string_view text) {
    std::ofstream(path) << text;
    chmod(path.c_str(), 0644);
  }
  std::string directory_;
  ManagedFiles files_;
  std::string why_;
};

TEST_F(Files, missingMeansTheDefault) {
  EXPECT_TRUE(is_managed(files_, "alice", &why_));
  EXPECT_FALSE(is_managed(files_, "daemon", &why_));
  EXPECT_EQ(why_, "");
}

TEST_F(Files, whatOthersMayWriteDoesNotCount) {
  write(files_.managed, "except alice\n");
  EXPECT_FALSE(is_managed(files_, "alice", &why_));
  chmod(files_.managed.c_str(), 0664);
  EXPECT_TRUE(is_managed(files_, "alice", &why_));
  EXPECT_TRUE(is_managed(files_, "daemon", &why_));
  EXPECT_NE(why_, "");
}

TEST_F(Files, anothersFileDoesNotCount) {
  write(files_.managed, "except alice\n");
  files_.owner = geteuid() + 1;
  EXPECT_TRUE(is_managed(files_, "alice", &why_));
}

TEST_F(Files, notAFileOrUnreadable) {
  std::filesystem::create_directory(files_.managed);
  EXPECT_TRUE(is_managed(files_, "daemon", &why_));
  std::filesystem::remove(files_.managed);
  ASSERT_EQ(mkfifo(files_.managed.c_str(), 0644), 0);  // must not wait for a writer either
  EXPECT_TRUE(is_managed(files_, "daemon", &why_));
}

TEST_F(Files, withoutPasswdEverybodyIsManaged) {
  std::filesystem::remove(files_.passwd);
  EXPECT_TRUE(is_managed(files_, "daemon", &why_));
  EXPECT_NE(why_, "");
}

}  // namespace
}  // namespace jitwg::pam
