#include "pam_jitwg/hostd/setup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "broker/base/json.h"
#include "broker/doctor/machine.h"
#include "broker/doctor/text.h"
#include "broker/os/command.h"
#include "broker/os/file.h"
#include "broker/setup/host_files.h"
#include "pam_jitwg/hostd/setup_swap.h"
#include "pam_jitwg/hostd/snippets.h"
#include "pam_jitwg/managed.h"

namespace jitwg::hostd {
namespace {

constexpr const char* kScratch = "/run/jitwg-setup";  // root's; gone when setup ends
constexpr const char* kSshd = "/usr/sbin/sshd";

// "/usr/local/", or where else this program is installed below.
std::string install_prefix() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const bool installed = program.parent_path().filename() == "sbin";
  return installed ? (program.parent_path().parent_path() / "").string() : "/usr/local/";
}

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

// contrib's texts name /usr/local and the usual CA file.
std::string for_this_host(std::string text, const Config& config) {
  replace_all(text, "/usr/local/", install_prefix());
  replace_all(text, "/etc/jitwg/ca.pub", config.get("ca"));
  return text;
}

// PAM's file with a module that is not there would keep everybody out.
Result<void> check_installed() {
  for (const char* name : {"pam_jitwg.so", "jitwg-principals"})
    if (const std::string path = install_prefix() + "lib/jitwg/" + name; ::access(path.c_str(), F_OK) != 0)
      return fail(Code::bad_config, path + " is not installed", "cmake --install build/release --component jumphost");
  for (const char* path : {kSshd, kSshdMain, "/etc/pam.d/sshd"})
    if (::access(path, F_OK) != 0)
      return fail(Code::bad_config, std::string("sshd is not set up here: there is no ") + path,
                  "apt-get install openssh-server; ssh-keygen -A makes missing host keys");
  return {};
}

// A folder for the time of one command, so that sshd can be asked about files that are not there yet.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code ignored;
    std::filesystem::remove_all(kScratch, ignored);  // of one that was killed
    Scratch scratch;
    JITWG_TRY(make_directory(std::string(kScratch) + "/sshd_config.d", 0700));
    JITWG_TRY(make_directory("/run/sshd", 0755));  // ssh.service makes it; sshd -t wants it
    return scratch;
  }
  Scratch() = default;
  Scratch(Scratch&& other) noexcept : mine_(std::exchange(other.mine_, false)) {}
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch() {
    std::error_code ignored;
    if (mine_) std::filesystem::remove_all(kScratch, ignored);
  }

 private:
  bool mine_ = true;
};

Result<void> sshd_takes(const std::string& file, const std::string& hint) {
  JITWG_ASSIGN(const Ran ran, run_command({kSshd, "-t", "-f", file}));
  if (ran.code == 0) return {};
  std::string said = ran.output.substr(0, ran.output.find_last_not_of('\n') + 1);
  replace_all(said, kScratch, "/etc/ssh");
  std::ranges::replace(said, '\n', ' ');
  return fail(Code::bad_config, "sshd -t: " + said, hint);
}

// As sshd would find its files after the changes, without touching them.
Result<void> sshd_would_take(const std::vector<FileChange>& changes, const std::string& hint) {
  const auto text_of = [&](const std::string& path) -> Result<std::optional<std::string>> {
    const auto it = std::ranges::find(changes, path, &FileChange::path);
    return it == changes.end() ? read_seen(path) : it->after;
  };
  std::vector<std::string> names = doctor::names_in(kSshdFolder);
  names.push_back(kSshdDropIn);
  for (const std::string& name : names) {
    if (!name.ends_with(".conf")) continue;
    JITWG_ASSIGN(const auto text, text_of(std::string(kSshdFolder) + "/" + name));
    if (text) JITWG_TRY(write_file(std::string(kScratch) + "/sshd_config.d/" + name, *text, 0600));
  }
  JITWG_ASSIGN(const auto main, text_of(kSshdMain));
  std::string there;
  for (size_t at = 0; at < main->size();) {
    const size_t end = std::min(main->find('\n', at), main->size() - 1) + 1;
    std::string line = main->substr(at, end - at);
    if (const auto words = doctor::words_of(line); !words.empty() && doctor::lower(words[0]).starts_with("include")) {
      replace_all(line, "/etc/ssh/sshd_config.d", "sshd_config.d");
      replace_all(line, "sshd_config.d", std::string(kScratch) + "/sshd_config.d");
    }
    there += line;
    at = end;
  }
  const std::string file = std::string(kScratch) + "/sshd_config";
  JITWG_TRY(write_file(file, there, 0600));
  return sshd_takes(file, hint);
}

