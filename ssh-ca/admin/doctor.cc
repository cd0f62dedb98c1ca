#include <sodium.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/doctor/machine.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "ssh-ca/admin/commands.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/signer/signer.h"
#include "ssh-ca/signer/synced_lists.h"

namespace jitwg::signer {
namespace {

using namespace jitwg::doctor;

constexpr std::string_view kCredential = "credential:";

Result<ssh::PublicKey> load_ca(const std::string& path) {
  auto pem = read_file(path, 16 * 1024);
  if (!pem) return tl::unexpected<Error>(pem.error());
  if (pem->starts_with("ssh-")) return ssh::PublicKey::parse(std::string_view(*pem).substr(0, pem->find('\n')));
  const auto key = ssh::PrivateKey::parse_openssh(*pem);
  sodium_memzero(pem->data(), pem->size());
  if (!key) return within(path, key.error());
  return key->public_key();
}

Result<Realm> load_realm(const Config& config, const ssh::PublicKey& ca) {
  Sources sources;
  JITWG_ASSIGN(sources.policy_toml, read_file(config.get("policy"), limits::kPolicyBytes));
  JITWG_ASSIGN(sources.allowed_signers,
               read_file(config.get("allowed-signers"), limits::kPolicyBytes));
  return make_realm(sources, ca, config.get("policy"));
}

Finding examine_ca_key(const std::string& place, const User& user) {
  if (place.starts_with(kCredential))
    return warning("ca_key", place + ", which only the running unit can read", "systemctl status jitwg-signer names its fingerprint");
  const auto text = read_file(place, 16 * 1024);
  if (text && text->starts_with("ssh-")) return examine_trusted("ca_key", place);  // an agent has the other half
  return examine_path("ca_key", place, user, 0600);
}

Finding examine_backend(const Config& config) {
  const std::string& program = config.get("ssh-keygen");
  if (config.get("backend") == "ssh-keygen" && ::access(program.c_str(), X_OK) != 0)
    return problem("backend", program + " cannot be run", "apt-get install openssh-client");
  return ok("backend", config.get("backend"));
}

Finding examine_rules(const Config& config) {
  if (config.get("ca-key").starts_with(kCredential))
    return warning("rules", "not examined without the CA key", "jitwg policy check " + config.get("policy"));
  const auto ca = load_ca(config.get("ca-key"));
  if (!ca) return failed("rules", ca.error(), "jitwg-signer init");
  const auto realm = load_realm(config, *ca);
  if (!realm) return failed("rules", realm.error(), "jitwg policy check " + config.get("policy"));
  Policy policy = realm->policy;
  take_lists(policy, read_lists(policy, config.get("policy")), SystemClock().now());
  std::string problems;
  for (const SyncedList& list : policy.lists)
    if (!list.problem.empty()) problems += (problems.empty() ? "" : "; ") + list.problem;
  if (!problems.empty()) return warning("rules", problems, "let the sync write it, whole, root-owned, mode 0644");
  return ok("rules",
            "policy and people of realm " + realm->policy.realm + " load; CA " + ca->fingerprint());
}

Finding examine_ledger(const std::string& path, const User& user, WallTime now) {
  Finding found = check_path("ledger", observe_path(path), user, 0600);
  if (found.level != Finding::Level::ok) return found;
  const auto memory = read_ledger(path);
  if (!memory) return failed("ledger", memory.error(), "jitwg-signer init, in a new realm only");
  if (memory->newest() > now)
    return problem("ledger",
                   "its newest record is of " + render_time(memory->newest()) +
                       ", but here it is " + render_time(now),
                   "timedatectl set-ntp true: 60 s behind its ledger the signer signs nothing");
  found.text += ", " + std::to_string(memory->issued_count()) + " sessions";
  if (const auto& locks = memory->locks(); !locks.empty()) {
    std::string list;
    for (const auto& [what, lock] : locks) list += (list.empty() ? "" : "; ") + what.str() + " by " + lock.by + ": " + lock.reason;
    return warning("ledger", found.text + "; locked: " + escape_for_terminal(list), "jitwg unlock lifts a lock");
  }
  return found;
}

}  // namespace

Result<void> doctor(const Config& config) {
  const User user = find_user("jitwg-ca");
  const std::string state = config.get("state-dir");
  Findings found = {check_user(user),
                    examine_trusted("configuration", config.get("config")),
                    examine_ca_key(config.get("ca-key"), user),
                    examine_backend(config),
                    examine_trusted("policy", config.get("policy")),
                    examine_trusted("allowed_signers", config.get("allowed-signers")),
                    examine_rules(config)};
  add(found, examine_state_dir(state, user));
  found.push_back(examine_ledger(state + "/ledger", user, SystemClock().now()));
  found.push_back(
      examine_socket(config.get("runtime-dir") + "/signer.sock", SOCK_STREAM, "jitwg-signer"));
  found.push_back(examine_unit("jitwg-signer"));
  return tell(found, config.has("json"));
}

}  // namespace jitwg::signer
