// jitwg-signer: verifies what people signed, and signs certificate and grant with the CA key.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstdlib>

#include "broker/audit/event.h"
#include "broker/base/limits.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/os/program.h"
#include "broker/os/service.h"
#include "ssh-ca/admin/commands.h"
#include "ssh-ca/signer/server.h"
#include "ssh-ca/signer/synced_lists.h"

namespace jitwg::signer {
namespace {

const std::vector<Option> kOptions = {
    {"policy", "/etc/jitwg/policy.toml", "policy file"},
    {"allowed-signers", "/etc/jitwg/allowed_signers", "people's keys, OpenSSH's format"},
    {"ca-key", "/etc/jitwg/ca", "CA private key (ed25519, mode 0600), or credential:NAME; the public one if an agent holds it"},
    {"ca-also", "", "public key file of the other CA key, while the CA's key is being changed"},
    {"backend", "native", "who signs: native, in this process; or ssh-keygen, run for each signature"},
    {"ssh-keygen", "/usr/bin/ssh-keygen", "backend ssh-keygen: the program"},
    {"agent-socket", "", "backend ssh-keygen: ssh-agent with the CA key; default $SSH_AUTH_SOCK"},
    {"state-dir", "/var/lib/jitwg/signer", "holds the ledger"},
    {"runtime-dir", "/run/jitwg", "holds signer.sock, unless it is handed in; and signer/, where ssh-keygen works"},
    {"json", "", "commands: for programs", true, true},
};

Result<Sources> load_sources(const Config& config) {
  Sources sources;
  JITWG_ASSIGN(sources.policy_toml, read_trusted_file(config.get("policy"), limits::kPolicyBytes));
  JITWG_ASSIGN(sources.allowed_signers, read_trusted_file(config.get("allowed-signers"), limits::kPolicyBytes));
  return sources;
}

// The process holds the CA key: no core dump, no ptrace by its own uid, no swap.
void harden() {
  prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (mlockall(MCL_CURRENT) != 0) log(Level::notice, "memory is not locked (RLIMIT_MEMLOCK), continuing");
}

Result<Fd> take_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno("sigprocmask", errno);
  Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return fail_errno("signalfd", errno);
  return fd;
}

Result<std::unique_ptr<CaBackend>> make_backend(const Config& config) {
  const std::string& which = config.get("backend");
  if (which == "native") return make_native_backend(config.get("ca-key"));
  if (which != "ssh-keygen")
    return fail(Code::bad_config, "backend \"" + which + "\" is unknown", "backend = native, or ssh-keygen");
  const char* agent = std::getenv("SSH_AUTH_SOCK");
  const std::string socket = config.has("agent-socket") || agent == nullptr ? config.get("agent-socket") : agent;
  return make_ssh_keygen_backend(
      config.get("ca-key"),
      {.program = config.get("ssh-keygen"), .scratch = config.get("runtime-dir") + "/signer", .agent_socket = socket});
}

// The key that signs, then the other one of a change.
Result<ssh::CaKeys> load_ca_keys(const Config& config, const ssh::PublicKey& signs) {
  if (!config.has("ca-also")) return ssh::CaKeys(signs);
  JITWG_ASSIGN(const std::string also, read_trusted_file(config.get("ca-also"), 4096));
  auto keys = ssh::CaKeys::parse(signs.str() + "\n" + also);
  if (!keys) return within("ca-also " + config.get("ca-also"), keys.error());
  return keys;
}

Result<void> run(const Config& config) {
  JITWG_ASSIGN(const Fd signals, take_signals());
  harden();
  JITWG_ASSIGN(auto backend, make_backend(config));
  JITWG_ASSIGN(const ssh::CaKeys ca_keys, load_ca_keys(config, backend->public_key()));
  JITWG_ASSIGN(const Sources sources, load_sources(config));
  JITWG_ASSIGN(Realm realm, make_realm(sources, ca_keys, config.get("policy")));
  JITWG_ASSIGN(Ledger ledger, Ledger::open(config.get("state-dir") + "/ledger"));
  if (ledger.repaired())
    log(Level::warning, "the ledger's last line was torn by a crash; it was never answered and is cut off");
  JITWG_ASSIGN(const Fd listener,
               listen_unix(take_handed_sockets(), config.get("runtime-dir") + "/signer.sock", SOCK_STREAM, 0660));

  JournalSink journal;
  const std::string ca = backend->public_key().fingerprint();
  Signer signer(std::move(backend), std::move(ledger), std::move(realm), sources);
  signer.on_refusal = [&](const Error& error, std::optional<SessionId> session) {
    journal.emit({.name = EventName::statement_refused, .session = session, .code = error.code,
                  .text = "the signer refused: " + error.message});
  };
  const auto say_loaded = [&] {
    journal.emit({.name = EventName::policy_loaded, .text = "policy " + signer.realm().policy.digest + " is in force"});
  };
  const auto status = [&] { return "realm " + signer.realm().policy.realm + ", CA " + ca; };
  ListKeeper lists(config.get("policy"));
  const auto take_lists = [&](WallTime now) {
    const std::string digest = signer.realm().policy.digest;
    auto files = lists.look(signer.realm().policy, now);
    if (!files) return;
    signer.take_lists(std::move(*files), now);
    for (const SyncedList& list : signer.realm().policy.lists)
      if (!list.problem.empty()) log(Level::warning, list.problem);
    if (signer.realm().policy.digest != digest) say_loaded();
  };
  const SystemClock clock;
  const auto on_hup = [&] {
    notify("RELOADING=1");
    auto fresh = load_sources(config);
    auto done = fresh ? signer.reload(std::move(*fresh)) : Result<void>(tl::unexpected<Error>(fresh.error()));
    notify_ready(done ? status() : status() + "; reload refused: " + done.error().render());
    if (done) {
      lists.forget();
      say_loaded();
      return take_lists(clock.now());
    }
    journal.emit({.name = EventName::policy_refused, .code = done.error().code,
                  .text = "the running policy stays: " + done.error().render()});
  };
  say_loaded();
  take_lists(clock.now());
  notify_ready(status());
  auto served = serve(signer, listener, signals, clock, on_hup, take_lists);
  notify("STOPPING=1");
  return served;
}

}  // namespace
}  // namespace jitwg::signer

int main(int argc, char** argv) {
  using namespace jitwg::signer;
  return jitwg::run_program({"jitwg-signer",
                             "Verifies what people signed, and signs certificate and grant with the CA key.\n"
                             "SIGHUP loads policy and allowed_signers anew; lists of people that policy takes from files are looked at all the time. init makes what it needs; person adds and ends people's keys.",
                             kOptions, "/etc/jitwg/signer.conf"},
                            argc, argv,
                            {{"", run},
                             {"init", [](const jitwg::Config& config) { return init(config, kOptions); }},
                             {"doctor", doctor},
                             {"apply FILE", apply},
                             {"person add NAME [KEYFILE]", add_person},
                             {"person retire NAME [KEY]", retire_person}});
}
