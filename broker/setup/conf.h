// A program's `key = value` file, as its `init` leaves it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "broker/os/config.h"
#include "broker/setup/host_files.h"

namespace jitwg::setup {

// What init found out itself: key -> values.
using Settings = std::map<std::string, std::vector<std::string>>;

// The directory of --config, made if it is missing and locked.
Result<Fd> lock_conf_directory(const Config& config);

// Writes the file that --config names: `learned`, and whatever else of `config` is not the default. A file that is there
// stays as it is; bad_config when it says otherwise about one of those, since the program would do what the file says.
Result<void> make_conf(HostFiles& files, const Config& config, const std::vector<Option>& options,
                       const Settings& learned);

}  // namespace jitwg::setup
