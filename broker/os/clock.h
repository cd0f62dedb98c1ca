// The system's clocks behind the interface of broker/base/time.h.
#pragma once

#include <string>

#include "broker/base/time.h"

namespace jitwg {

class SystemClock final : public Clock {
 public:
  Instant instant() const override;  // CLOCK_REALTIME and CLOCK_BOOTTIME
};

BootTime boot_now();  // CLOCK_BOOTTIME

// Names this run of the kernel (random(4)): BootTimes of two of them have nothing in common.
Result<std::string> read_boot_id();

}  // namespace jitwg
