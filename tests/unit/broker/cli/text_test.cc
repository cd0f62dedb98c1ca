#include "broker/cli/text.h"

#include <gtest/gtest.h>

namespace jitwg::cli {
namespace {

const WallTime kNow = *parse_time("2026-03-02T07:00:00Z");

TEST(Text, TimeLeftGetsFinerTowardsTheEnd) {
  EXPECT_EQ(time_left(kNow + Seconds(5400), kNow), "1h 30m left");
  EXPECT_EQ(time_left(kNow + Seconds(659), kNow), "10m left");
  EXPECT_EQ(time_left(kNow + Seconds(250), kNow), "4m 10s left");
  EXPECT_EQ(time_left(kNow + Seconds(1), kNow), "1s left");
  EXPECT_EQ(time_left(kNow, kNow), "over");
  EXPECT_EQ(time_left(kNow - Seconds(9), kNow), "over");
}

TEST(Text, TimeSince) {
  EXPECT_EQ(time_since(kNow, kNow), "just now");
  EXPECT_EQ(time_since(kNow + Seconds(3), kNow), "just now") << "another machine's clock";
  EXPECT_EQ(time_since(kNow - Seconds(45), kNow), "45s ago");
  EXPECT_EQ(time_since(kNow - Seconds(185), kNow), "3m ago");
}

TEST(Text, LocalTimeIsInTheNamedZone) {
  EXPECT_EQ(local_time_in(kNow, "Europe/Istanbul"), "2026-03-02 10:00:00 +03");
  EXPECT_EQ(local_time_in(kNow, "America/New_York"), "2026-03-02 02:00:00 EST");
  EXPECT_EQ(local_time_in(kNow, "No/Such_Zone"), "2026-03-02 07:00:00 UTC");
}

TEST(Text, TablesAlignAndEscape) {
  EXPECT_EQ(render_table({{"ID", "REASON"}, {"1234", "ä\n\033[31m"}, {"5", ""}}),
            "ID    REASON\n"
            "1234  ä\\u{a}\\u{1b}[31m\n"
            "5\n");
}

TEST(Text, FillsHolesInOrderAndNotTwice) {
  EXPECT_EQ(fill("a {} b {}.", {"1", "{}"}), "a 1 b {}.");
  EXPECT_DEATH(fill("{}", {}), "broken invariant");
  EXPECT_DEATH(fill("", {"1"}), "broken invariant");
}

TEST(Text, ShortensByCharacters) {
  EXPECT_EQ(shorten("äöü", 3), "äöü");
  EXPECT_EQ(shorten("äöüß", 3), "äö…");
}

TEST(Text, JsonHidesNothingOnATerminalAndSaysTheSame) {
  const json::value value{{"reason", "k\u0131sa \xc2\x9b \xe2\x80\xae \xf3\xa0\x81\x81 \x1b \\u{9b} \\\\"}};
  const std::string line = render_json_line(value);
  EXPECT_EQ(line, "{\"reason\":\"k\u0131sa \\u009b \\u202e \\udb40\\udc41 \\u001b \\\\u{9b} \\\\\\\\\"}");
  EXPECT_EQ(*parse_json(line, 1000), value);
}

}  // namespace
}  // namespace jitwg::cli
