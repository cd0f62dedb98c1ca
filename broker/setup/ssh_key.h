// New keys as OpenSSH's own tool makes them.
#pragma once

#include <string>

#include "broker/base/error.h"

namespace jitwg::setup {

// An ed25519 private key file's content, made by ssh-keygen(1) on a file system in memory; the caller stores and wipes
// it. io when ssh-keygen is missing or fails.
Result<std::string> make_ssh_key(const std::string& comment);

}  // namespace jitwg::setup
