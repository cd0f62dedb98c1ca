// What both clocks said at one moment of one boot. Tells when a session ends, and what time it would be, whatever the
// wall clock has been set to since (contrib/adr/0021). Pure.
#pragma once

#include <algorithm>
#include <string>

#include "broker/session/grant.h"

namespace jitwg::node {

struct ClockMark {
  std::string boot_id;  // of the kernel's run that `at.boot` counts in
  Instant at;

  // By the boot clock: not after what the wall clock said then, and never more than the session's own length.
  BootTime end_of(const Grant& grant) const {
    return at.boot + std::min<BootClock::duration>(grant.not_after - at.wall, grant.not_after - grant.not_before);
  }
  // What the wall clock would say, had nobody set it since.
  auto wall_at(BootTime boot) const { return at.wall + (boot - at.boot); }
  bool operator==(const ClockMark&) const = default;
};

}  // namespace jitwg::node
