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
  return Accounts{parse_managed(rules), std::string(kPasswd)}.is_managed(user);
}

bool managed(std::string_view rules, uid_t uid) {
  return Accounts{parse_managed(rules), std::string(kPasswd)}.is_managed(uid);
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

TEST(Managed, aUidByTheKernelsWord) {
  for (const uid_t uid : {0u, 2001u, 2002u, 3000u}) EXPECT_TRUE(managed("", uid)) << uid;
  for (const uid_t uid : {1u, 65534u, 61184u}) EXPECT_FALSE(managed("", uid)) << uid;
  EXPECT_FALSE(managed("except rescue\n", 2002u));
  EXPECT_TRUE(managed("nonsense\n", 1u));
  // alice's uid has one name; a uid with two is excepted only with both.
  const std::string two = std::string(kPasswd) + "second:x:2002:2002::/:/bin/sh\n";
  EXPECT_TRUE((Accounts{parse_managed("except rescue\n"), two}.is_managed(2002u)));
  EXPECT_TRUE((Accounts{parse_managed("except second\n"), two}.is_managed(2002u)));
  EXPECT_FALSE((Accounts{parse_managed("except rescue\nexcept second\n"), two}.is_managed(2002u)));
  EXPECT_EQ(find_name(kPasswd, 2001), "alice");
  EXPECT_EQ(find_name(kPasswd, 77), "uid 77");
}

TEST(Managed, whoNeedsASessionForSudo) {
  const Accounts accounts{parse_managed("except rescue\n"), std::string(kPasswd)};
  constexpr uid_t kRoot = 0, kDaemon = 1, kAlice = 2001, kRescue = 2002;
  const std::pair<std::pair<uid_t, std::optional<uid_t>>, bool> rows[] = {
      {{kRoot, kNoLogin}, false},  // a unit's script
      {{kRoot, kRoot}, false},     // cron's, whose pam_loginuid set 0; root's own login
      {{kRoot, kAlice}, true},     // alice, behind sudo -i
      {{kRoot, kRescue}, false},   // rescue, behind sudo -i
      {{kRoot, kDaemon}, false},
      {{kRoot, std::nullopt}, true},  // cannot be told
      {{kAlice, kAlice}, true},
      {{kAlice, kNoLogin}, true},  // a unit with User=alice
      {{kAlice, kRescue}, true},   // rescue became alice
      {{kRescue, kRescue}, false},
      {{kRescue, kAlice}, true},  // alice became rescue
      {{kDaemon, kNoLogin}, false},
      {{kDaemon, kAlice}, true},  // alice became a service's account
      {{kDaemon, std::nullopt}, true},
      {{77777, kNoLogin}, false},  // a DynamicUser=
      {{7777, kNoLogin}, true},    // in the range, and no name of ours
  };
  for (const auto& [who, expected] : rows)
    EXPECT_EQ(needs_session(accounts, who.first, who.second), expected)
        << who.first << " " << who.second.value_or(99999);
}

TEST(Managed, loginuid) {
  char name[] = "/tmp/jitwg-loginuid-XXXXXX";
  const int fd = mkstemp(name);
  const auto read_of = [&](std::string_view text) {
    EXPECT_EQ(ftruncate(fd, 0), 0);
    EXPECT_EQ(pwrite(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    return read_loginuid(name);
  };
  EXPECT_EQ(read_of("4294967295"), kNoLogin);
  EXPECT_EQ(read_of("2001"), 2001u);
  EXPECT_EQ(read_of("0"), 0u);
  for (const char* bad : {"", "x", "-1", "2001 ", "4294967296", "00000000000000000000000001"})
    EXPECT_FALSE(read_of(bad)) << bad;
  close(fd);
  unlink(name);
  EXPECT_FALSE(read_loginuid(name));
  EXPECT_TRUE(read_loginuid("/proc/self/loginuid"));
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
