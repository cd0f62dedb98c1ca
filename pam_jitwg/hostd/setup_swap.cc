#include "pam_jitwg/hostd/setup_swap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "broker/os/file.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kMaxFile = 1 << 20;

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? real.get() : path;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Result<void> sync_folder(const std::string& path) {
  const Fd folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return fail_errno(path, errno);
  return {};
}

// Owner, mode, and whatever else hangs on the file: SELinux' label, ACLs, capabilities.
bool copy_attributes(int from, int to) {
  struct stat st {};
  if (::fstat(from, &st) != 0 || ::fchown(to, st.st_uid, st.st_gid) != 0 || ::fchmod(to, st.st_mode & 07777) != 0)
    return false;
  const ssize_t size = ::flistxattr(from, nullptr, 0);
  if (size <= 0) return size == 0 || errno == ENOTSUP;
  std::string names(static_cast<size_t>(size), '\0');
  const ssize_t listed = ::flistxattr(from, names.data(), names.size());
  if (listed < 0) return false;
  names.resize(static_cast<size_t>(listed));  // an overlay counts what it then hides
  for (size_t at = 0; at < names.size(); at += std::string_view(&names[at]).size() + 1) {
    const char* name = &names[at];
    const ssize_t length = ::fgetxattr(from, name, nullptr, 0);
    std::string value(static_cast<size_t>(std::max<ssize_t>(length, 0)), '\0');
    if (length < 0 || ::fgetxattr(from, name, value.data(), value.size()) != length ||
        ::fsetxattr(to, name, value.data(), value.size(), 0) != 0)
      return false;
  }
  return true;
}

bool write_all(int fd, const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) done += static_cast<size_t>(n);
  }
  return true;
}

struct Step {
  const FileChange& change;
  std::string real;
  bool made_folder = false, settled = false;

  std::string fresh() const { return real + ".jitwg-new"; }
  std::string old() const { return real + ".jitwg-old"; }
};

Result<void> prepare(Step& step) {
  const auto& [path, before, after] = step.change;
  JITWG_ASSIGN(const auto now, read_seen(path));
  if (now != before) return fail(Code::wrong_state, path + " has just been changed by somebody else", "try again");
  if (!before && ::access(folder_of(step.real).c_str(), F_OK) != 0) {
    JITWG_TRY(make_directory(folder_of(step.real), 0755));
    step.made_folder = true;
  }
  sweep_asides({step.change.path});  // of one that was killed
  if (before && ::link(step.real.c_str(), step.old().c_str()) != 0) return fail_errno(step.old(), errno);
  if (!after) return {};
  const Fd fd(::open(step.fresh().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno(path, errno);
  const Fd from(before ? ::open(step.real.c_str(), O_RDONLY | O_CLOEXEC) : -1);
  const bool dressed = before ? from.valid() && copy_attributes(from.get(), fd.get()) : ::fchmod(fd.get(), 0644) == 0;
  if (!dressed || !write_all(fd.get(), *after) || ::fsync(fd.get()) != 0) return fail_errno(path, errno);
  return {};
}

Result<void> settle(Step& step) {
  const bool done = step.change.after ? ::rename(step.fresh().c_str(), step.real.c_str()) == 0
                                      : ::unlink(step.real.c_str()) == 0;
  if (!done) return fail_errno(step.change.path, errno);
  step.settled = true;
  return sync_folder(step.real);
}

// The paths that could not be put back.
std::string undo(std::vector<Step>& steps) {
  std::string lost;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const bool back = !step->settled || (step->change.before ? ::rename(step->old().c_str(), step->real.c_str()) == 0
                                                             : ::unlink(step->real.c_str()) == 0);
    if (!back) lost += " " + step->change.path;
    if (step->settled && back) (void)sync_folder(step->real);
    ::unlink(step->fresh().c_str());
    if (back) ::unlink(step->old().c_str());
    if (step->made_folder) ::rmdir(folder_of(step->real).c_str());
  }
  return lost;
}

}  // namespace

Result<std::optional<std::string>> read_seen(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (::stat(path.c_str(), &st) != 0) return fail_errno(path, errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::unsafe_file, path + " is no regular file");
  auto text = read_file(path, kMaxFile);
  if (!text) return tl::unexpected(text.error());
  return std::optional(std::move(*text));
}

void sweep_asides(const std::vector<std::string>& paths) {
  for (const std::string& path : paths)
    for (const char* ending : {".jitwg-new", ".jitwg-old"}) ::unlink((real_path(path) + ending).c_str());
}

Result<void> swap_files(const std::vector<FileChange>& changes, const std::function<Result<void>()>& accept) {
  std::vector<Step> steps;
  steps.reserve(changes.size());
  const auto all = [&]() -> Result<void> {
    for (const FileChange& change : changes) JITWG_TRY(prepare(steps.emplace_back(Step{change, real_path(change.path)})));
    for (Step& step : steps) JITWG_TRY(settle(step));
    return accept();
  };
  if (auto done = all(); !done) {
    if (const std::string lost = undo(steps); !lost.empty())
      done.error().message += "; and not put back, their old text is in NAME.jitwg-old:" + lost;
    return done;
  }
  for (const Step& step : steps) ::unlink(step.old().c_str());
  return {};
}

}  // namespace jitwg::hostd
