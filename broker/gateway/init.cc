#include "broker/gateway/init.h"

#include <sodium.h>

#include "broker/base/address.h"
#include "broker/base/encoding.h"
#include "broker/gateway/wireguard.h"
#include "broker/setup/node.h"
#include "broker/setup/outcome.h"

namespace jitwg::gateway {
namespace {

constexpr const char* kUser = "jitwg-gw";

// As `wg genkey`: clamped (RFC 7748 §5).
Result<std::string> make_wireguard_key() {
  std::string secret = random_bytes(32);
  secret[0] = static_cast<char>(secret[0] & 248);
  secret[31] = static_cast<char>((secret[31] & 127) | 64);
  std::string text = base64_encode(secret) + "\n";
  sodium_memzero(secret.data(), secret.size());
  return text;
}

Result<wireguard::PublicKey> make_tunnel_key(setup::HostFiles& files, const Config& config, setup::Owner owner) {
  const std::string& path = config.get("wireguard-key");
  JITWG_ASSIGN(std::string text, files.secret(path, owner, make_wireguard_key));
  const auto key = wireguard::parse_private_key(text);
  if (!key) return within(path, key.error());
  return wireguard::public_key_of(*key);
}

Result<std::vector<std::string>> read_pools(const Config& config) {
  const auto& pools = config.all("pool");
  if (pools.empty())
    return fail(Code::bad_config, "\"pool\" is not set",
                "--pool PREFIX: addresses for the tunnels of this gateway, as 10.90.0.0/16, that nothing else uses");
  for (const std::string& pool : pools)
    if (const auto parsed = Prefix::parse(pool); !parsed) return within("--pool", parsed.error());
  return pools;
}

}  // namespace

Result<void> init(const Config& config, const std::vector<Option>& options) {
  JITWG_TRY(setup::need_root("jitwg-gateway init"));
  JITWG_ASSIGN(const setup::Owner owner, setup::owner_of(kUser));
  JITWG_ASSIGN(const std::string endpoint, config.need("endpoint"));
  if (const auto parsed = Endpoint::parse(endpoint); !parsed) return within("--endpoint", parsed.error());
  JITWG_ASSIGN(const std::vector<std::string> pools, read_pools(config));
  JITWG_ASSIGN(const setup::Trusted trusted, setup::read_trust(config));
  JITWG_ASSIGN(const Fd lock, setup::lock_conf_directory(config));

  setup::HostFiles files;
  JITWG_ASSIGN(const ssh::PublicKey node_key, setup::make_node(files, config, trusted, owner));
  JITWG_ASSIGN(const wireguard::PublicKey tunnel_key, make_tunnel_key(files, config, owner));
  JITWG_TRY(files.directory(config.get("state-dir"), owner, 0700));
  JITWG_TRY(setup::make_conf(files, config, options, trusted.learned));

  const std::string lines = setup::policy_table("gateways", trusted.node) + "endpoint = \"" + endpoint +
                            "\"\nwireguard_key = \"" + tunnel_key.str() + "\"\nnode_key = \"" + node_key.str() + "\"\n" +
                            setup::policy_list("pools", pools);
  setup::print_outcome(config, files,
                       {{"node", trusted.node}, {"node_key", node_key.str()}, {"wireguard_key", tunnel_key.str()}, {"policy", lines}},
                       setup::kPolicyAdvice + lines +
                           "# Next, on this gateway: systemctl enable --now jitwg-gateway; then jitwg-gateway doctor says what "
                           "else it needs\n");
  return {};
}

}  // namespace jitwg::gateway
