// jitwg: all that a person does. See contrib/man/jitwg.1.
#include <poll.h>
#include <sodium.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <iostream>

#include "broker/cli/command.h"

int main(int argc, char** argv) {
  if (sodium_init() < 0) return 1;
  std::signal(SIGPIPE, SIG_IGN);  // a broker that hangs up is an error value, not our death
  try {
    const int code = jitwg::cli::run({argv + 1, argv + argc});
    if (std::cout.flush()) return code;
    // A reader that has seen enough (`| head`) needs no word about it.
    pollfd out{STDOUT_FILENO, POLLOUT, 0};
    if (poll(&out, 1, 0) < 1 || (out.revents & POLLERR) == 0)
      std::cerr << "jitwg: the answer could not be written to stdout\n";
    return code == 0 ? 1 : code;
  } catch (const std::exception& e) {
    std::cerr << "jitwg: " << e.what() << "\n";
    return 1;
  }
}
