// Many nodes in one process: real agents with keys of their own, over nothing that they enforce.
//   node_swarm COUNT REALM CA.pub BROKER PIN DIRECTORY
// Says "NAME NODE_KEY HOST_KEY" a node, then waits for a line on stdin: by then policy names them.
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <filesystem>
#include <list>
#include <string>

#include "broker/node/agent.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/os/service.h"

namespace jitwg::node {
namespace {

class NothingToEnforce final : public Enforcer {
 public:
  Result<void> admit(const Grant&) override { return fail(Code::too_large, "this is only a test"); }
  std::vector<Outcome> converge(const std::vector<Wanted>&, WallTime) override { return {}; }
  boost::json::value evidence_of_absence(const SessionId&) override { return {{"processes", 0}}; }
};

int run(int count, const std::string& realm, const std::string& ca_file, const std::string& broker,
        const std::string& pin, const std::string& directory) {
  raise_descriptor_limit();
  const auto ca_text = read_file(ca_file, 4096);
  const auto ca = ssh::PublicKey::parse(ca_text->substr(0, ca_text->find('\n')));
  std::vector<std::pair<std::string, ssh::PrivateKey>> nodes;
  for (int i = 0; i < count; ++i) {
    nodes.emplace_back("node" + std::to_string(i), ssh::PrivateKey::generate());
    std::printf("%s %s %s\n", nodes.back().first.c_str(),
                nodes.back().second.public_key().str().c_str(),
                ssh::PrivateKey::generate().public_key().str().c_str());
  }
  std::fflush(stdout);
  if (std::getchar() == EOF) return 1;

  boost::asio::io_context io;
  NothingToEnforce enforcer;
  const SystemClock clock;
  std::list<Agent> agents;
  for (auto& [name, key] : nodes) {
    AgentConfig config{.node = name, .realm = realm, .ca = *ca, .state_dir = directory + "/" + name};
    config.broker.where = broker;
    config.broker.pins = {pin};
    std::filesystem::create_directories(config.state_dir);
    std::filesystem::permissions(config.state_dir, std::filesystem::perms::owner_all);
    agents.emplace_back(io, std::move(config), std::move(key), enforcer,
                        [](const Grant&, const std::string&) { return false; }, clock);
    if (const auto started = agents.back().start(); !started) {
      std::fprintf(stderr, "%s\n", started.error().render().c_str());
      return 1;
    }
  }
  io.run();
  return 0;
}

}  // namespace
}  // namespace jitwg::node

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  return jitwg::node::run(std::stoi(argv[1]), argv[2], argv[3], argv[4], argv[5], argv[6]);
}
