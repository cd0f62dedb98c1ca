#include "broker/setup/node.h"

#include <sodium.h>
#include <unistd.h>

#include "broker/base/name.h"
#include "broker/os/file.h"
#include "broker/setup/input.h"
#include "broker/setup/ssh_key.h"
#include "broker/setup/trust_block.h"
#include "broker/transport/broker_address.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg::setup {
namespace {

constexpr size_t kKeyFileBytes = 16 * 1024;

const char* const kNoTrust = "give the block that `jitwgd init` printed: --trust FILE";

// The CA that this host knows already.
Result<ssh::CaKeys> read_ca(const std::string& path) {
  JITWG_ASSIGN(const std::string text, read_trusted_file(path, kKeyFileBytes));
  return ssh::CaKeys::parse(text);
}

}  // namespace

const char* const kPolicyAdvice =
    "# For the policy on the signer's host, and there: jitwg policy check /etc/jitwg/policy.toml && systemctl reload jitwg-signer\n";

Result<Trusted> read_trust(const Config& config) {
  JITWG_ASSIGN(const std::string node, config.need("node"));
  if (!is_name(node)) return fail(Code::bad_argument, "--node \"" + node + "\" is no plain name", "letters, digits and ._@-");
  const std::string& ca_path = config.get("ca");
  if (!config.has("trust")) {
    if (!config.has("realm")) return fail(Code::bad_config, "nothing says whom to trust", kNoTrust);
    JITWG_TRY(http::read_broker_address(config));
    if (const auto ca = read_ca(ca_path); !ca) return fail(ca.error().code, ca_path + ": " + ca.error().message, kNoTrust);
    return Trusted{node, {}, {}};
  }
  JITWG_ASSIGN(const std::string text, read_input(config.get("trust"), kKeyFileBytes));
  JITWG_ASSIGN(const TrustBlock trust, parse_trust(text));
  if (::access(ca_path.c_str(), F_OK) == 0)
    if (const auto ca = read_ca(ca_path); !ca || *ca != trust.ca)
      return fail(Code::bad_config, ca_path + " is not the CA of the trust block",
                  "one CA a host: while its key is being changed the file has both keys, a line each");
  return Trusted{node, trust.ca, {{"broker", {trust.broker}}, {"broker-pin", trust.pins}, {"realm", {trust.realm}}}};
}

Result<ssh::PublicKey> make_node(HostFiles& files, const Config& config, const Trusted& trusted, Owner owner) {
  const std::string& path = config.get("node-key");
  JITWG_ASSIGN(std::string pem, files.secret(path, owner, [&] { return make_ssh_key("jitwg " + trusted.node); }));
  const auto key = ssh::PrivateKey::parse_openssh(pem);
  sodium_memzero(pem.data(), pem.size());
  if (!key) return within(path, key.error());
  std::string ca;
  if (trusted.ca)
    for (const std::string& line : trusted.ca->lines()) ca += line + " jitwg-ca\n";
  JITWG_TRY(files.file(config.get("ca"), ca));
  return key->public_key();
}

std::string policy_table(const std::string& table, const std::string& name) {
  const bool bare = name.find_first_of(".@") == std::string::npos;
  return "[" + table + "." + (bare ? name : "\"" + name + "\"") + "]\n";
}

std::string policy_list(const std::string& key, const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "\"" : ", \"") + value + "\"";
  return key + " = [" + text + "]\n";
}

}  // namespace jitwg::setup
