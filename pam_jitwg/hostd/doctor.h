// `jitwg-hostd doctor`: what must be true on a jump host, so that nobody comes in without a live
// session and every login ends with its own. Reads only; asks sshd what its configuration means
// (sshd -T).
#pragma once

#include "broker/doctor/finding.h"
#include "broker/os/config.h"

namespace jitwg::hostd {

doctor::Findings examine(const Config& config);

}  // namespace jitwg::hostd
