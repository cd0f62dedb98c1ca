// Where the module and the principals command look: constants. Paths from arguments or the
// environment would let whoever sets those choose who answers. Only the build for tests
// (pam_jitwg_test.so) takes them from there.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "pam_jitwg/ask.h"
#include "pam_jitwg/managed.h"

namespace jitwg::pam {

#ifdef JITWG_PLACES_FROM_TEST
inline std::string place(const char* name) {
  const char* directory = std::getenv("JITWG_TEST_PLACES");
  return (directory == nullptr ? std::string("/nonexistent") : std::string(directory)) + "/" + name;
}
inline Server hostd() { return {place("hostd.sock"), geteuid()}; }
inline ManagedFiles managed_files() { return {place("managed"), place("passwd"), geteuid()}; }
#else
inline Server hostd() { return {"/run/jitwg/hostd.sock", 0}; }
inline ManagedFiles managed_files() { return {"/etc/jitwg/managed", "/etc/passwd", 0}; }
#endif

}  // namespace jitwg::pam
