// What GET /v1/realm says, against one's own configuration and clock. Pure.
#pragma once

#include "broker/doctor/machine.h"

namespace jitwg::doctor {

struct RealmSeen {
  std::string realm;            // as policy names it
  std::vector<std::string> ca;  // "ssh-ed25519 …"; the broker's: first the one that signs now
  WallTime now;
  std::string node = {};  // as whom it knows our node key; "": not at all
};
Result<RealmSeen> parse_realm(const json::value& answer);

// Where they stand here, for remedies: "FILE", and what goes before a CA key: "FILE: ca = ".
struct RealmPlaces {
  std::string realm, ca;
};
// `own.now` is this machine's clock; an empty realm or CA of one's own is told elsewhere.
Findings check_realm(const RealmSeen& own, const RealmSeen& brokers, const RealmPlaces& places);

}  // namespace jitwg::doctor
