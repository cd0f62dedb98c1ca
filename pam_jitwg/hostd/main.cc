// jitwg-hostd: the jump host's daemon, and `jitwg-hostd status`.
#include <boost/asio/io_context.hpp>
#include <cstdio>

#include "broker/node/supervised.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/os/program.h"
#include "broker/os/service.h"
#include "broker/transport/broker_address.h"
#include "pam_jitwg/hostd/doctor.h"
#include "pam_jitwg/hostd/hostd.h"
#include "pam_jitwg/hostd/init.h"
#include "pam_jitwg/hostd/server.h"
#include "pam_jitwg/hostd/setup.h"
#include "pam_jitwg/hostd/status.h"
#include "pam_jitwg/managed.h"

namespace {

using namespace jitwg;

const std::vector<Option> kOptions = {
    {"broker", "unix:/run/jitwg/broker.sock",
     "where the broker is: unix:PATH or https://HOST[:PORT]"},
    {.name = "broker-pin",
     .help = "https: the broker's key, sha256//BASE64 as `jitwgd init` prints it",
     .many = true},
    {"broker-ca", "", "https, instead of pins: PEM file of the certificates that vouch for it"},
    {"node", "", "this host's name in policy"},
    {"node-key", "/etc/jitwg/node_key", "private key of this node, as ssh-keygen writes it"},
    {"ca", "/etc/jitwg/ca.pub", "public key of the CA: certificates and grants of no other count; two while it is being changed"},
    {"realm", "", "the realm that policy names"},
    {"managed", "/etc/jitwg/managed", "who needs a session; pam_jitwg.so reads this very path"},
    {"cgroup-root", "/sys/fs/cgroup", "where cgroup v2 is mounted"},
    {"grace", "5s", "between asking a login to end and ending it"},
    {"fresh-within", "2m", "without word from the broker for longer: no new logins"},
    {"lost-contact-after", "10m", "likewise, for people who are logged in here already"},
    {"state-dir", "/var/lib/jitwg/hostd", "verified grants and closed sessions"},
    {"runtime-dir", "/run/jitwg", "the socket, and which logins run"},
    {.name = "address",
     .help = "where people's ssh reaches this host; init tells it to the policy",
     .many = true},
    {.name = "trust",
     .help = "init: file with the block that `jitwgd init` printed; - is stdin",
     .command_line_only = true},
    {.name = "dry-run",
     .help = "setup: print what --apply would change; exit code 1 if anything",
     .flag = true,
     .command_line_only = true},
    {.name = "apply",
     .help = "setup: put in what sshd, PAM, journald and polkit need",
     .flag = true,
     .command_line_only = true},
    {.name = "remove",
     .help = "setup: take it out again",
     .flag = true,
     .command_line_only = true},
    {.name = "rescue",
     .help = "init, setup: account that needs no session, for emergencies",
     .command_line_only = true,
     .many = true},
    {"json", "", "status, doctor, init, setup: for programs", true, true},
};

std::string state_directory(const Config& config) { return config.get("runtime-dir") + "/hostd"; }

Result<Seconds> duration(const Config& config, const std::string& key) {
  if (key == "grace" && config.get(key) == "0s") return Seconds(0);
  auto parsed = parse_duration(config.get(key));
  if (!parsed) return within(key, std::move(parsed.error()));
  return *parsed;
}

// The module decides by this file on its own; a mistake in it is worth saying before somebody runs
// into it.
void look_at_managed(const std::string& path) {
  std::string why;
  pam::is_managed({path, "/etc/passwd", 0}, "root", &why);
  if (!why.empty()) log(Level::warning, why);
}

Result<void> serve(const Config& config) {
  JITWG_ASSIGN(const std::string node, config.need("node"));
  JITWG_ASSIGN(const std::string realm, config.need("realm"));
  JITWG_ASSIGN(const std::string ca_text, read_trusted_file(config.get("ca"), 16 * 1024));
  JITWG_ASSIGN(const ssh::CaKeys ca, ssh::CaKeys::parse(ca_text));
  JITWG_ASSIGN(const std::string pem, read_secret_file(config.get("node-key"), 16 * 1024));
  JITWG_ASSIGN(ssh::PrivateKey node_key, ssh::PrivateKey::parse_openssh(pem));
  JITWG_ASSIGN(http::BrokerAddress broker, http::read_broker_address(config));
  hostd::Settings settings{node, ca, config.get("cgroup-root"), state_directory(config)};
  settings.managed = {config.get("managed"), "/etc/passwd", 0};
  JITWG_ASSIGN(settings.grace, duration(config, "grace"));
  JITWG_ASSIGN(settings.fresh_within, duration(config, "fresh-within"));
  JITWG_ASSIGN(settings.lost_contact_after, duration(config, "lost-contact-after"));
  look_at_managed(config.get("managed"));

  const SystemClock clock;
  JournalSink events;
  boost::asio::io_context io(1);
  JITWG_TRY(make_directory(state_directory(config), 0700));
  JITWG_ASSIGN(const auto hostd, hostd::Hostd::make(io, settings, events, clock));
  const auto is_mine = [](const Grant& grant, const std::string& name) {
    for (const GrantJumpHost& host : grant.jump_hosts)
      if (host.name == name) return true;
    return false;
  };
  node::Agent agent(io, {std::move(broker), node, realm, ca, config.get("state-dir")},
                    std::move(node_key), *hostd, is_mine, clock);
  hostd->connect({[&agent] { return agent.silence(); }, [&agent] { return agent.revision(); },
                  [&agent] { agent.poke(); }});
  // Grants first, socket after: nobody is refused for what is on the disk.
  JITWG_TRY(agent.start());
  JITWG_ASSIGN(Fd listener,
               listen_unix(take_handed_sockets(), config.get("runtime-dir") + "/hostd.sock",
                           SOCK_SEQPACKET, 0666));
  const hostd::Server server(
      io, std::move(listener),
      [&hostd](const hostd::Question& question, const Peer& peer, int socket) {
        return hostd->answer(question, peer, socket);
      });
  node::Supervised service(io, [&io] { io.stop(); }, [&] { return agent.reload(config); });
  service.ready("serving " + node);
  io.run();
  return {};
}

Result<void> print_status(const Config& config) {
  JITWG_ASSIGN(const hostd::Status status,
               hostd::observe_status(state_directory(config), config.get("cgroup-root")));
  const WallTime now = SystemClock().now();
  const std::string text = config.has("json") ? render_json(hostd::render_status(status, now)) + "\n"
                                              : hostd::render_status_table(status, now);
  std::fputs(text.c_str(), stdout);
  if (!status.is_running) return fail(Code::hostd_unavailable, "");  // that was told
  return {};
}

Result<void> run_doctor(const Config& config) {
  return doctor::tell(hostd::examine(config), config.has("json"));
}

}  // namespace

int main(int argc, char** argv) {
  return run_program({"jitwg-hostd",
                      "Lets the logins of live sessions in, binds them, and ends them; status says who is in.",
                      kOptions, "/etc/jitwg/hostd.conf"},
                     argc, argv, {{"", serve}, {"status", print_status}, {"doctor", run_doctor},
                                 {"init", [](const Config& config) { return hostd::init(config, kOptions); }},
                                 {"setup", hostd::setup_host}});
}
