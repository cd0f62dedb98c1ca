#include "broker/setup/host_files.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include "broker/os/file.h"

namespace jitwg::setup {
namespace {

constexpr size_t kMaxSecret = 16 * 1024;

// Nothing where there is nothing. Does not follow a symlink: keys have none.
Result<std::optional<struct stat>> look(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) return st;
  if (errno == ENOENT) return std::nullopt;
  return fail_errno(path, errno);
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

// Beside it first, with owner and mode; `settle` gives it its name.
template <typename Settle>
Result<void> place(const std::string& path, const std::string& bytes, Owner owner, mode_t mode, Settle settle) {
  const std::string aside = path + ".init";
  JITWG_TRY(write_file(aside, bytes, 0600));
  const bool settled = ::chown(aside.c_str(), owner.uid, owner.gid) == 0 && ::chmod(aside.c_str(), mode) == 0 &&
                       settle(aside.c_str(), path.c_str()) == 0;
  const int number = errno;
  ::unlink(aside.c_str());
  if (!settled) return fail_errno(path, number);
  const Fd directory(::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) return fail_errno(path, errno);
  return {};
}

}  // namespace

Result<Owner> owner_of(const std::string& user) {
  const passwd* entry = ::getpwnam(user.c_str());
  if (entry == nullptr)
    return fail(Code::bad_config, "there is no user " + user,
                "make jitwg's users first: systemd-sysusers jitwg.conf (it is installed in lib/sysusers.d)");
  return Owner{entry->pw_uid, entry->pw_gid};
}

Result<void> need_root(const std::string& command) {
  if (::geteuid() != 0) return fail(Code::not_permitted, "only root may make files of jitwg's users", "sudo " + command);
  ::umask(022);
  return {};
}

Result<Fd> lock_files_of(const std::string& directory) {
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(directory, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::wrong_state, "another command is changing " + directory, "wait for it, then try again");
  return fd;
}

Result<void> replace_file(const std::string& path, const std::string& bytes) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  struct stat st {};
  if (!real || ::stat(real.get(), &st) != 0) return fail_errno(path, errno);
  return place(real.get(), bytes, {st.st_uid, st.st_gid}, st.st_mode & 07777, ::rename);
}

Result<void> HostFiles::directory(const std::string& path, Owner owner, mode_t mode) {
  JITWG_ASSIGN(const auto before, look(path));
  if (before && !S_ISDIR(before->st_mode)) return fail(Code::unsafe_file, path + " is no directory");
  const bool right = before && before->st_uid == owner.uid && before->st_gid == owner.gid &&
                     (before->st_mode & 07777) == mode;
  if (!right) {
    JITWG_TRY(make_directory(path, mode));
    if (::lchown(path.c_str(), owner.uid, owner.gid) != 0 || ::chmod(path.c_str(), mode) != 0)
      return fail_errno(path, errno);
  }
  steps_.push_back({path, !right});
  return {};
}

Result<void> HostFiles::file(const std::string& path, const std::string& bytes, Owner owner, mode_t mode) {
  JITWG_ASSIGN(const auto before, look(path));
  if (!before) JITWG_TRY(place(path, bytes, owner, mode, ::link));
  steps_.push_back({path, !before});
  return {};
}

Result<std::string> HostFiles::secret(const std::string& path, Owner owner,
                                      const std::function<Result<std::string>()>& make) {
  JITWG_ASSIGN(const auto before, look(path));
  if (!before) {
    JITWG_ASSIGN(std::string bytes, make());
    JITWG_TRY(file(path, bytes, owner, 0600));
    return bytes;
  }
  if (!S_ISREG(before->st_mode)) return fail(Code::unsafe_file, path + " is not a regular file");
  if (before->st_uid != owner.uid || (before->st_mode & 077) != 0)
    return fail(Code::unsafe_file, path + " is there, but not uid " + std::to_string(owner.uid) + "'s alone",
                "if it is the right key and nobody else read it: chown " + std::to_string(owner.uid) + ":" +
                    std::to_string(owner.gid) + " " + path + " && chmod 600 " + path);
  steps_.push_back({path, false});
  return read_file(path, kMaxSecret);
}

}  // namespace jitwg::setup
