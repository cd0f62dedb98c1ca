#include "broker/node/doctor.h"

#include <cerrno>
#include <cstring>

#include "broker/base/limits.h"
#include "broker/doctor/realm.h"
#include "broker/node/grant_store.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/session/grant.h"
#include "broker/transport/client.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg::node {
namespace {

using namespace doctor;
using Level = Finding::Level;

constexpr size_t kKeyFileBytes = 16 * 1024;
constexpr std::chrono::seconds kPatience(10);

Result<ssh::CaKeys> read_ca(const std::string& path) {
  JITWG_ASSIGN(const std::string text, read_file(path, kKeyFileBytes));
  return ssh::CaKeys::parse(text);
}

using Key = std::shared_ptr<const ssh::PrivateKey>;

Result<Key> read_node_key(const std::string& path) {
  JITWG_ASSIGN(const std::string pem, read_file(path, kKeyFileBytes));
  JITWG_ASSIGN(ssh::PrivateKey key, ssh::PrivateKey::parse_openssh(pem));
  return std::make_shared<const ssh::PrivateKey>(std::move(key));
}

Finding check_node_key(const Finding& file, const std::string& path, const Result<Key>& key) {
  if (file.level != Level::ok) return file;
  if (!key) return failed("node_key", key.error(), "ssh-keygen -t ed25519 -N '' -f " + path);
  return ok("node_key", file.text + ", " + (*key)->public_key().fingerprint());
}

Result<RealmSeen> ask_realm(const Config& config, const Result<Key>& key) {
  JITWG_ASSIGN(http::BrokerAddress broker, http::read_broker_address(config));
  if (key) broker.node_key = *key;
  JITWG_ASSIGN(const http::Response response,
               http::call_once(broker, {"GET", "/v1/realm", {}, "", "", {}}, kPatience));
  if (response.status != 200) return tl::unexpected(http::parse_error_response(response));
  JITWG_ASSIGN(const json::value value, parse_json(response.body, limits::kHttpBodyBytes));
  return parse_realm(value);
}

// Does policy name the key that is here?
Finding check_node(const Config& config, const std::string& unit, const Key& key,
                   const RealmSeen& seen) {
  const std::string& node = config.get("node");
  const std::string remedy = std::string("policy.toml on the signer's host: [") +
                             (unit == "jitwg-gateway" ? "gateways." : "jump_hosts.") + node +
                             "] node_key = \"" + key->public_key().str() +
                             "\"; then systemctl reload jitwg-signer";
  if (config.get("broker").starts_with("unix:"))
    return warning("node", "not compared: over a Unix socket no key is proven",
                   "see that it stands in " + remedy);
  if (!seen.node.empty() && seen.node != node)
    return problem("node", "policy has this node's key for " + seen.node + ", not " + node,
                   config.get("config") + ": node = " + seen.node + ", or a key of its own");
  return check(seen.node == node, "node", "policy knows it as " + node,
               "policy names no node with the key that is here", remedy);
}

Result<void> verify_file(const std::string& path, const ssh::CaKeys& ca,
                         const std::string& realm) {
  JITWG_ASSIGN(const StoredGrant stored, read_grant(path));
  JITWG_TRY(verify_grant(stored.document, ca, realm));
  return {};
}

Finding examine_grants(const std::string& directory, const ssh::CaKeys& ca,
                       const std::string& realm) {
  const auto names = list_directory(directory);
  const bool is_absent = !names && names.error().message.ends_with(std::strerror(ENOENT));
  if (!names && !is_absent) return failed("grants", names.error(), "");
  for (const std::string& name : names_in(directory)) {
    const std::string path = directory + "/" + name;
    if (const auto good = verify_file(path, ca, realm); !good)
      return warning("grants", path + " does not count: " + good.error().message,
                     "rm " + path + ": a live one comes again from the broker");
  }
  return ok("grants", "all that are stored verify");
}

}  // namespace

Findings examine_node(const Config& config, const std::string& unit, const User& user) {
  const std::string& file = config.get("config");
  Findings found = {check_user(user), examine_trusted("configuration", file)};
  for (const char* key : {"node", "realm"})
    if (!config.has(key))
      found.push_back(problem("configuration", std::string("\"") + key + "\" is not set",
                              file + ": " + key + " = …"));
  const std::string& key_file = config.get("node-key");
  const auto key = read_node_key(key_file);
  found.push_back(check_node_key(examine_path("node_key", key_file, user, 0600), key_file, key));
  found.push_back(examine_trusted("ca", config.get("ca")));
  const auto ca = read_ca(config.get("ca"));
  if (!ca && found.back().level == Level::ok)
    found.back() = failed("ca", ca.error(), "the signer's host has it: /etc/jitwg/ca.pub");
  const auto realm = ask_realm(config, key);
  if (!realm) {
    found.push_back(failed("broker", realm.error(), file + ": broker = …"));
    found.push_back(warning("clock", "not compared", "first the broker"));
  } else {
    found.push_back(ok("broker", config.get("broker") + " answers"));
    const RealmSeen own{config.get("realm"), ca ? ca->lines() : std::vector<std::string>(), SystemClock().now()};
    add(found, check_realm(own, *realm, {file, config.get("ca") + ": the line "}));
    if (key) found.push_back(check_node(config, unit, *key, *realm));
  }
  add(found, examine_state_dir(config.get("state-dir"), user));
  if (ca)
    found.push_back(examine_grants(config.get("state-dir") + "/grants", *ca, config.get("realm")));
  found.push_back(examine_unit(unit));
  return found;
}

}  // namespace jitwg::node
