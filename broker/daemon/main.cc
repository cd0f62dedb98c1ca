// jitwgd, the broker: `jitwgd --config /etc/jitwg/broker.conf`. No capability, no exec; dials only
// the signer's socket.
#include <fcntl.h>
#include <sodium.h>
#include <sys/file.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <cerrno>
#include <list>

#include "broker/daemon/doctor.h"
#include "broker/daemon/init.h"
#include "broker/daemon/routes.h"
#include "broker/node/supervised.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/os/program.h"
#include "broker/os/service.h"

namespace jitwg::broker {
namespace {

namespace asio = boost::asio;

const std::vector<Option> kOptions = {
    {.name = "signer", .value = "/run/jitwg/signer.sock", .help = "the signer's socket"},
    {.name = "state-dir", .value = "/var/lib/jitwg/broker", .help = "where the database is"},
    {.name = "runtime-dir",
     .value = "/run/jitwg",
     .help = "where broker.sock is made, unless it is handed in"},
    {.name = "listen", .help = "ADDRESS:PORT for TLS beside the socket, as [::]:7443", .many = true},
    {.name = "tls-key",
     .value = "/etc/jitwg/broker_tls.key",
     .help = "private key of the TLS certificate, PEM (mode 0600)"},
    {.name = "tls-certificate",
     .value = "/etc/jitwg/broker_tls.crt",
     .help = "TLS certificate and its chain, PEM"},
    {.name = "name",
     .help = "HOST[:PORT] that people and nodes reach the broker by; init tells it to them"},
    {.name = "json", .help = "init, doctor: for programs", .flag = true, .command_line_only = true},
};

constexpr size_t kPemBytes = 64 * 1024;

// Two brokers over one database would each believe what they remember.
Result<Fd> lock_directory(const std::string& directory) {
  const std::string path = directory + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno(path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::io, path + " is held by another jitwgd", "stop it first");
  return fd;
}

Result<std::shared_ptr<http::ServerTls>> load_tls(const Config& config) {
  auto key = read_secret_file(config.get("tls-key"), kPemBytes);
  if (!key && key.error().code == Code::unsafe_file) return within("tls-key", key.error());
  if (!key)
    return fail(Code::bad_config, "\"listen\" needs a tls-key: " + key.error().message,
                "`jitwgd init` makes key and certificate");
  JITWG_ASSIGN(const std::string certificate,
               read_trusted_file(config.get("tls-certificate"), kPemBytes));
  auto tls = http::make_server_tls(certificate, *key);
  sodium_memzero(key->data(), key->size());
  return tls;
}

// Whoever starts us with sockets has decided where we listen: under our unit we could not bind any.
Result<std::vector<Fd>> listen_tls(const Config& config, HandedSockets& handed) {
  std::vector<Fd> listeners;
  while (auto socket = handed.extract("tls")) listeners.push_back(std::move(socket.mapped()));
  if (!listeners.empty() && config.has("listen"))
    log(Level::notice, "TLS sockets were handed in, ignoring \"listen\"");
  if (!listeners.empty()) return listeners;
  for (const std::string& address : config.all("listen")) {
    JITWG_ASSIGN(Fd listener, http::listen_tcp(address));
    listeners.push_back(std::move(listener));
  }
  return listeners;
}

Result<void> serve(const Config& config) {
  const std::string state_dir = config.get("state-dir");
  JITWG_TRY(make_directory(state_dir, 0700));
  JITWG_ASSIGN(const Fd lock, lock_directory(state_dir));
  const SystemClock clock;
  JournalSink events;
  asio::io_context io(1);
  JITWG_ASSIGN(std::unique_ptr<store::Store> store, store::open_sqlite(state_dir + "/broker.db"));
  HandedSockets handed = take_handed_sockets();
  JITWG_ASSIGN(std::vector<Fd> tls_listeners, listen_tls(config, handed));
  std::shared_ptr<http::ServerTls> tls;
  if (!tls_listeners.empty()) {
    JITWG_ASSIGN(tls, load_tls(config));
  }
  JITWG_ASSIGN(Fd listener, listen_unix(std::move(handed), config.get("runtime-dir") + "/broker.sock",
                                        SOCK_STREAM, 0666));

  UnixSigner signer(io, config.get("signer"));
  Broker broker(io, *store, signer, events, clock);
  Routes routes(broker);
  // Half of them: whoever is connected may need one more, to the signer.
  const http::ServerLimits limits{
      .connections = std::min(limits::kConnections,
                              raise_descriptor_limit() / 2 / (1 + tls_listeners.size()))};
  const auto handle = [&](http::Request request) { return routes.handle(std::move(request)); };
  std::list<http::Server> servers;
  servers.emplace_back(io, std::move(listener), handle, limits);
  for (Fd& tls_listener : tls_listeners)
    servers.emplace_back(io, std::move(tls_listener), handle, limits, tls);
  const auto stop = [&] {
    for (http::Server& server : servers) server.stop();
    io.stop();
  };
  // What others change: the signer its policy, whoever renews certificates ours.
  const auto reload = [&]() -> Result<void> {
    broker.refresh_soon();
    if (!tls) return {};
    JITWG_ASSIGN(const Config now, config.load_again());
    JITWG_ASSIGN(const auto fresh, load_tls(now));
    http::renew(*tls, std::move(*fresh));
    return {};
  };
  node::Supervised service(io, stop, reload);
  Result<void> outcome;
  asio::co_spawn(io, broker.start([&service] { service.ready("serving"); }),
                 [&](std::exception_ptr error, Result<void> started) {
                   if (error) std::rethrow_exception(error);
                   if (started) {
                     for (http::Server& server : servers) server.start();
                     return;
                   }
                   outcome = std::move(started);
                   io.stop();
                 });
  io.run();
  // What was submitted is finished; nobody listens for it any more.
  store.reset();
  return outcome;
}

Result<void> run_doctor(const Config& config) {
  return doctor::tell(examine(config), config.has("json"));
}

}  // namespace
}  // namespace jitwg::broker

int main(int argc, char** argv) {
  using namespace jitwg::broker;
  return jitwg::run_program({"jitwgd",
                             "Takes signed statements, keeps every session's state, asks the signer, tells gateways and jump hosts.",
                             kOptions, "/etc/jitwg/broker.conf"},
                            argc, argv,
                            {{"", serve},
                             {"doctor", run_doctor},
                             {"init", [](const jitwg::Config& config) { return init(config, kOptions); }}});
}
