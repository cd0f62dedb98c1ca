// A file that the administrator names on the command line; "-" is stdin, whatever that is.
#pragma once

#include <string>

#include "broker/base/error.h"

namespace jitwg::setup {

Result<std::string> read_input(const std::string& word, size_t max_bytes);

}  // namespace jitwg::setup
