#include "broker/os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace jitwg {
namespace {

constexpr int kNoWaiting = O_NONBLOCK;  // a FIFO in place of a file is an error, not a wait for ever

Result<Fd> open_to_read(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | flags));
  if (!fd.valid()) return fail_errno(path, errno);
  return fd;
}

Result<struct stat> stat_of(const Fd& fd, const std::string& path) {
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail_errno(path, errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::unsafe_file, path + " is not a regular file");
  return st;
}

Result<void> sync_directory(const std::string& path) {
  Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid() || fsync(dir.get()) != 0) return fail_errno(path, errno);
  return {};
}

}  // namespace

Result<std::string> read_all(const Fd& fd, const std::string& path, size_t max_bytes) {
  std::string bytes;
  char buffer[65536];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(path, errno);
    if (n == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(n));
    if (bytes.size() > max_bytes)
      return fail(Code::too_large, path + " is over " + std::to_string(max_bytes) + " bytes");
  }
}

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  JITWG_ASSIGN(const Fd fd, open_to_read(path, 0));
  return read_all(fd, path, max_bytes);
}

Result<std::string> read_secret_file(const std::string& path, size_t max_bytes, mode_t forbidden) {
  JITWG_ASSIGN(const Fd fd, open_to_read(path, O_NOFOLLOW | kNoWaiting));
  JITWG_ASSIGN(const struct stat st, stat_of(fd, path));
  if (st.st_uid != geteuid() && st.st_uid != 0)
    return fail(Code::unsafe_file, path + " belongs to uid " + std::to_string(st.st_uid),
                "chown it to the user that runs this program");
  if ((st.st_mode & forbidden) != 0)
    return fail(Code::unsafe_file, path + " may be read or written by others", "chmod 600 " + path);
  return read_all(fd, path, max_bytes);
}

Result<std::string> read_trusted_file(const std::string& path, size_t max_bytes) {
  JITWG_ASSIGN(const Fd fd, open_to_read(path, kNoWaiting));
  JITWG_ASSIGN(const struct stat st, stat_of(fd, path));
  if ((st.st_mode & 022) != 0)
    return fail(Code::unsafe_file, path + " may be written by group or others", "chmod go-w " + path);
  return read_all(fd, path, max_bytes);
}

Result<void> write_file(const std::string& path, const std::string& bytes, mode_t mode) {
  const std::string aside = path + ".new";
  ::unlink(aside.c_str());
  Fd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid()) return fail_errno(aside, errno);
  const auto give_up = [&](const std::string& what, int number) {
    ::unlink(aside.c_str());
    return fail_errno(what, number);
  };
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return give_up(aside, errno);
    done += static_cast<size_t>(n);
  }
  if (fchmod(fd.get(), mode) != 0 || fsync(fd.get()) != 0) return give_up(aside, errno);
  if (::rename(aside.c_str(), path.c_str()) != 0) return give_up(path, errno);
  const size_t slash = path.rfind('/');
  return sync_directory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    if (const std::string part = path.substr(0, at); ::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST)
      if (const int number = errno; number != EACCES || ::access(part.c_str(), F_OK) != 0)
        return fail_errno(part, number);
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return fail_errno(path, errno);
  return {};
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(path, errno);
  return {};
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return fail_errno(path, errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get()))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace jitwg
