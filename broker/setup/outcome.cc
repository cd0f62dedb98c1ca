#include "broker/setup/outcome.h"

#include <cstdio>

namespace jitwg::setup {

void print_outcome(const Config& config, const HostFiles& files, json::object value, const std::string& text) {
  json::array listed;
  for (const auto& [path, made] : files.steps()) {
    std::fprintf(stderr, "%s %s\n", made ? "made" : "kept", path.c_str());
    listed.push_back({{"path", path}, {"made", made}});
  }
  value["files"] = std::move(listed);
  std::fputs((config.has("json") ? render_json(value) + "\n" : text).c_str(), stdout);
}

}  // namespace jitwg::setup
