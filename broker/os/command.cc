#include "broker/os/command.h"

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "broker/os/fd.h"

extern char** environ;

namespace jitwg {
namespace {

constexpr size_t kMaxOutput = 1 << 20;

std::string read_back(const Fd& said) {
  lseek(said.get(), 0, SEEK_SET);
  std::string output;
  char bytes[4096];
  for (ssize_t count;
       output.size() < kMaxOutput && (count = read(said.get(), bytes, sizeof bytes)) > 0;)
    output.append(bytes, static_cast<size_t>(count));
  return output;
}

}  // namespace

Result<Ran> run_command(const std::vector<std::string>& words, bool may_ask) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const Fd said(memfd_create("output", MFD_CLOEXEC));
  if (!said.valid()) return fail_errno("memfd_create", errno);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, said.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, said.get(), STDERR_FILENO);
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSIGDEF |
                                                           (may_ask ? 0 : POSIX_SPAWN_SETPGROUP)));
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return fail_errno(words[0], failed);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return fail_errno("waitpid", errno);
  return Ran{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_back(said)};
}

}  // namespace jitwg
