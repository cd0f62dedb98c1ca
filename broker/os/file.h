// Whole files, read with suspicion and written so that a crash leaves the old or the new one, never half.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg {

// io, or too_large beyond max_bytes. Follows symlinks.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

// To the end of what is open already; `name` is for errors.
Result<std::string> read_all(const Fd& fd, const std::string& name, size_t max_bytes);

// As read_file, for secrets: unsafe_file unless it is a regular file of this process' uid (or root's)
// that nobody else may read or write (`forbidden`: mode bits). Never follows a symlink.
Result<std::string> read_secret_file(const std::string& path, size_t max_bytes, mode_t forbidden = 077);

// As read_file, for what decides (policy, allowed_signers, CA public key): unsafe_file when group or
// others may write it.
Result<std::string> read_trusted_file(const std::string& path, size_t max_bytes);

// Temporary file beside it, fsync, rename, fsync of the directory.
Result<void> write_file(const std::string& path, const std::string& bytes, mode_t mode);

Result<void> make_directory(const std::string& path, mode_t mode);  // parents too; existing is fine
Result<void> remove_file(const std::string& path);                  // missing is fine

Result<std::vector<std::string>> list_directory(const std::string& path);  // sorted names, no dot entries

}  // namespace jitwg
