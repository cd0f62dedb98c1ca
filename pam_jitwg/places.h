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
inline std::string loginuid_file() { return place("loginuid"); }
inline uid_t caller() { return read_loginuid(place("caller")).value_or(getuid()); }
#else
inline Server hostd() { return {"/run/jitwg/hostd.sock", 0}; }
inline ManagedFiles managed_files() { return {"/etc/jitwg/managed", "/etc/passwd", 0}; }
inline std::string loginuid_file() { return "/proc/self/loginuid"; }
inline uid_t caller() { return getuid(); }
#endif

}  // namespace jitwg::pam
