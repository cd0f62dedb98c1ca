#include "pam_jitwg/hostd/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "broker/base/number.h"
#include "broker/os/fd.h"
#include "broker/os/file.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kProcsBytes = 16 << 20;  // more pids than a machine has
constexpr int kDepth = 8;         // of cgroups that a root login may have made below its leaf
constexpr int kKillRounds = 100;  // of the loop on kernels without cgroup.kill

Result<void> write_value(const std::string& path, const std::string& value) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() ||
      ::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return fail_errno(path, errno);
  return {};
}

std::vector<std::string> children(const std::string& directory) {
  std::vector<std::string> found;
  const auto names = list_directory(directory);
  if (!names) return found;
  for (const std::string& name : *names) {
    struct stat st {};
    const std::string path = directory + "/" + name;
    if (::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) found.push_back(path);
  }
  return found;
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<void> collect(const std::string& directory, int depth, std::vector<pid_t>& pids) {
  if (!exists(directory)) return {};
  const auto text = read_file(directory + "/cgroup.procs", kProcsBytes);
  if (!text) {
    if (!exists(directory)) return {};  // removed between the two looks: nobody is in it
    return tl::unexpected<Error>(text.error());
  }
  for (size_t at = 0; at < text->size();) {
    const size_t end = text->find('\n', at);
    const auto pid = parse_number<pid_t>(std::string_view(*text).substr(at, end - at));
    if (!pid) return fail(Code::corrupt, directory + "/cgroup.procs: not a list of pids");
    pids.push_back(*pid);
    at = end == std::string::npos ? text->size() : end + 1;
  }
  if (depth == 0) return {};
  for (const std::string& child : children(directory)) JITWG_TRY(collect(child, depth - 1, pids));
  return {};
}

Result<std::vector<pid_t>> processes_below(const std::string& directory) {
  std::vector<pid_t> pids;
  JITWG_TRY(collect(directory, kDepth, pids));
  return pids;
}

Result<void> kill_below(const std::string& directory) {
  if (!exists(directory)) return {};
  if (exists(directory + "/cgroup.kill")) return write_value(directory + "/cgroup.kill", "1");
  // Before Linux 5.14: until a look finds nobody, because what forks is born into the same cgroup.
  for (int round = 0; round < kKillRounds; ++round) {
    JITWG_ASSIGN(const std::vector<pid_t> pids, processes_below(directory));
    if (pids.empty()) return {};
    for (const pid_t pid : pids)
      if (pid > 0) ::kill(pid, SIGKILL);
  }
  return {};
}

void remove_below(const std::string& directory, int depth) {
  if (depth > 0)
    for (const std::string& child : children(directory)) remove_below(child, depth - 1);
  ::rmdir(directory.c_str());  // refused while somebody is in it, which is what we want
}

bool is_manager_path(const std::string& path) {
  const size_t at = path.rfind('@');
  const size_t end = path.rfind(".service");
  if (at == path.npos || end == path.npos || end <= at) return false;
  const auto uid = parse_number<uid_t>(std::string_view(path).substr(at + 1, end - at - 1));
  return uid && path == manager_path(*uid);
}

Result<void> check_theirs(const std::string& path) {
  if (!path.empty() && parse_scope_path("0::" + path) == path) return {};
  if (is_manager_path(path)) return {};
  return fail(Code::bug, "\"" + path + "\" is neither a login scope nor a user's manager");
}

}  // namespace

std::string manager_path(uid_t uid) {
  const std::string number = std::to_string(uid);
  return "/user.slice/user-" + number + ".slice/user@" + number + ".service";
}

std::string parse_scope_path(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with("0::/")) continue;
    const std::string_view path = line.substr(3);
    const std::string_view last = path.substr(path.rfind('/') + 1);
    const bool scope = last.starts_with("session-") && last.ends_with(".scope");
    return scope && path.find("/..") == path.npos ? std::string(path) : std::string();
  }
  return {};
}

