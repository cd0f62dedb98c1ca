// tests/policy: every file of good/ loads, with exactly the warnings that its first lines say; every file of bad/ differs from
// good/base.toml by a mistake, and is refused for exactly what its first lines say.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/os/file.h"
#include "policy/policy.h"

namespace jitwg {
namespace {

const std::string kFolder = JITWG_SOURCE_DIR "/tests/policy/";

std::string read(const std::string& path) {
  const auto text = read_file(path, 4 << 20);
  return text ? *text : std::string();
}

// "line:column bad_policy: message (hint)", as `# expect:` and `# warn:` lines have it.
std::vector<std::string> as_written(const std::vector<PolicyProblem>& problems) {
  std::vector<std::string> lines;
  for (const PolicyProblem& one : problems)
    lines.push_back(std::to_string(one.line) + ":" + std::to_string(one.column) + " bad_policy: " + one.message +
                    (one.hint.empty() ? "" : " (" + one.hint + ")"));
  return lines;
}

std::vector<std::string> lines_after(const std::string& text, const std::string& mark) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, mark.size(), mark) == 0) lines.push_back(text.substr(at + mark.size(), end - at - mark.size()));
    at = end + 1;
  }
  return lines;
}

bool is_fit_to_print(const PolicyProblem& one) {
  return printable(one.message) == one.message && printable(one.hint) == one.hint && !one.message.empty();
}

TEST(Corpus, EveryGoodPolicyLoads) {
  const auto names = list_directory(kFolder + "good");
  ASSERT_TRUE(names && names->size() >= 5);
  for (const std::string& name : *names) {
    if (name == "design.toml") continue;  // wants keys: policy_test
    const std::string text = read(kFolder + "good/" + name);
    const PolicyReading reading = check_policy(text);
    EXPECT_EQ(as_written(reading.errors), std::vector<std::string>{}) << name;
    EXPECT_EQ(as_written(reading.warnings), lines_after(text, "# warn: ")) << name;
    EXPECT_TRUE(load_policy(text, name)) << name;
  }
}

TEST(Corpus, EveryBadPolicyIsRefusedForItsOwnMistake) {
  const auto names = list_directory(kFolder + "bad");
  ASSERT_TRUE(names && names->size() >= 60);
  std::map<std::string, std::string> first_error;
  for (const std::string& name : *names) {
    const std::string text = read(kFolder + "bad/" + name);
    const PolicyReading reading = check_policy(text);
    EXPECT_FALSE(reading.policy) << name;
    EXPECT_EQ(as_written(reading.errors), lines_after(text, "# expect: ")) << name;
    for (const PolicyProblem& one : reading.errors) EXPECT_TRUE(is_fit_to_print(one) && one.line > 0 && one.column > 0) << name;
    const auto loaded = load_policy(text, name);
    ASSERT_FALSE(loaded) << name;
    EXPECT_EQ(loaded.error().code, Code::bad_policy) << name;
    const auto [it, fresh] = first_error.emplace(as_written(reading.errors)[0], name);
    EXPECT_TRUE(fresh) << name << " is refused for the same as " << it->second;
  }
}

TEST(Corpus, NoMoreErrorsThanAPersonReads) {
  std::string text = read(kFolder + "good/base.toml");
  for (int i = 0; i < 30; ++i) text += "[[rule]]\nnaem = \"x\"\n";
  const PolicyReading reading = check_policy(text);
  EXPECT_EQ(reading.errors.size(), limits::kPolicyErrors);
  EXPECT_EQ(reading.more_errors, 30u * 5 - limits::kPolicyErrors);  // name, who, targets, approvals missing; naem unknown
  const std::string first = load_policy(text, "p.toml").error().render();
  EXPECT_NE(first.find("149 more: jitwg policy check names them"), std::string::npos) << first;
}

TEST(Corpus, HugeFilesAreRefusedAtOnce) {
  EXPECT_NE(check_policy(std::string((2 << 20) + 1, '#')).errors.at(0).message.find("bytes long"), std::string::npos);
  for (const std::string& piece : {std::string("a."), std::string("\"#\"."), std::string("'a' . ")}) {
    std::string keys = "x = 1\n";
    while (keys.size() < (1 << 20)) keys += piece;
    EXPECT_NE(check_policy(keys + "a = 1").errors.at(0).message.find("a key of more than 32 parts"), std::string::npos) << piece;
  }
  // What only looks like a long key.
  std::string text = read(kFolder + "good/base.toml");
  text.insert(text.find("name = \"databases\""), "# a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a\n");
  text.replace(text.find("\"databases\""), 11, "\"\"\"a\\\".\"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a\"\"\"");
  EXPECT_TRUE(check_policy(text).policy) << as_written(check_policy(text).errors).at(0);
}

// Windows' line ends, a byte order mark: what an editor may leave, and no person sees.
TEST(Corpus, LineEndsAndByteOrderMark) {
  const std::string text = read(kFolder + "good/base.toml");
  std::string crlf = "\xef\xbb\xbf";
  for (const char c : text) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_TRUE(check_policy(crlf).policy);
  EXPECT_NE(check_policy(crlf).policy->digest, check_policy(text).policy->digest);
  std::string bad = crlf.replace(crlf.find("group:platform"), 14, "group:platfrom");
  EXPECT_EQ(as_written(check_policy(bad).errors)[0].substr(0, 3), "49:");
}

}  // namespace
}  // namespace jitwg
