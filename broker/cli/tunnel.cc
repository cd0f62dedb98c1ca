#include "broker/cli/tunnel.h"

#include <net/if.h>
#include <unistd.h>

#include <cstdio>

#include "broker/cli/text.h"
#include "broker/cli/wg_quick.h"
#include "broker/os/command.h"
#include "broker/os/fd.h"

namespace jitwg::cli {
namespace {

Result<void> wg_quick(const char* action, const SessionFiles& files) {
  std::vector<std::string> words = {"wg-quick", action, files.wg_quick_path()};
  // sudo asks only where somebody can answer, and on /dev/tty, so its question is seen.
  const bool may_ask = geteuid() != 0 && isatty(STDIN_FILENO);
  if (geteuid() != 0) {
    if (!may_ask) words.insert(words.begin(), "-n");
    words.insert(words.begin(), "sudo");
  }
  JITWG_ASSIGN(const Ran ran, run_command(words, may_ask));
  // What wg-quick says is of interest only when it fails: then as it is.
  if (ran.code != 0) std::fputs(ran.output.c_str(), stderr);
  if (ran.code != 0)
    return fail(Code::system, join(words, " ") + " failed (exit " + std::to_string(ran.code) + ")",
                "is wireguard-tools installed, and may you run wg-quick through sudo?");
  return {};
}

}  // namespace

bool is_up(const SessionId& id) { return if_nametoindex(interface_name(id).c_str()) != 0; }

Result<void> bring_up(const SessionFiles& files) {
  // wg-quick cleans up after a failure: two at once would take each other's interface away.
  JITWG_ASSIGN(const Fd lock, lock_directory(files.directory()));
  if (is_up(files.id())) return {};
  JITWG_TRY(wg_quick("up", files));
  if (!is_up(files.id()))
    return fail(Code::system,
                "wg-quick said it is up, but there is no interface " + interface_name(files.id()));
  return {};
}

Result<void> take_down(const SessionFiles& files) {
  if (!is_up(files.id())) return {};
  JITWG_ASSIGN(const Fd lock, lock_directory(files.directory()));
  if (!is_up(files.id())) return {};  // another jitwg of the same session was faster
  return wg_quick("down", files);
}

}  // namespace jitwg::cli
