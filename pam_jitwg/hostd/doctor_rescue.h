// Would the account for emergencies come in, and is it a door to nobody else? Pure.
#pragma once

#include <cstdint>

#include "pam_jitwg/hostd/doctor_checks.h"

namespace jitwg::hostd {

struct RescueSeen {
  std::string name;
  std::string passwd, shadow;  // its lines in /etc/passwd and /etc/shadow, "" if none
  std::string keys;            // what its file of keys holds
  SshdSettings sshd;           // for its login
  bool jumps = false;          // PAM's files let it past pam_jitwg
  int64_t today = 0;           // days since 1970, as in shadow(5)
};

// A warning when it would not come in, a problem when others could: one finding, the worst.
doctor::Finding check_rescue_account(const RescueSeen& seen);

}  // namespace jitwg::hostd
