// What gateway and jump host have in common for their doctors: configuration, keys, broker, clock,
// stored grants, unit. Speaks to the broker as anybody may; writes nothing.
#pragma once

#include <optional>

#include "broker/doctor/machine.h"
#include "broker/os/config.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::node {

// What GET /v1/realm said.
struct RealmSeen {
  std::string realm, ca;
  WallTime now;
};
doctor::Findings check_realm(const Config& config, const std::optional<ssh::PublicKey>& ca,
                             const RealmSeen& seen, WallTime own_now);

// `config` has both daemons' keys: broker, node, node-key, ca, realm, state-dir.
doctor::Findings examine_node(const Config& config, const std::string& unit,
                              const doctor::User& user);

}  // namespace jitwg::node
