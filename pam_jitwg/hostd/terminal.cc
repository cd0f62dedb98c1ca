#include "pam_jitwg/hostd/terminal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "broker/os/fd.h"
#include "pam_jitwg/hostd/processes.h"

namespace jitwg::hostd {
namespace {

// A login may have thousands of processes and hundreds of terminals; a notice is worth this much.
constexpr size_t kProcesses = 2000, kTerminals = 64;
// Linux' Documentation/admin-guide/devices.txt: Unix98 pseudo-terminal slaves, 256 a major.
constexpr unsigned kFirstMajor = 136, kLastMajor = 143;

}  // namespace

std::set<int> terminals_of(const std::vector<pid_t>& processes) {
  std::set<int> found;
  size_t looked = 0;
  for (const pid_t pid : processes) {
    if (++looked > kProcesses || found.size() >= kTerminals) break;
    const auto stat = observe_process(pid);
    if (stat && stat->terminal != 0) found.insert(stat->terminal);
  }
  return found;
}

int write_to_terminals(const std::set<int>& terminals, const std::string& text) {
  const std::string line = "\r\n" + text + "\r\n";
  int taken = 0;
  for (const int terminal : terminals) {
    const auto device = static_cast<dev_t>(terminal);
    const unsigned high = major(device);
    if (high < kFirstMajor || high > kLastMajor) continue;
    const std::string path =
        "/dev/pts/" + std::to_string((high - kFirstMajor) * 256 + minor(device));
    const Fd fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC));
    struct stat st {};
    if (!fd.valid() || fstat(fd.get(), &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != device)
      continue;
    taken += ::write(fd.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
  }
  return taken;
}

}  // namespace jitwg::hostd
