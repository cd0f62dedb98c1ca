// jitwgd, the broker: `jitwgd --config /etc/jitwg/broker.conf`. No capability, no exec; dials only
// the signer's socket.
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <cerrno>

#include "broker/daemon/routes.h"
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
};

// Two brokers over one database would each believe what they remember.
Result<Fd> lock_directory(const std::string& directory) {
  const std::string path = directory + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return fail_errno(path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::io, path + " is held by another jitwgd", "stop it first");
  return fd;
}

Result<void> serve(const Config& config) {
  const std::string state_dir = config.get("state-dir");
  JITWG_TRY(make_directory(state_dir, 0700));
  JITWG_ASSIGN(const Fd lock, lock_directory(state_dir));
  const SystemClock clock;
  JournalSink events;
  asio::io_context io(1);
  JITWG_ASSIGN(std::unique_ptr<store::Store> store, store::open_sqlite(state_dir + "/broker.db"));
  JITWG_ASSIGN(Fd listener,
               listen_unix(take_handed_sockets(), config.get("runtime-dir") + "/broker.sock",
                           SOCK_STREAM, 0666));

  UnixSigner signer(io, config.get("signer"));
  Broker broker(io, *store, signer, events, clock);
  Routes routes(broker);
  // Half of them: whoever is connected may need one more, to the signer.
  const size_t connections = std::min(limits::kConnections, raise_descriptor_limit() / 2);
  http::Server server(io, std::move(listener),
                      [&](http::Request request) { return routes.handle(std::move(request)); },
                      {.connections = connections});
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (error) return;
    notify_stopping();
    server.stop();
    io.stop();
  });
  Result<void> outcome;
  asio::co_spawn(io, broker.start([] { notify_ready("serving"); }),
                 [&](std::exception_ptr error, Result<void> started) {
                   if (error) std::rethrow_exception(error);
                   if (started) {
                     server.start();
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

}  // namespace
}  // namespace jitwg::broker

int main(int argc, char** argv) {
  return jitwg::run_program({"jitwgd",
                             "Takes signed statements, keeps every session's state, asks the signer, tells gateways and jump hosts.",
                             jitwg::broker::kOptions, "/etc/jitwg/broker.conf"},
                            argc, argv, {{"", jitwg::broker::serve}});
}
