#include "broker/base/time.h"

#include <cstdio>

namespace jitwg {
namespace {

using namespace std::chrono;

// Two or four digits at `at`; -1 when one of them is no digit.
int digits(std::string_view text, size_t at, size_t count) {
  int value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

Result<WallTime> parse_local(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::bad_time, "\"" + std::string(text.substr(0, 40)) + "\" is no time",
                "write 2026-03-02T10:00:00Z");
  };
  if (text.size() != 19 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
      text[16] != ':')
    return bad();
  const int y = digits(text, 0, 4), mo = digits(text, 5, 2), d = digits(text, 8, 2);
  const int h = digits(text, 11, 2), mi = digits(text, 14, 2), s = digits(text, 17, 2);
  if (y < 1970 || mo < 0 || d < 0 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 59)
    return bad();
  const year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
  if (!date.ok()) return bad();
  return sys_days{date} + hours{h} + minutes{mi} + seconds{s};
}

}  // namespace

Result<WallTime> parse_time(std::string_view text) {
  if (text.size() != 20 || text.back() != 'Z')
    return fail(Code::bad_time, "\"" + std::string(text.substr(0, 40)) + "\" is no UTC time",
                "write 2026-03-02T10:00:00Z");
  return parse_local(text.substr(0, 19));
}

Result<WallTime> parse_time_with_offset(std::string_view text) {
  if (!text.empty() && text.back() == 'Z') return parse_time(text);
  if (text.size() != 25 || (text[19] != '+' && text[19] != '-') || text[22] != ':')
    return fail(Code::bad_time, "\"" + std::string(text.substr(0, 40)) + "\" is no time",
                "write 2026-03-02T10:00:00Z or 2026-03-02T10:00:00+03:00");
  JITWG_ASSIGN(const WallTime local, parse_local(text.substr(0, 19)));
  const int h = digits(text, 20, 2), m = digits(text, 23, 2);
  if (h < 0 || h > 23 || m < 0 || m > 59)
    return fail(Code::bad_time, "the offset of \"" + std::string(text) + "\" is off");
  const Seconds offset = hours{h} + minutes{m};
  return text[19] == '+' ? local - offset : local + offset;
}

std::string render_time(WallTime time) {
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02dZ", int(date.year()),
                unsigned(date.month()), unsigned(date.day()), int(clock.hours().count()),
                int(clock.minutes().count()), int(clock.seconds().count()));
  return text;
}

Result<Seconds> parse_duration(std::string_view text) {
  const auto bad = [&] {
    return fail(Code::bad_value, "\"" + std::string(text.substr(0, 40)) + "\" is no duration",
                "write 20s, 90m or 1h30m");
  };
  constexpr long kMost = 10L * 366 * 86400;
  long total = 0, unit_before = 1L << 40;
  size_t i = 0;
  if (text.empty()) return bad();
  while (i < text.size()) {
    long value = 0;
    const size_t start = i;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      value = value * 10 + (text[i] - '0');
      if (value > kMost) return bad();
    }
    if (i == start || i == text.size()) return bad();
    const char letter = text[i++];
    const long unit = letter == 'd' ? 86400 : letter == 'h' ? 3600 : letter == 'm' ? 60
                    : letter == 's' ? 1 : 0;
    if (unit == 0 || unit >= unit_before) return bad();
    unit_before = unit;
    total += value * unit;
    if (total > kMost) return bad();
  }
  if (total == 0) return bad();
  return Seconds{total};
}

std::string render_duration(Seconds duration) {
  const long s = duration.count() < 0 ? 0 : duration.count();
  const long h = s / 3600, m = s / 60 % 60, rest = s % 60;
  if (h > 0)
    return std::to_string(h) + "h" + (m ? " " + std::to_string(m) + "m" : "") + (rest ? " " + std::to_string(rest) + "s" : "");
  if (m > 0) return std::to_string(m) + "m" + (rest ? " " + std::to_string(rest) + "s" : "");
  return std::to_string(rest) + "s";
}

}  // namespace jitwg
