#include "broker/doctor/machine.h"

#include <pwd.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "broker/base/limits.h"
#include "broker/os/fd.h"
#include "broker/os/file.h"

namespace jitwg::doctor {
namespace {

constexpr size_t kTextBytes = 4 << 20;  // 50,000 lines of passwd
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kFew = 16, kSome = 256;  // MiB, and thousands of inodes

std::string octal(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
  return text;
}

std::string name_of(uid_t uid) {
  const passwd* entry = getpwuid(uid);
  return entry == nullptr ? "uid " + std::to_string(uid) : entry->pw_name;
}

Result<Space> observe_space(const std::string& path) {
  struct statvfs seen {};
  if (::statvfs(path.c_str(), &seen) != 0) return fail_errno(path, errno);
  return Space{uint64_t{seen.f_bavail} * seen.f_frsize,
               seen.f_files == 0 ? kSome * 1000 : seen.f_favail};
}

// By the files that systemctl would read and write: no D-Bus, no other program.
UnitSeen observe_unit(const std::string& unit) {
  UnitSeen seen{exists("/run/systemd/system")};
  for (const std::string root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"})
    seen.active |=
        read_text(root + "/system.slice/" + unit + ".service/cgroup.events").find("populated 1") !=
        std::string::npos;
  for (const std::string root : {"/etc/systemd/system/", "/usr/lib/systemd/system/"})
    for (const std::string& folder : names_in(root))
      for (const char* kind : {".service", ".socket"})
        seen.enabled |= folder.ends_with(".wants") && exists(root + folder + "/" + unit + kind);
  return seen;
}

}  // namespace

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string read_text(const std::string& path) { return read_file(path, kTextBytes).value_or(""); }

std::vector<std::string> names_in(const std::string& folder) {
  return list_directory(folder).value_or(std::vector<std::string>{});
}

User find_user(const std::string& name) {
  if (const passwd* entry = getpwnam(name.c_str())) return {name, entry->pw_uid, true};
  return {name, geteuid(), false};
}

Finding check_user(const User& user) {
  return check(user.exists, "user", "the user " + user.name + " exists",
               "there is no user " + user.name + "; taken for them: " + name_of(user.uid),
               "systemd-sysusers, with jitwg's file in sysusers.d", Finding::Level::warning);
}

Result<PathSeen> observe_path(const std::string& path) {
  struct stat seen {};
  if (::stat(path.c_str(), &seen) != 0) return fail_errno(path, errno);
  return PathSeen{path, seen.st_mode, seen.st_uid};
}

std::vector<Result<PathSeen>> observe_parents(const std::string& path) {
  std::vector<Result<PathSeen>> parents;
  for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
    parents.push_back(observe_path(path.substr(0, slash == 0 ? 1 : slash)));
  return parents;
}

Finding check_path(const std::string& what, const Result<PathSeen>& seen, const User& owner,
                   mode_t most) {
  if (!seen) return failed(what, seen.error(), "make it, or name another in the configuration");
  const std::string& path = seen->path;
  const std::string now = name_of(seen->uid), wanted = name_of(owner.uid);
  if (seen->uid != owner.uid)
    return problem(what, path + " belongs to " + now + ", not to " + wanted,
                   "chown " + wanted + " " + path);
  const std::string mode = octal(seen->mode), right = octal(seen->mode & most);
  return check(mode == right, what, path + " is " + now + "'s, mode " + mode,
               path + " has mode " + mode + ", " + right + " is right",
               "chmod " + right + " " + path);
}

Finding check_parents(const std::string& what, const std::vector<Result<PathSeen>>& seen) {
  for (const Result<PathSeen>& parent : seen) {
    if (!parent) return failed(what, parent.error(), "make the directory");
    const std::string others = " can put anything in the place of what is in " + parent->path;
    if (parent->uid != 0)
      return problem(what, name_of(parent->uid) + others, "chown root " + parent->path);
    if ((parent->mode & 022) != 0)
      return problem(what, "others than root" + others, "chmod go-w " + parent->path);
  }
  return ok(what, "the directories above are root's");
}

Finding examine_path(const std::string& what, const std::string& path, const User& owner,
                     mode_t most) {
  Finding found = check_path(what, observe_path(path), owner, most);
  if (found.level != Finding::Level::ok) return found;
  const Finding parents = check_parents(what, observe_parents(path));
  return parents.level == Finding::Level::ok ? found : parents;
}

Finding examine_trusted(const std::string& what, const std::string& path) {
  return examine_path(what, path, {"root", 0, true}, 07755);
}

Finding check_space(const std::string& path, const Result<Space>& space) {
  if (!space) return failed("state_space", space.error(), "make " + path);
  const uint64_t left = std::min(space->bytes / kMiB, space->inodes / 1000);
  const std::string text = "the disk of " + path + " has " + std::to_string(space->bytes / kMiB) +
                           " MiB and " + std::to_string(space->inodes) + " inodes left";
  const std::string remedy = "free some: df -h " + path + "; df -i " + path;
  return left < kFew    ? problem("state_space", text, remedy)
         : left < kSome ? warning("state_space", text, remedy)
                        : ok("state_space", text);
}

Findings examine_state_dir(const std::string& path, const User& owner) {
  return {examine_path("state_dir", path, owner, 0700), check_space(path, observe_space(path))};
}

Finding check_unit(const std::string& unit, const UnitSeen& seen) {
  if (!seen.systemd)
    return warning("unit", "not looked for: systemd does not run this machine",
                   "let your own service manager start " + unit + " at boot and after its end");
  if (!seen.active)
    return problem("unit", unit + ".service does not run", "systemctl enable --now " + unit);
  return check(seen.enabled, "unit", unit + ".service runs and is enabled",
               unit + ".service runs, but not after a boot", "systemctl enable " + unit);
}

Finding examine_unit(const std::string& unit) { return check_unit(unit, observe_unit(unit)); }

Finding examine_socket(const std::string& path, int type, const std::string& unit) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return problem("listening", path + " is too long for a socket", "shorten runtime-dir");
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN)
    return ok("listening", unit + " listens at " + path);
  return failed("listening", fail_errno(path, errno).value(),
                "systemctl status " + unit + "; journalctl -u " + unit);
}

Finding check_clock(WallTime own, WallTime theirs, const std::string& whose) {
  const Seconds off = own - theirs, most = limits::kNodeClockSkew;
  return check(std::chrono::abs(off) <= most, "clock", "agrees with " + whose + "'s to 30 s",
               render_duration(std::chrono::abs(off)) +
                   (off.count() > 0 ? " ahead of " : " behind ") + whose + "'s: here it is " +
                   render_time(own) + ", there " + render_time(theirs),
               "timedatectl set-ntp true, on the machine whose clock is wrong");
}

}  // namespace jitwg::doctor
