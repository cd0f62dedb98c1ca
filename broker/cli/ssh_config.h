// What ssh needs to know of the live sessions (ssh_config(5)). Pure: only typed values of verified
// grants and paths of our own go in.
#pragma once

#include <string>
#include <vector>

#include "broker/session/grant.h"

namespace jitwg::cli {

struct SshSession {
  Grant grant;
  std::string directory;  // where id, id-cert.pub and known_hosts lie
};

// Every jump host's keys under its alias, one a line.
std::string render_known_hosts(const Grant& grant);

// `Host jitwg-<last 8>` for each session with a login, and `Host jitwg-<target>` for the newest of
// each target. Sessions without one are left out. bad_value when a directory's name could not stand
// in the file.
Result<std::string> render_ssh_config(std::vector<SshSession> sessions);

}  // namespace jitwg::cli
