#include "broker/os/clock.h"

#include <ctime>

#include "broker/os/file.h"

namespace jitwg {

Instant SystemClock::instant() const {
  return {std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()), boot_now()};
}

BootTime boot_now() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return BootTime(std::chrono::milliseconds(t.tv_sec * 1000 + t.tv_nsec / 1'000'000));
}

Result<std::string> read_boot_id() {
  JITWG_ASSIGN(std::string id, read_file("/proc/sys/kernel/random/boot_id", 64));
  while (id.ends_with('\n')) id.pop_back();
  return id;
}

}  // namespace jitwg
