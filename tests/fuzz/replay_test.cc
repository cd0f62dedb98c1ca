// Runs a fuzz target over its corpus, a test a file, and beside the real OpenSSH.
#include <gtest/gtest.h>

#include "broker/os/file.h"
#include "tests/fuzz/fuzz.h"

namespace jitwg::fuzz {
namespace {

const std::string kCorpus = JITWG_SOURCE_DIR "/tests/fuzz/corpus/" JITWG_FUZZ_TARGET;

class Corpus : public testing::TestWithParam<std::string> {};

TEST_P(Corpus, Holds) {
  const auto input = read_file(kCorpus + "/" + GetParam(), 1 << 20);
  ASSERT_TRUE(input) << input.error().render();
  const bool accepted = try_input(*input);
  if (GetParam().starts_with("good-")) {
    EXPECT_TRUE(accepted);
  }
  if (GetParam().starts_with("bad-")) {
    EXPECT_FALSE(accepted);
  }
  compare(*input);
}

// An empty or missing folder has no test here, and GoogleTest fails a suite that is never instantiated with values.
INSTANTIATE_TEST_SUITE_P(, Corpus, testing::ValuesIn(*list_directory(kCorpus)), [](const auto& file) {
  std::string name;
  for (const char c : file.param) name += isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

}  // namespace
}  // namespace jitwg::fuzz
