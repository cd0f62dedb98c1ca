// `jitwg-hostd init`: node key and configuration, sshd's and PAM's files, and the lines that the policy needs to know this
// jump host.
#pragma once

#include <vector>

#include "broker/os/config.h"

namespace jitwg::hostd {

Result<void> init(const Config& config, const std::vector<Option>& options);

}  // namespace jitwg::hostd
