// jitwg: all that a person does. See contrib/man/jitwg.1.
#include <sodium.h>

#include <csignal>
#include <exception>
#include <iostream>

#include "broker/cli/command.h"

int main(int argc, char** argv) {
  if (sodium_init() < 0) return 1;
  std::signal(SIGPIPE, SIG_IGN);  // a broker that hangs up is an error value, not our death
  try {
    return jitwg::cli::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << "jitwg: " << e.what() << "\n";
    return 1;
  }
}
