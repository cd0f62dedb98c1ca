#include "broker/os/dated_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "broker/os/fd.h"
#include "broker/os/file.h"

namespace jitwg {

Result<DatedFile> read_dated_file(const std::string& path, size_t max_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) return fail_errno(path, errno);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail_errno(path, errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::unsafe_file, path + " is not a regular file");
  if (st.st_uid != 0 && st.st_uid != geteuid())
    return fail(Code::unsafe_file, path + " belongs to uid " + std::to_string(st.st_uid), "chown root " + path);
  if ((st.st_mode & 022) != 0)
    return fail(Code::unsafe_file, path + " may be written by group or others", "chmod go-w " + path);
  JITWG_ASSIGN(std::string bytes, read_all(fd, path, max_bytes));
  return DatedFile{std::move(bytes), WallTime(Seconds(st.st_mtim.tv_sec))};
}

std::string path_beside(const std::string& file, const std::string& path) {
  const size_t slash = file.rfind('/');
  return path.starts_with('/') || slash == std::string::npos ? path : file.substr(0, slash + 1) + path;
}

std::string file_mark(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return {};
  std::string mark;
  for (const auto number : {static_cast<long long>(st.st_dev), static_cast<long long>(st.st_ino), static_cast<long long>(st.st_size),
                            static_cast<long long>(st.st_mode), static_cast<long long>(st.st_uid), static_cast<long long>(st.st_mtim.tv_sec),
                            static_cast<long long>(st.st_mtim.tv_nsec), static_cast<long long>(st.st_ctim.tv_sec),
                            static_cast<long long>(st.st_ctim.tv_nsec)})
    mark += std::to_string(number) + " ";
  return mark;
}

}  // namespace jitwg