Result<void> Cgroups::prepare() {
  if (!exists(root_ + "/cgroup.procs"))
    return fail(Code::bad_config, root_ + " is no cgroup v2 directory",
                "set cgroup-root to where cgroup2 is mounted");
  return make_directory(base(), 0755);
}

Result<void> Cgroups::attach(const SessionId& session, pid_t pid) {
  const std::string path = leaf(session, pid);
  const auto is_there = [&]() -> Result<bool> {
    std::vector<pid_t> there;
    JITWG_TRY(collect(path, 0, there));
    return std::find(there.begin(), there.end(), pid) != there.end();
  };
  JITWG_ASSIGN(const bool already, is_there());
  if (already) return {};
  JITWG_TRY(make_directory(path, 0755));
  JITWG_TRY(write_value(path + "/cgroup.procs", std::to_string(pid)));
  JITWG_ASSIGN(const bool moved, is_there());
  if (!moved)
    return fail(Code::system, path + " does not hold process " + std::to_string(pid) +
                                  " after it was moved there");
  return {};
}

Result<std::vector<SessionId>> Cgroups::sessions() const {
  JITWG_ASSIGN(const std::vector<std::string> names, list_directory(base()));
  std::vector<SessionId> found;
  for (const std::string& name : names)
    if (const auto session = SessionId::parse(name)) found.push_back(*session);
  return found;
}

Result<std::vector<std::pair<SessionId, pid_t>>> Cgroups::leaves() const {
  JITWG_ASSIGN(const std::vector<SessionId> held, sessions());
  std::vector<std::pair<SessionId, pid_t>> found;
  for (const SessionId& session : held)
    for (const std::string& path : children(directory(session)))
      if (const auto pid = parse_number<pid_t>(path.substr(path.rfind('/') + 1)); pid && *pid > 0)
        found.emplace_back(session, *pid);
  return found;
}

Result<std::vector<pid_t>> Cgroups::processes(const SessionId& session) const {
  return processes_below(directory(session));
}

Result<std::vector<pid_t>> Cgroups::processes(const SessionId& session, pid_t login) const {
  return processes_below(leaf(session, login));
}

Result<std::vector<pid_t>> Cgroups::processes_of(const std::string& theirs) const {
  JITWG_TRY(check_theirs(theirs));
  return processes_below(root_ + theirs);
}

Result<std::vector<pid_t>> Cgroups::managers_own(uid_t uid) const {
  return processes_below(root_ + manager_path(uid) + "/init.scope");
}

Result<void> Cgroups::kill(const SessionId& session) const {
  return kill_below(directory(session));
}

Result<void> Cgroups::kill_theirs(const std::string& theirs) const {
  JITWG_TRY(check_theirs(theirs));
  return kill_below(root_ + theirs);
}

void Cgroups::remove(const SessionId& session, pid_t login) const {
  remove_below(leaf(session, login), kDepth);
  ::rmdir(directory(session).c_str());
}

void Cgroups::remove(const SessionId& session) const { remove_below(directory(session), kDepth); }

std::optional<SessionId> Cgroups::session_of(pid_t pid) const {
  constexpr std::string_view kBase = "/jitwg/";
  const auto text = read_file("/proc/" + std::to_string(pid) + "/cgroup", 64 * 1024);
  if (!text) return std::nullopt;
  // The path is a hint only: whoever was delegated a cgroup names those below it as they like.
  for (size_t at = text->find(kBase); at != text->npos; at = text->find(kBase, at + 1)) {
    const auto session = SessionId::parse(text->substr(at + kBase.size(), 36));
    const auto there = session ? processes(*session) : std::vector<pid_t>();
    if (there && std::find(there->begin(), there->end(), pid) != there->end()) return *session;
  }
  return std::nullopt;
}

std::string Cgroups::scope_of(pid_t pid) const {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/cgroup", 64 * 1024);
  return text ? parse_scope_path(*text) : std::string();
}

std::string Cgroups::scope_of(const Process& process) const {
  const auto pidfd = open_pidfd(process);
  if (!pidfd) return "";
  std::string scope = scope_of(process.pid);
  return has_exited(*pidfd) ? "" : scope;
}

}  // namespace jitwg::hostd
