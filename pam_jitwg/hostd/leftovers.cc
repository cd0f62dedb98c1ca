#include "pam_jitwg/hostd/leftovers.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "broker/os/file.h"

namespace jitwg::hostd {
namespace {

constexpr size_t kNamed = 5;  // of jobs; more are counted

std::optional<struct stat> look(const std::string& path, std::vector<std::string>& found) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) return st;
  if (errno != ENOENT && errno != ENOTDIR)
    found.push_back(path + " cannot be looked at: " + std::strerror(errno));
  return std::nullopt;
}

bool is_newer(const struct stat& st, WallTime since) {
  return WallTime(Seconds(st.st_ctim.tv_sec)) >= since;
}

void look_for_jobs(const std::string& directory, uid_t uid, WallTime since,
                   std::vector<std::string>& found) {
  if (!look(directory, found)) return;
  const auto names = list_directory(directory);
  if (!names) return found.push_back(names.error().message);
  std::vector<std::string> jobs;
  for (const std::string& name : *names)
    if (const auto st = look(directory + "/" + name, found))
      if (S_ISREG(st->st_mode) && st->st_uid == uid && is_newer(*st, since)) jobs.push_back(name);
  if (jobs.empty()) return;
  std::string text = std::to_string(jobs.size()) + (jobs.size() == 1 ? " at job" : " at jobs") + " (";
  for (size_t i = 0; i < jobs.size() && i < kNamed; ++i) text += (i == 0 ? "" : ", ") + jobs[i];
  found.push_back(text + (jobs.size() > kNamed ? ", ...)" : ")"));
}

}  // namespace

std::vector<std::string> end_leftovers(const LeftoverPlaces& places, const std::string& login,
                                       uid_t uid, WallTime since) {
  std::vector<std::string> found;
  // A name of a unix login that is a path would lead elsewhere; useradd(8) makes none.
  const bool is_file_name = !login.empty() && login.find('/') == login.npos && login[0] != '.';
  if (is_file_name) {
    const std::string linger = places.linger + "/" + login;
    if (const auto st = look(linger, found); st && is_newer(*st, since)) {
      const auto removed = remove_file(linger);
      found.push_back(removed ? "lingering, now turned off"
                              : "lingering, which could not be turned off: " + removed.error().message);
    } else if (st) {
      found.push_back("lingering, turned on before the session");
    }
    if (const auto st = look(places.crontabs + "/" + login, found); st && is_newer(*st, since))
      found.push_back("a new crontab");
  }
  look_for_jobs(places.at_jobs, uid, since, found);
  return found;
}

}  // namespace jitwg::hostd
