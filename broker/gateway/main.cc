// jitwg-gateway: one WireGuard interface and one nftables table, opened and closed by signed grants
// alone.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <functional>
#include <list>

#include "broker/base/json.h"
#include "broker/base/number.h"
#include "broker/gateway/doctor.h"
#include "broker/gateway/gateway.h"
#include "broker/gateway/init.h"
#include "broker/gateway/linux_kernel.h"
#include "broker/gateway/ruleset.h"
#include "broker/gateway/selftest.h"
#include "broker/gateway/selftest_proof.h"
#include "broker/gateway/status.h"
#include "broker/node/supervised.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/os/program.h"
#include "broker/os/service.h"
#include "broker/transport/broker_address.h"

namespace jitwg::gateway {
namespace {

constexpr size_t kKeyFileBytes = 16 * 1024;
constexpr int kLeastMtu = 1280;  // IPv6 needs it (RFC 8200)
constexpr std::chrono::seconds kLookEvery(2);  // for first packets

const std::vector<Option> kOptions = {
    {"broker", "unix:/run/jitwg/broker.sock",
     "where the broker answers: unix:PATH or https://HOST[:PORT]"},
    {.name = "broker-pin",
     .help = "https: the broker's key, sha256//BASE64 as `jitwgd init` prints it",
     .many = true},
    {"broker-ca", "", "https, instead of pins: PEM file of the certificates that vouch for it"},
    {"node", "", "this gateway's name in the policy"},
    {"node-key", "/etc/jitwg/node_key",
     "private key that signs this gateway's reports (mode 0600)"},
    {"ca", "/etc/jitwg/ca.pub", "the CA's public key: only its grants count; two while it is being changed"},
    {"realm", "", "the deployment, as the policy names it"},
    {"interface", "jitwg0", "WireGuard interface; made if it is not there"},
    {"wireguard-key", "/etc/jitwg/wg.key",
     "the interface's private key, as `wg genkey` writes it (mode 0600)"},
    {"listen-port", "51820", "the interface's UDP port"},
    {"mtu", "", "the interface's MTU, from 1280 on; unset: as it is, 1420 when it is made"},
    {.name = "pool", .help = "prefix of inner addresses, routed to the interface", .many = true},
    {"transport", "auto",
     "kernel, userspace (wireguard-go), or auto: the kernel where it has WireGuard"},
    {"wireguard-go", "/usr/bin/wireguard-go", "program that makes a userspace interface"},
    {"state-dir", "/var/lib/jitwg/gateway", "holds grants and tombstones"},
    {"runtime-dir", "/run/jitwg", "holds selftest.ok, which `selftest` leaves and the daemon wants"},
    {"endpoint", "", "IP:PORT that people's tunnels are sent to; init tells it to the policy"},
    {.name = "trust",
     .help = "init: file with the block that `jitwgd init` printed; - is stdin",
     .command_line_only = true},
    {.name = "json", .help = "status, doctor, selftest, init: for programs", .flag = true, .command_line_only = true},
};

struct Identity {
  std::string node, realm;
  ssh::CaKeys ca;
};

Result<Identity> load_identity(const Config& config) {
  JITWG_ASSIGN(std::string node, config.need("node"));
  JITWG_ASSIGN(std::string realm, config.need("realm"));
  JITWG_ASSIGN(const std::string text, read_trusted_file(config.get("ca"), kKeyFileBytes));
  auto ca = ssh::CaKeys::parse(text);
  if (!ca) return within(config.get("ca"), ca.error());
  return Identity{std::move(node), std::move(realm), std::move(*ca)};
}

Result<ssh::PrivateKey> load_node_key(const std::string& path) {
  JITWG_ASSIGN(std::string text, read_secret_file(path, kKeyFileBytes));
  auto key = ssh::PrivateKey::parse_openssh(text);
  sodium_memzero(text.data(), text.size());
  if (!key) return within(path, key.error());
  return key;
}

Result<TransportChoice> parse_transport(std::string_view text) {
  if (text == "auto") return TransportChoice::automatic;
  if (text == "kernel") return TransportChoice::kernel;
  if (text == "userspace") return TransportChoice::userspace;
  return fail(Code::bad_config, "transport \"" + std::string(text) + "\" is unknown",
              "write auto, kernel or userspace");
}

Result<InterfaceSettings> read_interface_settings(const Config& config) {
  InterfaceSettings settings;
  settings.name = config.get("interface");
  settings.key_file = config.get("wireguard-key");
  settings.wireguard_go = config.get("wireguard-go");
  JITWG_ASSIGN(settings.transport, parse_transport(config.get("transport")));
  const auto port = parse_number<uint16_t>(config.get("listen-port"));
  if (!port || *port == 0)
    return fail(Code::bad_config, "listen-port \"" + config.get("listen-port") + "\" is no port",
                "write 51820");
  settings.listen_port = *port;
  if (const std::string text = config.get("mtu"); !text.empty()) {
    settings.mtu = parse_number<uint16_t>(text).value_or(0);
    if (*settings.mtu < kLeastMtu)
      return fail(Code::bad_config, "mtu \"" + text + "\" is not from 1280 to 65535",
                  "write 1420, or less where tunnels come in by links of less than 1500");
  }
  for (const std::string& text : config.all("pool")) {
    auto pool = Prefix::parse(text);
    if (!pool) return within("pool", pool.error());
    settings.pools.push_back(std::move(*pool));
  }
  if (settings.pools.empty())
    return fail(Code::bad_config, "\"pool\" is not set",
                "give the policy's pools, one `pool = PREFIX` each");
  return settings;
}

Result<void> serve(const Config& config) {
  JITWG_ASSIGN(const Identity identity, load_identity(config));
  JITWG_ASSIGN(ssh::PrivateKey node_key, load_node_key(config.get("node-key")));
  JITWG_ASSIGN(http::BrokerAddress broker, http::read_broker_address(config));
  JITWG_ASSIGN(const InterfaceSettings settings, read_interface_settings(config));
  JITWG_ASSIGN(const std::string ruleset, render_ruleset(settings.name, settings.pools));
  JITWG_TRY(check_proof(config.get("runtime-dir"), ruleset));
  JITWG_TRY(make_directory(config.get("state-dir"), 0700));
  JITWG_ASSIGN(const auto kernel, LinuxKernel::open(settings, config.get("state-dir") + "/table"));

  JournalSink journal;
  const SystemClock clock;
  Gateway gateway({identity.node, kernel->public_key(), settings.pools}, *kernel, journal,
                  [&clock] { return clock.instant(); });
  boost::asio::io_context io;
  node::Agent agent(
      io,
      {std::move(broker), identity.node, identity.realm, identity.ca, config.get("state-dir")},
      std::move(node_key), gateway,
      [](const Grant& grant, const std::string& node) { return grant.gateway.name == node; },
      clock);
  // What the kernel holds stays: a stopped gateway ends no session.
  node::Supervised service(io, [&io] { io.stop(); }, [&] { return agent.reload(config); });
  JITWG_TRY(agent.start());
  std::list<boost::asio::posix::stream_descriptor> news;
  const std::function<void(boost::asio::posix::stream_descriptor&)> watch = [&](auto& source) {
    source.async_wait(source.wait_read, [&](const boost::system::error_code& failed) {
      if (failed) return;
      if (kernel->take_changes()) agent.poke();
      watch(source);
    });
  };
  for (const int fd : kernel->changes()) watch(news.emplace_back(io, ::fcntl(fd, F_DUPFD_CLOEXEC, 0)));
  boost::asio::steady_timer packets(io);
  const std::function<void()> look = [&] {
    const auto began = std::chrono::steady_clock::now();
    gateway.look_for_first_packets();
    const auto took = std::chrono::steady_clock::now() - began;
    packets.expires_after(std::max<std::chrono::nanoseconds>(kLookEvery, 50 * took));
    packets.async_wait([&](const boost::system::error_code& failed) {
      if (!failed) look();
    });
  };
  look();
  service.ready("gateway " + identity.node + " on " + settings.name + ", key " +
                kernel->public_key().str());
  io.run();
  gateway.look_for_first_packets();  // the next process does not tell what has been by then
  return {};
}

size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

Result<void> print_status(const Config& config) {
  JITWG_ASSIGN(const Identity identity, load_identity(config));
  JITWG_ASSIGN(const auto settings, read_interface_settings(config));
  Stored stored;
  Observed observed;
  WallTime now;
  std::vector<StatusRow> rows;
  // A session that comes or goes between the two looks is not amiss.
  for (int look = 0; look == 0 || (look == 1 && !is_as_granted(rows)); ++look) {
    JITWG_ASSIGN(stored, load_stored(config.get("state-dir"), identity.ca, identity.realm));
    JITWG_ASSIGN(observed, LinuxKernel::look(settings.name));
    now = SystemClock().now();
    rows = make_status(observed, stored, settings.pools, now);
  }
  const std::string text = config.has("json") ? render_json(render_status(rows, now)) + "\n"
                                              : render_status_table(rows, now, terminal_width());
  std::fputs(text.c_str(), stdout);
  if (!is_as_granted(rows)) return fail(Code::system, "");  // the table says it
  return {};
}

Result<void> run_doctor(const Config& config) {
  return doctor::tell(examine(config, read_interface_settings(config)), config.has("json"));
}

Result<void> test_itself(const Config& config) {
  JITWG_ASSIGN(const InterfaceSettings settings, read_interface_settings(config));
  return selftest(settings, config.get("runtime-dir"), config.has("json"));
}

}  // namespace
}  // namespace jitwg::gateway

int main(int argc, char** argv) {
  using namespace jitwg::gateway;
  return jitwg::run_program({"jitwg-gateway",
                             "Opens tunnels for signed grants and ends them with the grant; status says which are open.",
                             kOptions, "/etc/jitwg/gateway.conf"},
                            argc, argv, {{"", serve}, {"status", print_status}, {"doctor", run_doctor}, {"selftest", test_itself},
                                         {"init", [](const jitwg::Config& config) { return init(config, kOptions); }}});
}
