#include "pam_jitwg/hostd/doctor.h"

#include <glob.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

#include "broker/doctor/text.h"
#include "broker/node/doctor.h"
#include "broker/os/command.h"
#include "pam_jitwg/hostd/doctor_rescue.h"
#include "pam_jitwg/hostd/setup_plan.h"
#include "pam_jitwg/managed.h"

namespace jitwg::hostd {
namespace {

using namespace doctor;

constexpr size_t kRuns = 256;  // of sshd, some 10 ms each
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
    if (may_log_in && pam::is_managed(files, name)) logins.push_back(name);
  }
  return logins;
}

// Files that others include first: a first value counts.
void read_included(const std::string& pattern, std::vector<ConfigFile>& files) {
  constexpr size_t kMost = 256;  // and so a circle ends
  glob_t found{};
  if (::glob((pattern.starts_with('/') ? pattern : "/etc/ssh/" + pattern).c_str(), 0, nullptr, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc && files.size() < kMost; ++i) {
      const std::string path = found.gl_pathv[i], text = read_text(path);
      if (std::ranges::find(files, path, &ConfigFile::path) != files.end()) continue;
      files.push_back({path, text});
      for (const std::string& line : lines_of(text))
        if (const auto words = words_of(line); !words.empty() && lower(words[0]) == "include")
          for (size_t n = 1; n < words.size(); ++n) read_included(words[n], files);
    }
  ::globfree(&found);
}

std::vector<ConfigFile> sshd_files() {
  std::vector<ConfigFile> files;
  read_included(kSshdMain, files);
  if (!files.empty()) std::ranges::rotate(files, files.begin() + 1);  // the main file last: Debian's begins with its Include
  return files;
}

Result<SshdSettings> ask_sshd(const std::string& user, const std::string& connection) {
  JITWG_ASSIGN(const Ran ran, run_command({"/usr/sbin/sshd", "-T", "-C", "user=" + user + "," + connection}));
  if (ran.code == 0) return parse_sshd_settings(ran.output);
  return fail(Code::bad_config, "sshd -T: " + ran.output.substr(0, ran.output.find('\n')), "mend what sshd -t says");
}

Findings examine_sshd(const std::string& ca_file, const pam::ManagedFiles& managed,
                      std::string& helper) {
  const std::vector<ConfigFile> files = sshd_files();
  const std::vector<std::string> logins = managed_logins(managed), ways = connections(files);
  Findings found;
  size_t runs = 0;
  for (const std::string& way : ways)
    for (const std::string& user : logins) {
      if (++runs > kRuns) continue;
      const auto settings = ask_sshd(user, way);
      if (!settings) return {failed("sshd", settings.error(), "apt install openssh-server")};
      if (const auto it = settings->find("authorizedprincipalscommand"); it != settings->end())
        helper = it->second.substr(0, it->second.find(' '));
      if (Findings worse = check_sshd(user, *settings, ca_file, files); has_problem(worse)) {
        if (way != ways.front()) worse.front().text += " (when " + way + ")";
        return worse;
      }
      if (found.empty()) found = check_sshd_login(user, *settings);
    }
  if (runs > kRuns)
    found.push_back(warning("sshd", "only " + std::to_string(kRuns) + " of " + std::to_string(runs) + " ways in (" + std::to_string(logins.size()) +
                                        " managed logins) were looked at",
                            "fewer Match lines by address, or nologin for accounts that do not log in"));
  else
    found.push_back(ok("sshd", "takes each of " + std::to_string(logins.size()) + " managed logins by a live session's certificate alone"));
  return found;
}

std::string line_of(const std::string& text, const std::string& name) {
  for (const std::string& line : lines_of(text))
    if (line.starts_with(name + ":")) return line;
  return "";
}

Findings examine_rescue(const PamSetup& setup) {
  if (setup.rescue.empty())
    return {warning("rescue", "there is no account that comes in when nothing of jitwg works",
                    "jitwg-hostd setup --apply --rescue NAME, and its public key into " + std::string(kRescueKeys) + "/NAME")};
  bool jumps = true;
  for (const PamFile& file : pam_files())
    for (const PamLine& line : file.lines)
      if (const std::string path = std::string("/etc/pam.d/") + file.name; exists(path)) jumps &= is_in_place(file, line, read_text(path), setup);
  Findings found;
  for (const std::string& name : setup.rescue) {
    const std::string keys = std::string(kRescueKeys) + "/" + name;
    const auto settings = ask_sshd(name, connections({}).front());
    if (!settings) return {failed("rescue", settings.error(), "apt install openssh-server")};
    Finding finding = check_rescue_account({name, line_of(read_text("/etc/passwd"), name), line_of(read_text("/etc/shadow"), name), read_text(keys),
                                            *settings, jumps, std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()).time_since_epoch().count()});
    if (Finding path = examine_path("rescue", keys, kRoot, 0755); finding.level == Finding::Level::ok && path.level != Finding::Level::ok)
      finding = std::move(path);
    found.push_back(std::move(finding));
  }
  return found;
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
               "jitwg-hostd setup --apply", Finding::Level::warning);
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
  const auto rules = pam::load_accounts(managed).rules;
  const PamSetup setup{"/usr/local/lib/jitwg/pam_jitwg.so", rules ? rules->except : std::vector<std::string>()};
  add(found, examine_pam(helper, setup));
  if (rules) add(found, examine_rescue(setup));
  found.push_back(examine_managed(managed));
  found.push_back(examine_cgroup(config.get("cgroup-root")));
  found.push_back(check_journald(journald_files()));
  found.push_back(examine_linger(managed));
  return found;
}

}  // namespace jitwg::hostd