Result<std::vector<SeenFile>> see(std::vector<std::string> paths) {
  std::vector<SeenFile> seen;
  for (std::string& path : paths) {
    JITWG_ASSIGN(auto text, read_seen(path));
    seen.push_back({std::move(path), std::move(text)});
  }
  return seen;
}

// With the accounts of the command line, which may be there already.
Result<FileChange> plan_managed(const Config& config, std::vector<std::string>& rescue) {
  const std::string path = config.get("managed");
  JITWG_ASSIGN(const auto before, read_seen(path));
  if (!before) {
    rescue = config.all("rescue");
    JITWG_ASSIGN(std::string text, new_managed_file(rescue));
    return FileChange{path, before, std::move(text)};
  }
  // As the module believes it, or not: whoever could write there could name themselves.
  std::string why;
  const auto rules = pam::load_accounts({path, "/etc/passwd", 0}, &why).rules;
  if (!rules) return fail(Code::unsafe_file, why, "chown root " + path + "; chmod 644 " + path + "; lines: uids 0,1000-59999 and except NAME");
  rescue = rules->except;
  std::string after = *before + (before->empty() || before->ends_with('\n') ? "" : "\n");
  for (const std::string& name : config.all("rescue"))
    if (std::ranges::find(rescue, name) == rescue.end()) {
      JITWG_TRY(new_managed_file({name}));  // is it a login?
      rescue.push_back(name);
      after += "except " + name + "\n";
    }
  return FileChange{path, before, rescue == rules->except ? *before : after};
}

Result<std::vector<FileChange>> plan_apply(const Config& config) {
  JITWG_TRY(check_installed());
  JITWG_TRY(setup::owner_of("jitwg"));  // sshd runs the principals command as this user
  JITWG_TRY(sshd_takes(kSshdMain, "mend that first: what sshd refuses is not built upon"));
  SetupInput input;
  JITWG_ASSIGN(FileChange managed, plan_managed(config, input.pam.rescue));
  JITWG_TRY(check_rescue(input.pam.rescue));
  input.pam.module = install_prefix() + "lib/jitwg/pam_jitwg.so";
  input.sshd_snippet = for_this_host(kSshdSnippet, config);
  input.journald_snippet = kJournaldSnippet;
  input.journald = doctor::exists("/usr/lib/systemd/systemd-journald") || doctor::exists("/lib/systemd/systemd-journald");
  input.polkit = doctor::exists("/usr/lib/polkit-1/polkitd");
  input.sshd_names = doctor::names_in(kSshdFolder);
  JITWG_ASSIGN(const auto seen, see(setup_paths(input.pam.rescue)));
  JITWG_ASSIGN(auto changes, plan_setup(seen, input));
  if (managed.before != managed.after) changes.insert(changes.begin(), std::move(managed));
  JITWG_TRY(sshd_would_take(changes, "nothing was changed; OpenSSH 9.2 or newer is needed"));
  return changes;
}

Result<std::vector<FileChange>> plan_remove() {
  JITWG_ASSIGN(const auto seen, see(setup_paths(doctor::names_in(kRescueKeys))));
  JITWG_ASSIGN(auto changes, plan_removal(seen));
  const bool took = sshd_takes(kSshdMain, {}).has_value();
  if (took) JITWG_TRY(sshd_would_take(changes, "nothing was changed: something else there relies on jitwg's lines"));
  return changes;
}

Result<std::vector<FileChange>> carry_out(const std::vector<FileChange>& changes) {
  const bool took = sshd_takes(kSshdMain, {}).has_value();
  JITWG_TRY(swap_files(changes, [took] {
    return took ? sshd_takes(kSshdMain, "all files are as they were before") : Result<void>();
  }));
  // Folders that setup makes and are empty now; others refuse.
  for (const char* folder : {kRescueKeys, "/etc/systemd/journald.conf.d"}) ::rmdir(folder);
  return changes;
}

