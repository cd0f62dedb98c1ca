// The system's clocks behind the interface of broker/base/time.h.
#pragma once

#include "broker/base/time.h"

namespace jitwg {

class SystemClock final : public Clock {
 public:
  WallTime now() const override;  // CLOCK_REALTIME, whole seconds, rounded down
};

BootTime boot_now();  // CLOCK_BOOTTIME

}  // namespace jitwg
