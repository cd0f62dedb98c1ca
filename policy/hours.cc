#include "policy/hours.h"

#include <date/tz.h>

#include <array>

#include "policy/nearest.h"

namespace jitwg {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

int day_number(std::string_view word) {
  for (size_t i = 0; i < kDays.size(); ++i)
    if (kDays[i] == word) return static_cast<int>(i);
  return -1;
}

// "Mon-Fri" or "Sat" or "Mon,Wed,Fri" as bits; 0 when it is none of these.
unsigned parse_days(std::string_view text) {
  unsigned days = 0;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t dash = item.find('-');
    const int first = day_number(item.substr(0, dash));
    const int last = dash == std::string_view::npos ? first : day_number(item.substr(dash + 1));
    if (first < 0 || last < 0) return 0;
    for (int d = first;; d = (d + 1) % 7) {
      days |= 1u << d;
      if (d == last) break;
    }
    if (comma == std::string_view::npos) return days;
    text.remove_prefix(comma + 1);
  }
}

// "07:00" as minutes of the day, up to 24:00; -1 otherwise.
int parse_clock(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return -1;
  int value[2];
  for (int i = 0; i < 2; ++i) {
    const char a = text[static_cast<size_t>(3 * i)], b = text[static_cast<size_t>(3 * i + 1)];
    if (a < '0' || a > '9' || b < '0' || b > '9') return -1;
    value[i] = (a - '0') * 10 + (b - '0');
  }
  const int minutes = value[0] * 60 + value[1];
  return value[1] < 60 && minutes <= 24 * 60 ? minutes : -1;
}

Words zone_names() {
  Words names;
  try {
    for (const date::time_zone& zone : date::get_tzdb().zones) names.emplace(zone.name());
  } catch (const std::exception&) {
    // No zone database: no name is near.
  }
  return names;
}

}  // namespace

Result<Hours> Hours::parse(std::string_view text) {
  const auto bad = [&](std::string why, std::string hint = {}) {
    return fail(Code::bad_value, "hours \"" + std::string(text.substr(0, 80)) + "\": " + std::move(why),
                hint.empty() ? "write Mon-Fri 07:00-19:00 Europe/Istanbul" : std::move(hint));
  };
  const size_t one = text.find(' ');
  const size_t two = one == std::string_view::npos ? one : text.find(' ', one + 1);
  if (two == std::string_view::npos) return bad("days, times and a zone are needed");
  Hours hours;
  hours.text_ = std::string(text);
  hours.days_ = parse_days(text.substr(0, one));
  if (hours.days_ == 0) return bad("the days are off", "Sun Mon Tue Wed Thu Fri Sat: Mon-Fri, or Sat,Sun");
  const std::string_view clock = text.substr(one + 1, two - one - 1);
  const char* times = "two different times like 07:00-19:00; 22:00-06:00 ends on the next day";
  if (clock.size() != 11 || clock[5] != '-') return bad("the times are off", times);
  hours.start_ = parse_clock(clock.substr(0, 5));
  hours.end_ = parse_clock(clock.substr(6));
  if (hours.start_ < 0 || hours.end_ < 0 || hours.start_ == hours.end_ || hours.start_ == 24 * 60)
    return bad("the times are off", times);
  try {
    const date::time_zone* zone = date::locate_zone(std::string(text.substr(two + 1)));
    zone->get_info(date::sys_seconds{});  // loads the zone's rules now, not while judging
    hours.zone_ = zone;
  } catch (const std::exception&) {
    return bad("unknown time zone \"" + std::string(text.substr(two + 1)) + "\"", nearest(text.substr(two + 1), zone_names()));
  }
  return hours;
}

bool Hours::contain(WallTime at) const {
  const auto* zone = static_cast<const date::time_zone*>(zone_);
  const auto local = zone->to_local(at);
  const auto day = date::floor<date::days>(local);
  const auto minute = std::chrono::duration_cast<std::chrono::minutes>(local - day).count();
  const unsigned today = date::weekday{day}.c_encoding(), yesterday = (today + 6) % 7;
  const auto on = [&](unsigned d) { return (days_ >> d & 1) != 0; };
  if (start_ < end_) return on(today) && minute >= start_ && minute < end_;
  return (on(today) && minute >= start_) || (on(yesterday) && minute < end_);
}

}  // namespace jitwg