Result<std::string> diff_of(const FileChange& change) {
  const std::string before = std::string(kScratch) + "/before", after = std::string(kScratch) + "/after";
  JITWG_TRY(write_file(before, change.before.value_or(""), 0600));
  JITWG_TRY(write_file(after, change.after.value_or(""), 0600));
  JITWG_ASSIGN(const Ran ran, run_command({"diff", "-u", "--label", change.before ? change.path : "/dev/null", "--label",
                                           change.after ? change.path : "/dev/null", before, after}));
  return ran.output;
}

const char* what_happens(const FileChange& change) {
  if (!change.before) return "made";
  return change.after ? "changed" : "removed";
}

std::string next_step(const std::vector<FileChange>& changes) {
  std::string step;
  const auto any = [&](std::string_view start) {
    return std::ranges::any_of(changes, [&](const FileChange& c) { return c.path.starts_with(start); });
  };
  if (any("/etc/ssh/sshd_config")) step += "systemctl reload ssh; ";
  if (any(kJournaldFile)) step += "systemctl restart systemd-journald; ";
  return step.empty() ? "" : "Next, keeping this shell open until a login works: " + step + "jitwg-hostd doctor\n";
}

Result<void> tell(const Config& config, const std::vector<FileChange>& changes, bool done) {
  json::array listed;
  std::string diffs;
  for (const FileChange& change : changes) {
    JITWG_ASSIGN(const std::string diff, diff_of(change));
    diffs += diff;
    listed.push_back({{"path", change.path}, {"change", what_happens(change)}, {"diff", diff}});
    if (done && !config.has("json")) std::fprintf(stderr, "%s %s\n", what_happens(change), change.path.c_str());
  }
  const std::string next = done ? next_step(changes) : "";
  const json::object value = {{"files", std::move(listed)}, {"done", done}, {"next", next}};
  const std::string text = changes.empty() ? "Nothing to change.\n" : done ? next : diffs;
  std::fputs((config.has("json") ? render_json(value) + "\n" : text).c_str(), stdout);
  if (!done && !changes.empty()) return fail(Code::system, "");  // told; exit code 1, as of diff(1)
  return {};
}

// Together, so that two never meet, and none meets what an interrupted one left.
struct Workplace {
  Fd lock;
  Scratch scratch;
};
Result<Workplace> enter() {
  JITWG_ASSIGN(Fd lock, setup::lock_files_of("/etc/pam.d"));
  JITWG_ASSIGN(Scratch scratch, Scratch::make());
  std::vector<std::string> rescue = doctor::names_in(kRescueKeys);
  for (std::string& name : rescue) name = name.substr(0, name.find(".jitwg-"));
  sweep_asides(setup_paths(rescue));
  return Workplace{std::move(lock), std::move(scratch)};
}

}  // namespace

Result<std::string> new_managed_file(const std::vector<std::string>& rescue) {
  std::string text = "# Who needs a live session to log in here (jitwg-hostd(8)). Accounts for emergencies: except NAME\nuids 0,1000-59999\n";
  const std::string passwd = doctor::read_text("/etc/passwd");
  for (const std::string& name : rescue) {
    if (!pam::find_uid(passwd, name)) return fail(Code::bad_argument, "--rescue " + name + ": there is no such user in /etc/passwd");
    text += "except " + name + "\n";
  }
  return text;
}

Result<std::vector<FileChange>> apply_setup(const Config& config) {
  JITWG_ASSIGN(const Workplace workplace, enter());
  JITWG_ASSIGN(const auto changes, plan_apply(config));
  return carry_out(changes);
}

Result<void> check_setup(const Config& config) {
  JITWG_ASSIGN(const Workplace workplace, enter());
  JITWG_TRY(plan_apply(config));
  return {};
}

Result<void> setup_host(const Config& config) {
  const int given = config.has("dry-run") + config.has("apply") + config.has("remove");
  if (given != 1)
    return fail(Code::bad_argument, "setup takes one of --dry-run, --apply and --remove",
                "jitwg-hostd setup --dry-run shows what --apply would change");
  JITWG_TRY(setup::need_root("jitwg-hostd setup"));
  JITWG_ASSIGN(const Workplace workplace, enter());
  JITWG_ASSIGN(const auto changes, config.has("remove") ? plan_remove() : plan_apply(config));
  if (!config.has("dry-run")) JITWG_TRY(carry_out(changes));
  return tell(config, changes, !config.has("dry-run"));
}

}  // namespace jitwg::hostd
