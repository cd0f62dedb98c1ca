#include "broker/cli/tunnel.h"

#include <net/if.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "broker/cli/text.h"
#include "broker/cli/wg_quick.h"
#include "broker/os/fd.h"

extern char** environ;

namespace jitwg::cli {
namespace {

// What wg-quick says is of interest only when it fails: then it goes to stderr, as it is.
void show(const Fd& said) {
  lseek(said.get(), 0, SEEK_SET);
  char bytes[4096];
  for (ssize_t count; (count = read(said.get(), bytes, sizeof bytes)) > 0;)
    std::fwrite(bytes, 1, static_cast<size_t>(count), stderr);
}

// Runs to its end. sudo asks on /dev/tty, so its question is seen all the same.
Result<int> run_command(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const Fd said(memfd_create("wg-quick", MFD_CLOEXEC));
  if (!said.valid()) return fail_errno("memfd_create", errno);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, said.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, said.get(), STDERR_FILENO);
  posix_spawnattr_init(&attributes);
  // A group of its own keeps Ctrl-C from stopping wg-quick half way; only a sudo that may ask has
  // to stay in ours, as a background group cannot read the terminal.
  short flags = POSIX_SPAWN_SETSIGDEF;
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  const bool may_ask = words[0] == "sudo" && words[1] != "-n";
  if (!may_ask) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&attributes, flags);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return fail_errno(words[0], failed);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return fail_errno("waitpid", errno);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code != 0) show(said);
  return code;
}

Result<void> wg_quick(const char* action, const SessionFiles& files) {
  std::vector<std::string> words = {"wg-quick", action, files.wg_quick_path()};
  if (geteuid() != 0) {
    // sudo asks only where somebody can answer.
    if (!isatty(STDIN_FILENO)) words.insert(words.begin(), "-n");
    words.insert(words.begin(), "sudo");
  }
  JITWG_ASSIGN(const int code, run_command(words));
  if (code != 0)
    return fail(Code::system, join(words, " ") + " failed (exit " + std::to_string(code) + ")",
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
