// Wall time, whole seconds, UTC; durations as people write them; the clock as a value to pass in.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "broker/base/error.h"

namespace jitwg {

using Seconds = std::chrono::seconds;
using WallTime = std::chrono::sys_seconds;
// Since boot, also through suspend (CLOCK_BOOTTIME). Not comparable with WallTime, on purpose.
struct BootClock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};
using BootTime = BootClock::time_point;

// Both clocks, read together. Anybody may set the one; nobody sets the other.
struct Instant {
  std::chrono::sys_time<std::chrono::milliseconds> wall;
  BootTime boot;
  WallTime second() const { return std::chrono::floor<Seconds>(wall); }
  bool operator==(const Instant&) const = default;
};

// Where `now` comes from. Read once per request or tick and passed in as a value.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant instant() const = 0;
  WallTime now() const { return instant().second(); }  // rounded down
};

// "2026-03-02T10:00:00Z", RFC 3339, exactly that shape: other zones and fractions are bad_time.
Result<WallTime> parse_time(std::string_view text);
// As parse_time, but also with an offset "+03:00" (policy tests are written by people).
Result<WallTime> parse_time_with_offset(std::string_view text);
std::string render_time(WallTime time);

// "20s", "90m", "1h30m", "2h"; each unit once, largest first; more than 0, at most 10 years.
Result<Seconds> parse_duration(std::string_view text);
// "1h 30m", "4m 10s", "45s": for people.
std::string render_duration(Seconds duration);

}  // namespace jitwg
