// What gateway and jump host have in common for their doctors: configuration, keys, broker, clock,
// stored grants, unit. Speaks to the broker as anybody may; writes nothing.
#pragma once

#include "broker/doctor/machine.h"
#include "broker/os/config.h"

namespace jitwg::node {

// `config` has both daemons' keys: broker, broker-pin, broker-ca, node, node-key, ca, realm,
// state-dir.
doctor::Findings examine_node(const Config& config, const std::string& unit,
                              const doctor::User& user);

}  // namespace jitwg::node
