// What a unix login has arranged to run without being logged in: lingering (loginctl(1)), at jobs,
// a crontab. None of it is a process, so no kill ends it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "broker/base/time.h"

namespace jitwg::hostd {

struct LeftoverPlaces {
  std::string linger = "/var/lib/systemd/linger";
  std::string at_jobs = "/var/spool/cron/atjobs";
  std::string crontabs = "/var/spool/cron/crontabs";
};

// Ends lingering that was turned on since then, and says in plain words what it found, one a
// finding: jobs and crontab made since then (by ctime, which nobody can set back), lingering
// whenever it was turned on. What cannot be looked at is a finding, a folder that is not there is
// not.
std::vector<std::string> end_leftovers(const LeftoverPlaces& places, const std::string& login,
                                       uid_t uid, WallTime since);

}  // namespace jitwg::hostd
