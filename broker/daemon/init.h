// `jitwgd init`: TLS key and certificate, configuration, and the block by which people and nodes know this broker.
#pragma once

#include <vector>

#include "broker/os/config.h"

namespace jitwg::broker {

// signer_unavailable: all is made, but CA key and realm, which the block needs, are the signer's to tell.
Result<void> init(const Config& config, const std::vector<Option>& options);

}  // namespace jitwg::broker
