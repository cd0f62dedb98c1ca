// jitwg-signer: verifies what people signed, and signs certificate and grant with the CA key.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <csignal>

#include "broker/audit/event.h"
#include "broker/base/limits.h"
#include "broker/os/clock.h"
#include "broker/os/file.h"
#include "broker/os/program.h"
#include "broker/os/service.h"
#include "ssh-ca/admin/commands.h"
#include "ssh-ca/signer/server.h"

namespace jitwg::signer {
namespace {

const std::vector<Option> kOptions = {
    {"policy", "/etc/jitwg/policy.toml", "policy file"},
    {"allowed-signers", "/etc/jitwg/allowed_signers", "people's keys, OpenSSH's format"},
    {"ca-key", "/etc/jitwg/ca", "CA private key (ed25519, mode 0600)"},
    {"backend", "native", "who signs: native"},
    {"state-dir", "/var/lib/jitwg/signer", "holds the ledger"},
    {"runtime-dir", "/run/jitwg", "holds signer.sock, unless it is handed in"},
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

Result<void> run(const Config& config) {
  JITWG_ASSIGN(const Fd signals, take_signals());
  harden();
  if (config.get("backend") != "native")
    return fail(Code::bad_config, "backend \"" + config.get("backend") + "\" is unknown", "native is the one there is");
  JITWG_ASSIGN(auto backend, make_native_backend(config.get("ca-key")));
  JITWG_ASSIGN(const Sources sources, load_sources(config));
  JITWG_ASSIGN(Realm realm, make_realm(sources, backend->public_key(), config.get("policy")));
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
  const auto on_hup = [&] {
    notify("RELOADING=1");
    auto fresh = load_sources(config);
    auto done = fresh ? signer.reload(std::move(*fresh)) : Result<void>(tl::unexpected<Error>(fresh.error()));
    notify_ready(done ? status() : status() + "; reload refused: " + done.error().render());
    if (done) return say_loaded();
    journal.emit({.name = EventName::policy_refused, .code = done.error().code,
                  .text = "the running policy stays: " + done.error().render()});
  };
  say_loaded();
  notify_ready(status());
  const SystemClock clock;
  auto served = serve(signer, listener, signals, clock, on_hup);
  notify("STOPPING=1");
  return served;
}

}  // namespace
}  // namespace jitwg::signer

int main(int argc, char** argv) {
  using namespace jitwg::signer;
  return jitwg::run_program({"jitwg-signer",
                             "Verifies what people signed, and signs certificate and grant with the CA key.\n"
                             "SIGHUP loads policy and allowed_signers anew. init makes what it needs; person adds and ends people's keys.",
                             kOptions, "/etc/jitwg/signer.conf"},
                            argc, argv,
                            {{"", run},
                             {"init", [](const jitwg::Config& config) { return init(config, kOptions); }},
                             {"doctor", doctor},
                             {"person add NAME [KEYFILE]", add_person},
                             {"person retire NAME [KEY]", retire_person}});
}
