// How an init ends: what it made on stderr; on stdout what to do with it, the same at every run.
#pragma once

#include <string>

#include "broker/base/json.h"
#include "broker/os/config.h"
#include "broker/setup/host_files.h"

namespace jitwg::setup {

// With --json `value` instead of `text`, with "files" added: [{"path","made"}].
void print_outcome(const Config& config, const HostFiles& files, json::object value, const std::string& text);

}  // namespace jitwg::setup
