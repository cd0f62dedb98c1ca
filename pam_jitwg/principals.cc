// jitwg-principals USER CERTIFICATE: sshd's AuthorizedPrincipalsCommand (sshd_config(5)), with `%u
// %k`. Prints the one principal that a certificate of a live session has. sshd runs it twice a
// login, as a child of the monitor; hostd remembers the first answer for the monitor, which is how
// PAM's account phase finds it.
//
// What goes to stdout is policy to sshd (a line may even hold options): nothing but an allowed
// session's principal is ever printed there, and any other exit than 0 refuses the login whatever
// was printed.
#include <syslog.h>

#include <cstdio>
#include <cstring>
#include <exception>

#include "pam_jitwg/places.h"

namespace {

using namespace jitwg::pam;

int refuse(const std::string& user, const std::string& why) {
  std::fprintf(stderr, "jitwg-principals: %s\n", why.c_str());
  syslog(LOG_NOTICE, "login of \"%s\" refused: %s", user.c_str(), why.c_str());
  return 1;
}

int run(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0)
    return std::puts("jitwg-principals " JITWG_VERSION) < 0 ? 1 : 0;
  if (argc != 3) {
    std::fputs(
        "usage: jitwg-principals USER CERTIFICATE\n"
        "sshd_config: AuthorizedPrincipalsCommand /usr/lib/jitwg/jitwg-principals %u %k\n",
        stderr);
    return 2;
  }
  openlog("jitwg-principals", LOG_PID, LOG_AUTHPRIV);
  const Question question{Phase::principals, argv[1], argv[2], {}, {}};
  if (!render(question)) return refuse("?", "user or certificate is not as sshd gives them");
  std::string why;
  const auto answer = ask(hostd(), question, kDeadline, why);
  if (!answer) return refuse(question.user, why);
  if (!answer->allow) return refuse(question.user, answer->code + ": " + answer->text);
  return std::printf("jitwg:%s\n", answer->session.c_str()) > 0 && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "jitwg-principals: %s\n", e.what());
    return 1;
  }
}
