// What `init` of a gateway and of a jump host have in common: whom to trust, and the key that the node is known by.
#pragma once

#include <optional>
#include <string>

#include "broker/os/config.h"
#include "broker/setup/conf.h"
#include "broker/setup/host_files.h"
#include "ssh-ca/format/ca_keys.h"

namespace jitwg::setup {

struct Trusted {
  std::string node;
  std::optional<ssh::CaKeys> ca;  // from the block
  Settings learned;                  // for make_conf()
};
// Before anything is made. Broker, CA and realm come from the block that --trust names (- is stdin), in a later run from
// what is there already. bad_config: neither says it, or they contradict each other.
Result<Trusted> read_trust(const Config& config);

// Makes `node-key` and `ca`. The key that the node is known by.
Result<ssh::PublicKey> make_node(HostFiles& files, const Config& config, const Trusted& trusted, Owner owner);

// `[table.name]` of the policy's TOML, with quotes where the name needs them.
std::string policy_table(const std::string& table, const std::string& name);
// `key = ["…", "…"]`
std::string policy_list(const std::string& key, const std::vector<std::string>& values);

// Tells where the lines above and below it belong, as comments of the policy.
extern const char* const kPolicyAdvice;

}  // namespace jitwg::setup
