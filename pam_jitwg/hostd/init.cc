#include "pam_jitwg/hostd/init.h"

#include "broker/base/address.h"
#include "broker/os/file.h"
#include "broker/setup/node.h"
#include "broker/setup/outcome.h"
#include "pam_jitwg/hostd/setup.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kMaxFile = 64 * 1024;
constexpr const char* kHostKey = "/etc/ssh/ssh_host_ed25519_key.pub";

Result<std::vector<std::string>> read_addresses(const Config& config) {
  const auto& addresses = config.all("address");
  if (addresses.empty())
    return fail(Code::bad_config, "\"address\" is not set", "--address IP: where people's ssh reaches this host through the tunnel");
  for (const std::string& address : addresses)
    if (const auto parsed = IpAddress::parse(address); !parsed) return within("--address", parsed.error());
  return addresses;
}

Result<std::string> read_host_key() {
  const auto line = read_file(kHostKey, kMaxFile);
  if (!line)
    return fail(Code::bad_config, "sshd is not set up here", "apt-get install openssh-server; ssh-keygen -A makes missing host keys");
  auto key = ssh::PublicKey::parse(line->substr(0, line->find('\n')));
  if (!key) return within(kHostKey, key.error());
  return key->str();
}

}  // namespace

Result<void> init(const Config& config, const std::vector<Option>& options) {
  JITWG_TRY(setup::need_root("jitwg-hostd init"));
  JITWG_TRY(setup::owner_of("jitwg"));
  JITWG_ASSIGN(const std::vector<std::string> addresses, read_addresses(config));
  JITWG_ASSIGN(const std::string host_key, read_host_key());
  JITWG_ASSIGN(const std::string managed, new_managed_file(config.all("rescue")));
  JITWG_ASSIGN(const setup::Trusted trusted, setup::read_trust(config));
  JITWG_TRY(check_setup(config));
  JITWG_ASSIGN(const Fd lock, setup::lock_conf_directory(config));

  setup::HostFiles files;
  JITWG_ASSIGN(const ssh::PublicKey node_key, setup::make_node(files, config, trusted, {}));
  JITWG_TRY(files.directory(config.get("state-dir"), {}, 0700));
  JITWG_TRY(setup::make_conf(files, config, options, trusted.learned));
  JITWG_TRY(files.file(config.get("managed"), managed));
  // Last: from here on sshd asks hostd.
  JITWG_ASSIGN(const std::vector<FileChange> changes, apply_setup(config));
  for (const FileChange& change : changes) files.record({change.path, true});

  const std::string lines = setup::policy_table("jump_hosts", trusted.node) + setup::policy_list("addresses", addresses) +
                            setup::policy_list("host_keys", {host_key}) + "node_key = \"" + node_key.str() + "\"\n";
  setup::print_outcome(
      config, files,
      {{"node", trusted.node}, {"node_key", node_key.str()}, {"host_keys", json::array{host_key}}, {"policy", lines}},
      setup::kPolicyAdvice + lines +
          "# Next, on this jump host: systemctl enable --now jitwg-hostd.socket jitwg-hostd.service; sshd -t && systemctl reload ssh; then jitwg-hostd doctor\n"
          "# Nobody whom " + config.get("managed") + " covers, root too, logs in here any more without a live session. Keep this shell\n"
          "# open until one works. An account for emergencies: jitwg-hostd setup --apply --rescue NAME\n");
  return {};
}

}  // namespace jitwg::hostd
