#include <unistd.h>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/os/file.h"
#include "broker/setup/conf.h"
#include "broker/setup/outcome.h"
#include "broker/setup/ssh_key.h"
#include "ssh-ca/admin/commands.h"
#include "ssh-ca/admin/starter_policy.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/signer/signer.h"

namespace jitwg::signer {
namespace {

constexpr const char* kUser = "jitwg-ca";
constexpr const char* kPeopleHeader =
    "# One line a key, made by: jitwg-signer person add NAME KEYFILE. Keys are ended (person retire NAME), never deleted.\n";

// A policy that loads and opens nothing, for a realm with a name of its own.
std::string starter_policy() {
  constexpr std::string_view kMark = "@realm@";
  std::string text = kStarterPolicy;
  return text.replace(text.find(kMark), kMark.size(), "realm-" + hex_encode(random_bytes(4)));
}

bool is_there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// The ledger comes before the key, so a key without a ledger is never what an init that was cut off left behind.
Result<void> make_ledger(setup::HostFiles& files, const Config& config, setup::Owner owner) {
  const std::string path = config.get("state-dir") + "/ledger", key = config.get("ca-key");
  JITWG_TRY(files.directory(config.get("state-dir"), owner, 0700));
  if (is_there(key) && !is_there(path))
    return fail(Code::wrong_state, key + " is there, but no " + path + ": without it nobody knows what that key signed",
                "restore the ledger from a copy; only for a key that never signed: install -o jitwg-ca -g jitwg-ca -m 600 "
                "/dev/null " + path);
  JITWG_TRY(files.file(path, "", owner, 0600));
  if (is_there(key)) return {};
  JITWG_ASSIGN(const std::string ledger, read_file(path, limits::kSignerFrameBytes));
  if (ledger.empty()) return {};
  return fail(Code::wrong_state, path + " has records, but " + key + " is missing",
              "restore the key from a copy; for a new realm, move the ledger away");
}

Result<ssh::PublicKey> make_ca(setup::HostFiles& files, const std::string& path, setup::Owner owner) {
  JITWG_ASSIGN(std::string pem, files.secret(path, owner, [] { return setup::make_ssh_key("jitwg-ca"); }));
  auto key = ssh::PrivateKey::parse_openssh(pem);
  sodium_memzero(pem.data(), pem.size());
  if (!key) return within(path, key.error());
  const std::string line = key->public_key().str();
  JITWG_TRY(files.file(path + ".pub", line + " jitwg-ca\n"));
  JITWG_ASSIGN(const std::string there, read_trusted_file(path + ".pub", 4096));
  if (!there.starts_with(line))
    return fail(Code::wrong_state, path + ".pub is not the public key of " + path, "move it away, init writes it anew");
  return key->public_key();
}

}  // namespace

Result<void> init(const Config& config, const std::vector<Option>& options) {
  JITWG_TRY(setup::need_root("jitwg-signer init"));
  JITWG_ASSIGN(const setup::Owner owner, setup::owner_of(kUser));
  const std::string policy = config.get("policy"), people = config.get("allowed-signers");
  JITWG_ASSIGN(const Fd lock, setup::lock_conf_directory(config));

  setup::HostFiles files;
  JITWG_TRY(make_ledger(files, config, owner));
  JITWG_ASSIGN(const ssh::PublicKey ca, make_ca(files, config.get("ca-key"), owner));
  JITWG_TRY(files.file(policy, starter_policy()));
  JITWG_TRY(files.file(people, kPeopleHeader));
  JITWG_TRY(setup::make_conf(files, config, options, {}));

  // What the signer does when it starts.
  Sources sources;
  JITWG_ASSIGN(sources.policy_toml, read_trusted_file(policy, limits::kPolicyBytes));
  JITWG_ASSIGN(sources.allowed_signers, read_trusted_file(people, limits::kPolicyBytes));
  JITWG_ASSIGN(const Realm realm, make_realm(sources, ca, policy));
  setup::print_outcome(
      config, files,
      {{"realm", realm.policy.realm}, {"ca_public_key", ca.str()}, {"fingerprint", ca.fingerprint()}},
      "realm " + realm.policy.realm + ", CA key " + ca.fingerprint() + "\n\nNext:\n" +
          "  jitwg-signer person add NAME KEYFILE         for each person, with the .pub file of their ssh-ed25519 key\n"
          "  systemctl enable --now jitwg-signer.socket jitwg-signer.service\n"
          "  jitwgd init --name HOST                      on this host, by the name that others reach it by; prints what they need\n"
          "Keep copies of " + config.get("ca-key") + " and " + config.get("state-dir") + "/ledger where nobody else reads them.\n");
  return {};
}

}  // namespace jitwg::signer
