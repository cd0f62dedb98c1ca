// A file that something else writes again and again, with the time of its last writing: how old what it says may be is the
// caller's to judge.
#pragma once

#include <string>

#include "broker/base/time.h"

namespace jitwg {

struct DatedFile {
  std::string bytes;
  WallTime modified;  // mtime, whole seconds
};

// io; too_large beyond max_bytes; unsafe_file: no regular file, or somebody else than root and this process' user owns it or may
// write it. Follows symlinks: a sync may swap one.
Result<DatedFile> read_dated_file(const std::string& path, size_t max_bytes);

// As `path` is meant in a file: absolute, or seen from that file's directory.
std::string path_beside(const std::string& file, const std::string& path);

// What changes when the file is written or replaced; empty when it cannot be looked at. One stat(2).
std::string file_mark(const std::string& path);

}  // namespace jitwg
