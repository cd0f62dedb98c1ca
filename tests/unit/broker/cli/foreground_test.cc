#include "broker/cli/foreground.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace jitwg::cli {
namespace {

int shell(const std::string& script) { return run_in_front({"sh", "-c", script}).value(); }

// A process in whose place the script runs, as the shell would start `jitwg ssh`.
pid_t start(const std::string& script) {
  const pid_t pid = fork();
  if (pid == 0) _exit(shell(script));
  return pid;
}

TEST(Foreground, exitsAsItDoes) {
  EXPECT_EQ(shell("exit 0"), 0);
  EXPECT_EQ(shell("exit 255"), 255);
  EXPECT_EQ(shell("kill -TERM $$"), 128 + SIGTERM);
  EXPECT_EQ(run_in_front({"/nonexistent/ssh"}).value(), 127);
}

TEST(Foreground, whatTheTerminalSendsIsItsOwn) {
  EXPECT_EQ(shell("trap 'exit 3' INT; kill -INT $PPID; kill -QUIT $PPID; kill -TSTP $PPID; kill "
                  "-INT $$; exit 4"),
            3);
  EXPECT_EQ(shell("kill -INT $$"), 128 + SIGINT);  // not ignored in it
}

TEST(Foreground, stopsAndGoesOnWithIt) {
  const pid_t front = start("kill -STOP $$; exit 7");
  int status = 0;
  ASSERT_EQ(waitpid(front, &status, WUNTRACED), front);
  ASSERT_TRUE(WIFSTOPPED(status));
  kill(front, SIGCONT);
  ASSERT_EQ(waitpid(front, &status, WUNTRACED), front);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

TEST(Foreground, doesNotOutliveIt) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t front = start("echo x >&" + std::to_string(ends[1]) + "; exec sleep 100");
  close(ends[1]);
  char byte = 0;
  ASSERT_EQ(read(ends[0], &byte, 1), 1);  // it runs
  kill(front, SIGKILL);
  waitpid(front, nullptr, 0);
  pollfd other{ends[0], 0, 0};
  EXPECT_EQ(poll(&other, 1, 10'000), 1) << "somebody holds the other end still";
  close(ends[0]);
}

}  // namespace
}  // namespace jitwg::cli
