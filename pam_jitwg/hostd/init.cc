#include "pam_jitwg/hostd/init.h"

#include <pwd.h>
#include <unistd.h>

#include <filesystem>

#include "broker/base/address.h"
#include "broker/base/encoding.h"
#include "broker/os/file.h"
#include "broker/setup/node.h"
#include "broker/setup/outcome.h"
#include "pam_jitwg/hostd/snippets.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kMaxFile = 64 * 1024;
constexpr const char* kHostKey = "/etc/ssh/ssh_host_ed25519_key.pub";
constexpr const char* kSshdPath = "/etc/ssh/sshd_config.d/jitwg.conf";
constexpr const char* kPamPath = "/etc/pam.d/sshd";
constexpr const char* kPamBefore = "/etc/jitwg/pam-sshd.before";
// Debian 12's own file, which nobody has changed.
constexpr const char* kPamOfDebian = "65822d20f36db29cb50275526854b584df7a04a9efe975f3801473f81b44f521";

// "/usr/local/", or where else this program is installed below.
std::string install_prefix() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const bool installed = program.parent_path().filename() == "sbin";
  return installed ? (program.parent_path().parent_path() / "").string() : "/usr/local/";
}

// The snippets as they are written name /usr/local.
std::string at_prefix(std::string text) {
  const std::string prefix = install_prefix();
  constexpr std::string_view kWritten = "/usr/local/";
  for (size_t at = 0; (at = text.find(kWritten, at)) != text.npos; at += prefix.size())
    text.replace(at, kWritten.size(), prefix);
  return text;
}

// PAM's file with a module that is not there would keep everybody out.
Result<void> check_installed() {
  for (const char* name : {"pam_jitwg.so", "jitwg-principals"})
    if (const std::string path = install_prefix() + "lib/jitwg/" + name; ::access(path.c_str(), F_OK) != 0)
      return fail(Code::bad_config, path + " is not installed", "cmake --install build/release --component jumphost");
  return {};
}

// The lines of PAM's file that are jitwg's.
std::vector<std::string> our_lines(const std::string& pam) {
  std::vector<std::string> lines;
  for (std::string_view rest = pam; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    if (!line.starts_with('#') && line.find("pam_jitwg.so") != line.npos) lines.emplace_back(line);
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return lines;
}

// What is left to do by hand, as comments; empty when all is in place.
Result<std::string> install_sshd(setup::HostFiles& files) {
  const std::string snippet = at_prefix(kSshdSnippet);
  JITWG_TRY(files.directory("/etc/ssh/sshd_config.d", {}, 0755));
  JITWG_TRY(files.file(kSshdPath, snippet));
  JITWG_ASSIGN(const std::string there, read_file(kSshdPath, kMaxFile));
  if (there == snippet) return std::string();
  return "# " + std::string(kSshdPath) + " was changed and stays as it is: compare it with share/doc/jitwg/sshd/jitwg.conf\n";
}

Result<std::string> install_pam(setup::HostFiles& files) {
  const std::string snippet = at_prefix(kPamSnippet);
  JITWG_ASSIGN(const std::string there, read_file(kPamPath, kMaxFile));
  if (sha256_hex(there) == kPamOfDebian) {
    JITWG_TRY(files.file(kPamBefore, there));
    JITWG_TRY(files.replace(kPamPath, snippet));
    return std::string();
  }
  JITWG_TRY(files.file(kPamPath, {}));  // kept
  if (there == snippet || our_lines(there) == our_lines(snippet)) return std::string();
  std::string advice = "# " + std::string(kPamPath) + " is not Debian's own any more and stays as it is. Put into it by hand: the first of these\n"
                       "# lines before all other account lines, the second right after pam_loginuid.so\n";
  for (const std::string& line : our_lines(snippet)) advice += "#   " + line + "\n";
  return advice;
}

Result<std::string> managed_text(const Config& config) {
  std::string text = "# Who needs a live session to log in here (jitwg-hostd(8)). Accounts for emergencies: except NAME\nuids 0,1000-59999\n";
  for (const std::string& name : config.all("rescue")) {
    if (::getpwnam(name.c_str()) == nullptr) return fail(Code::bad_argument, "--rescue " + name + ": there is no such user");
    text += "except " + name + "\n";
  }
  return text;
}

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
  if (!line || ::access(kPamPath, F_OK) != 0)
    return fail(Code::bad_config, "sshd is not set up here", "apt-get install openssh-server; ssh-keygen -A makes missing host keys");
  auto key = ssh::PublicKey::parse(line->substr(0, line->find('\n')));
  if (!key) return within(kHostKey, key.error());
  return key->str();
}

}  // namespace

Result<void> init(const Config& config, const std::vector<Option>& options) {
  JITWG_TRY(setup::need_root("jitwg-hostd init"));
  JITWG_TRY(setup::owner_of("jitwg"));  // sshd runs the principals command as this user
  JITWG_TRY(check_installed());
  JITWG_ASSIGN(const std::vector<std::string> addresses, read_addresses(config));
  JITWG_ASSIGN(const std::string host_key, read_host_key());
  JITWG_ASSIGN(const std::string managed, managed_text(config));
  JITWG_ASSIGN(const setup::Trusted trusted, setup::read_trust(config));
  JITWG_ASSIGN(const Fd lock, setup::lock_conf_directory(config));

  setup::HostFiles files;
  JITWG_ASSIGN(const ssh::PublicKey node_key, setup::make_node(files, config, trusted, {}));
  JITWG_TRY(files.directory(config.get("state-dir"), {}, 0700));
  JITWG_TRY(setup::make_conf(files, config, options, trusted.learned));
  JITWG_TRY(files.file(config.get("managed"), managed));
  // Last: from here on sshd asks hostd.
  JITWG_ASSIGN(std::string by_hand, install_sshd(files));
  JITWG_ASSIGN(const std::string pam_by_hand, install_pam(files));
  by_hand += pam_by_hand;

  const std::string lines = setup::policy_table("jump_hosts", trusted.node) + setup::policy_list("addresses", addresses) +
                            setup::policy_list("host_keys", {host_key}) + "node_key = \"" + node_key.str() + "\"\n";
  setup::print_outcome(
      config, files,
      {{"node", trusted.node}, {"node_key", node_key.str()}, {"host_keys", json::array{host_key}}, {"policy", lines}, {"by_hand", by_hand}},
      setup::kPolicyAdvice + lines + by_hand +
          "# Next, on this jump host: systemctl enable --now jitwg-hostd.socket jitwg-hostd.service; sshd -t && systemctl reload ssh; then jitwg-hostd doctor\n"
          "# Nobody whom " + config.get("managed") + " covers, root too, logs in here any more without a live session. Keep this shell\n"
          "# open until one works. An account for emergencies: a line `except NAME` in that file.\n");
  return {};
}

}  // namespace jitwg::hostd
