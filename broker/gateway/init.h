// `jitwg-gateway init`: keys, configuration, and the lines that the policy needs to know this gateway.
#pragma once

#include <vector>

#include "broker/os/config.h"

namespace jitwg::gateway {

Result<void> init(const Config& config, const std::vector<Option>& options);

}  // namespace jitwg::gateway
