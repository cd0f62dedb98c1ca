#include <pwd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "broker/cli/api.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/doctor_checks.h"
#include "broker/cli/identity.h"
#include "broker/cli/login.h"
#include "broker/cli/session_files.h"
#include "broker/cli/tunnel.h"
#include "broker/doctor/realm.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

using namespace doctor;

bool in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');)
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

std::string config_file(const Context& context) {
  return context.has("config") ? context.option("config") : context.paths().config;
}

// What decides on this side: realm and CA, in a file that only this person writes.
Findings examine_configuration(const Context& context, const User& self) {
  Findings found = {check_path("configuration", observe_path(config_file(context)), self, 0755)};
  if (const auto realm = context.realm(); !realm)
    found.push_back(failed("realm", realm.error(), ""));
  if (const auto ca = context.ca(); !ca) found.push_back(failed("ca", ca.error(), ""));
  return found;
}

Findings examine_broker(const Context& context) {
  const std::string file = config_file(context);
  const auto answer = Api(context.broker()).get("/v1/realm");
  const auto realm =
      answer ? parse_realm(*answer) : Result<RealmSeen>(tl::unexpected(answer.error()));
  if (!realm)
    return {failed("broker", realm.error(), file + ": broker = …"),
            warning("clock", "not compared", "first the broker")};
  const auto ca = context.ca();
  const RealmSeen own{context.realm().value_or(""), ca ? ca->lines() : std::vector<std::string>(), context.now()};
  Findings found = check_realm(own, *realm, {file, file + ": ca = "});
  found.insert(found.begin(), ok("broker", "answers"));
  return found;
}

Finding examine_identity(const Context& context) {
  const char* agent = std::getenv("SSH_AUTH_SOCK");
  const auto identity = load_identity(context.identity(), agent == nullptr ? "" : agent);
  if (!identity) return failed("identity", identity.error(), "ssh-add");
  const std::string key = identity->key.fingerprint();
  if (identity->guessed)
    return warning(
        "identity", "ssh-agent holds several keys; " + key + " would sign",
        config_file(context) + ": identity = FILE.pub of the one that your administrator knows");
  return ok("identity", context.person() + " signs with " + key);
}

Finding examine_sudo(const Context& context, const User& self) {
  if (self.uid == 0) return ok("sudo", "not needed: you are root");
  const auto ran = run_command(
      {"sudo", "-n", "-l", "wg-quick", "up", context.paths().state + "/jw-00000000.conf"});
  if (!ran) return failed("sudo", ran.error(), "apt install sudo");
  return check_sudo(*ran, self.name);
}

// Asked with a kept login only: a check signs nothing.
Finding examine_lock(const Context& context) {
  const auto token = kept_login(context);
  if (!token) return ok("lock", "not asked: there is no login that holds");
  const auto answer = Api(context.broker()).get("/v1/locks", *token);
  if (!answer && answer.error().code == Code::locked)
    return warning("lock", answer.error().message, "ask somebody with the right `lock`: jitwg unlock " + context.person());
  return ok("lock", answer ? "you are not locked" : "not known: " + answer.error().message);
}

WireguardSeen observe_wireguard() {
  utsname system{};
  ::uname(&system);
  const std::string module =
      std::string("/lib/modules/") + system.release + "/kernel/drivers/net/wireguard";
  return {in_path("wg-quick"), exists("/sys/module/wireguard") || exists(module),
          in_path("wireguard-go")};
}

// A session that is over keeps neither interface nor keys here.
Finding examine_leftovers(const Context& context) {
  const auto ca = context.ca();
  const auto realm = context.realm();
  for (const SessionFiles& files : local_sessions(context.paths().state)) {
    bool over = files.meta().is_over();
    if (!over && ca && realm) {
      const auto activation = files.load_activation(*ca, *realm, context.now());
      over = !activation && activation.error().code == Code::session_ended;
    }
    const std::string id = files.id().short_form();
    if (over && is_up(files.id()))
      return problem("leftovers", "session " + id + " is over, but its interface is still up",
                     "jitwg down " + id);
    if (over && files.token())
      return warning("leftovers", "session " + id + " is over, but its keys are still here",
                     "jitwg show " + id);
  }
  return ok("leftovers", "nothing of sessions that are over");
}

}  // namespace

Result<int> run_doctor(Context& context) {
  const passwd* entry = getpwuid(geteuid());
  const User self{entry == nullptr ? "you" : entry->pw_name, geteuid()};
  const std::string home = std::getenv("HOME"), &state = context.paths().state;
  Findings found = examine_configuration(context, self);
  add(found, examine_broker(context));
  found.push_back(examine_identity(context));
  found.push_back(examine_lock(context));
  found.push_back(check_ssh_include(read_file(home + "/.ssh/config", 1 << 20).value_or(""),
                                    context.paths().ssh_config, home));
  found.push_back(examine_sudo(context, self));
  found.push_back(check_wireguard(observe_wireguard()));
  found.push_back(exists(state) ? check_path("state_dir", observe_path(state), self, 0700)
                                : ok("state_dir", "no session was made here yet"));
  found.push_back(examine_leftovers(context));
  context.print(render(found), render_text(found));
  return has_problem(found) ? 1 : 0;
}

}  // namespace jitwg::cli
