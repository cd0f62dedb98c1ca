#include "pam_jitwg/hostd/setup_swap.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace jitwg::hostd {
namespace {

namespace fs = std::filesystem;

class Swap : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/jitwg-swap-XXXXXX";
    folder_ = ::mkdtemp(name);
    for (const char* each : {"a", "b"}) std::ofstream(at(each)) << "old " << each;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  std::string text(const std::string& name) const { return read_seen(at(name))->value_or("(none)"); }
  size_t names() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {})); }

  std::vector<FileChange> changes() const {
    return {{at("a"), "old a", "new a"}, {at("sub/c"), std::nullopt, "new c"}, {at("b"), "old b", std::nullopt}};
  }
  void expect_untouched() const {
    EXPECT_EQ(text("a"), "old a");
    EXPECT_EQ(text("b"), "old b");
    EXPECT_EQ(names(), 2u) << "nothing is left beside them";
  }

  std::string folder_;
};

Result<void> yes() { return {}; }

TEST_F(Swap, AllOfThem) {
  ASSERT_TRUE(swap_files(changes(), yes));
  EXPECT_EQ(text("a"), "new a");
  EXPECT_EQ(text("sub/c"), "new c");
  EXPECT_EQ(text("b"), "(none)");
  EXPECT_EQ(names(), 2u);
}

TEST_F(Swap, OrNoneWhenTheLastWordIsNo) {
  const auto done = swap_files(changes(), [this]() -> Result<void> {
    EXPECT_EQ(text("a") + text("b"), "new a(none)") << "asked with the new ones in place";
    return fail(Code::bad_config, "no");
  });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::bad_config);
  expect_untouched();
}

TEST_F(Swap, OrNoneWhenOneIsNotWhatItWas) {
  auto wrong = changes();
  wrong.back().before = "older b";
  EXPECT_EQ(swap_files(wrong, yes).error().code, Code::wrong_state);
  expect_untouched();
}

TEST_F(Swap, OrNoneWhenOneCannotBeWritten) {
  auto wrong = changes();
  wrong.push_back({at("a/below-a-file"), std::nullopt, "x"});
  EXPECT_FALSE(swap_files(wrong, yes));
  expect_untouched();
}

TEST_F(Swap, OwnerModeAttributesAndSymlinksStay) {
  fs::create_symlink(at("a"), at("link"));
  ::chmod(at("a").c_str(), 0640);
  const bool root = ::geteuid() == 0;
  ASSERT_TRUE(!root || ::chown(at("a").c_str(), 12, 34) == 0);
  const bool attributes = ::setxattr(at("a").c_str(), "user.jitwg", "x", 1, 0) == 0;
  ASSERT_TRUE(swap_files({{at("link"), "old a", "new a"}}, yes));
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(text("a"), "new a");
  struct stat st {};
  ASSERT_EQ(::stat(at("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  EXPECT_TRUE(!root || (st.st_uid == 12 && st.st_gid == 34));
  char value = 0;
  EXPECT_TRUE(!attributes || ::getxattr(at("a").c_str(), "user.jitwg", &value, 1) == 1);
}

TEST_F(Swap, WhatAnInterruptedOneLeftIsSweptAndNoHindrance) {
  for (const char* ending : {".jitwg-new", ".jitwg-old"}) std::ofstream(at("a") + ending) << "half";
  sweep_asides({at("a"), at("missing")});
  expect_untouched();
  EXPECT_TRUE(swap_files(changes(), yes));
}

TEST_F(Swap, OnlyRegularFilesOfABearableSizeAreRead) {
  EXPECT_EQ(read_seen(folder_).error().code, Code::unsafe_file);
  ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_seen(at("pipe")).error().code, Code::unsafe_file);
  fs::resize_file(at("a"), (1 << 20) + 1);
  EXPECT_EQ(read_seen(at("a")).error().code, Code::too_large);
  fs::create_symlink("nowhere", at("dangling"));
  EXPECT_EQ(read_seen(at("dangling")).error().code, Code::io);
  EXPECT_FALSE(*read_seen(at("missing")));
}

}  // namespace
}  // namespace jitwg::hostd
