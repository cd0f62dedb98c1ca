// `jitwgd doctor`: what must be true on the broker's host. Asks the signer and the broker itself as
// others do; writes nothing.
#pragma once

#include "broker/doctor/finding.h"
#include "broker/os/config.h"

namespace jitwg::broker {

doctor::Findings examine(const Config& config);

}  // namespace jitwg::broker
