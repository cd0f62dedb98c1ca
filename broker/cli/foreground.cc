#include "broker/cli/foreground.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace jitwg::cli {

Result<int> run_in_front(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  constexpr int kOfTheTerminal[] = {SIGINT, SIGQUIT, SIGTSTP};
  for (const int signal : kOfTheTerminal) std::signal(signal, SIG_IGN);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return fail_errno("fork", errno);
  if (child == 0) {
    for (const int signal : kOfTheTerminal) std::signal(signal, SIG_DFL);
    ::prctl(PR_SET_PDEATHSIG, SIGHUP);
    if (::getppid() == parent) ::execvp(argv[0], argv.data());
    std::fprintf(stderr, "%s: %s\n", argv[0], std::strerror(errno));
    ::_exit(127);
  }
  int status = 0;
  for (bool ended = false; !ended;) {
    if (::waitpid(child, &status, WUNTRACED) < 0) {
      if (errno != EINTR) return fail_errno("waitpid", errno);
      continue;
    }
    ended = !WIFSTOPPED(status);
    if (ended) continue;
    ::kill(::getpid(), SIGSTOP);  // the shell's turn; behind this line it was continued
    ::kill(child, SIGCONT);
  }
  for (const int signal : kOfTheTerminal) std::signal(signal, SIG_DFL);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace jitwg::cli
