// What `jitwg doctor` makes of what it saw on the person's machine. Pure.
#pragma once

#include <string>
#include <string_view>

#include "broker/doctor/finding.h"
#include "broker/os/command.h"

namespace jitwg::cli {

// ~/.ssh/config: `ours` is included for every host, so before the first Host or Match.
doctor::Finding check_ssh_include(std::string_view text, const std::string& ours,
                                  const std::string& home);

// What `sudo -n -l wg-quick up …` said.
doctor::Finding check_sudo(const Ran& ran, const std::string& user);

struct WireguardSeen {
  bool wg_quick = false, kernel = false, userspace = false;
};
doctor::Finding check_wireguard(const WireguardSeen& seen);

}  // namespace jitwg::cli
