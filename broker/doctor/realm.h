// What GET /v1/realm says, against one's own configuration and clock. Pure.
#pragma once

#include "broker/doctor/machine.h"

namespace jitwg::doctor {

struct RealmSeen {
  std::string realm, ca;  // as policy names it; "ssh-ed25519 …"
  WallTime now;
  std::string node = {};  // as whom it knows our node key; "": not at all
};
Result<RealmSeen> parse_realm(const json::value& answer);

// `own.now` is this machine's clock; an empty realm or CA of one's own is told elsewhere. `file`:
// where they stand.
Findings check_realm(const RealmSeen& own, const RealmSeen& brokers, const std::string& file);

}  // namespace jitwg::doctor
