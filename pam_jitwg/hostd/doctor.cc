#include "pam_jitwg/hostd/doctor.h"

#include <sys/socket.h>

#include <algorithm>

#include "broker/doctor/text.h"
#include "broker/node/doctor.h"
#include "broker/os/command.h"
#include "pam_jitwg/hostd/doctor_checks.h"
#include "pam_jitwg/managed.h"

namespace jitwg::hostd {
namespace {

using namespace doctor;

constexpr size_t kUsers = 32;  // each costs a run of sshd
const User kRoot{"root", 0};

std::vector<ConfigFile> read_all(const std::string& folder, const std::string& ending) {
  std::vector<ConfigFile> files;
  for (const std::string& name : names_in(folder))
    if (name.ends_with(ending))
      files.push_back({folder + "/" + name, read_text(folder + "/" + name)});
  return files;
}

std::vector<std::string> managed_logins(const pam::ManagedFiles& files) {
  std::vector<std::string> logins;
  for (const std::string& line : lines_of(read_text(files.passwd))) {
    const std::string name = line.substr(0, line.find(':'));
    const bool may_log_in = !line.ends_with("nologin") && !line.ends_with("false");
    if (may_log_in && logins.size() < kUsers && pam::is_managed(files, name))
      logins.push_back(name);
  }
  return logins;
}

Findings examine_sshd(const std::string& ca_file, const pam::ManagedFiles& managed,
                      std::string& helper) {
  // Debian's sshd_config reads the folder first.
  std::vector<ConfigFile> files = read_all("/etc/ssh/sshd_config.d", ".conf");
  files.push_back({"/etc/ssh/sshd_config", read_text("/etc/ssh/sshd_config")});
  for (const std::string& user : managed_logins(managed)) {
    const auto ran = run_command(
        {"/usr/sbin/sshd", "-T", "-C", "user=" + user + ",host=localhost,addr=127.0.0.1"});
    if (!ran) return {failed("sshd", ran.error(), "apt install openssh-server")};
    if (ran->code != 0)
      return {problem("sshd", "sshd -T: " + ran->output.substr(0, ran->output.find('\n')),
                      "mend what sshd -t says")};
    const SshdSettings settings = parse_sshd_settings(ran->output);
    if (const auto it = settings.find("authorizedprincipalscommand"); it != settings.end())
      helper = it->second.substr(0, it->second.find(' '));
    if (Findings found = check_sshd(user, settings, ca_file, files); has_problem(found))
      return found;
  }
  return {ok("sshd", "takes managed logins by a live session's certificate alone")};
}

Findings examine_pam(const std::string& helper, const PamSetup& setup) {
  Findings found;
  std::string module;
  for (const PamFile& file : pam_files()) {
    const std::string path = std::string("/etc/pam.d/") + file.name, text = read_text(path);
    if (!exists(path) && file.name != std::string_view("sshd")) continue;
    add(found, check_pam(file, text, setup));
    if (file.name == std::string_view("sshd"))
      found.push_back(check(!takes_environment_from_homes(text), "pam_environment", "a home says nothing about a login's environment",
                            path + " (pam_env.so user_readenv=1): ~/.pam_environment can say another JITWG_SESSION_ID",
                            "jitwg-hostd setup --apply", Finding::Level::warning));
    if (module.empty()) module = module_path(text);
  }
  if (!module.empty()) found.push_back(examine_path("pam_module", module, kRoot, 0755));
  if (helper.starts_with('/')) found.push_back(examine_path("principals", helper, kRoot, 0755));
  return found;
}

Finding examine_cgroup(const std::string& root) {
  if (!exists(root + "/cgroup.controllers"))
    return problem("cgroup", root + " is not cgroup v2",
                   "hostd.conf: cgroup-root = where it is mounted; or boot with "
                   "systemd.unified_cgroup_hierarchy=1");
  const auto has_kill = [&](const std::string& name) {
    return exists(root + "/" + name + "/cgroup.kill");
  };
  return check(has_kill(".") || std::ranges::any_of(names_in(root), has_kill),  // the topmost: no
               "cgroup", "version 2, with cgroup.kill", "this kernel has no cgroup.kill",
               "boot Linux 5.14 or newer");
}

Finding examine_managed(const pam::ManagedFiles& files) {
  std::string why;
  const bool root = pam::is_managed(files, "root", &why);
  if (!why.empty())
    return problem("managed", why,
                   "chown root " + files.managed + "; chmod 644 " + files.managed +
                       "; lines: uids 0,1000-59999 and except NAME");
  return check(root, "managed", "root and people need a session", "root needs no session here",
               files.managed + ": no \"except root\", and 0 among uids", Finding::Level::warning);
}

// What a person starts by it is not in their login's scope.
Finding examine_linger(const pam::ManagedFiles& managed) {
  for (const std::string& name : names_in("/var/lib/systemd/linger"))
    if (pam::is_managed(managed, name))
      return warning("linger", "processes of " + name + " may live on without a login",
                     "loginctl disable-linger " + name);
  bool denied = !exists("/run/systemd/system") || !exists("/usr/lib/polkit-1/polkitd");
  for (const char* folder : {"/etc/polkit-1/rules.d", "/usr/share/polkit-1/rules.d"})
    for (const ConfigFile& file : read_all(folder, ".rules"))
      denied |= file.text.find("set-self-linger") != std::string::npos;
  return check(denied, "linger", "nobody lingers, and nobody may by themselves",
               "polkit lets everybody keep processes without a login",
               "/etc/polkit-1/rules.d/jitwg.rules: polkit.addRule(function(action) { if (action.id "
               "== \"org.freedesktop.login1.set-self-linger\") return polkit.Result.NO; });",
               Finding::Level::warning);
}

std::vector<ConfigFile> journald_files() {
  std::vector<ConfigFile> files = {{"", read_text("/etc/systemd/journald.conf")}};
  std::vector<ConfigFile> more;
  for (const char* root : {"/usr/lib", "/usr/local/lib", "/run", "/etc"})
    for (ConfigFile& file : read_all(std::string(root) + "/systemd/journald.conf.d", ".conf"))
      more.push_back(std::move(file));
  const auto base = [](const ConfigFile& file) { return file.path.substr(file.path.rfind('/')); };
  std::ranges::stable_sort(more, {}, base);
  files.insert(files.end(), more.begin(), more.end());
  return files;
}

}  // namespace

Findings examine(const Config& config) {
  const pam::ManagedFiles managed{config.get("managed"), "/etc/passwd", 0};
  Findings found = node::examine_node(config, "jitwg-hostd", kRoot);
  found.push_back(
      examine_socket(config.get("runtime-dir") + "/hostd.sock", SOCK_SEQPACKET, "jitwg-hostd"));
  std::string helper;
  add(found, examine_sshd(config.get("ca"), managed, helper));
  const auto rules = pam::parse_managed(read_text(managed.managed));
  add(found, examine_pam(helper, {"/usr/local/lib/jitwg/pam_jitwg.so", rules ? rules->except : std::vector<std::string>()}));
  found.push_back(examine_managed(managed));
  found.push_back(examine_cgroup(config.get("cgroup-root")));
  found.push_back(check_journald(journald_files()));
  found.push_back(examine_linger(managed));
  return found;
}

}  // namespace jitwg::hostd
