#include "broker/os/clock.h"

#include <ctime>

namespace jitwg {

WallTime SystemClock::now() const {
  return std::chrono::floor<Seconds>(std::chrono::system_clock::now());
}

BootTime boot_now() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return BootTime(std::chrono::milliseconds(t.tv_sec * 1000 + t.tv_nsec / 1'000'000));
}

}  // namespace jitwg
