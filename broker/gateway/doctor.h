// `jitwg-gateway doctor`: what must be true on this host for tunnels to open, carry and end. Reads
// only.
#pragma once

#include "broker/doctor/finding.h"
#include "broker/gateway/interface.h"
#include "broker/os/config.h"

namespace jitwg::gateway {

doctor::Findings examine(const Config& config, const Result<InterfaceSettings>& settings);

}  // namespace jitwg::gateway
