#include "pam_jitwg/verdict.h"

#include <security/_pam_types.h>

namespace jitwg::pam {

int verdict(Entry entry, Managed managed, Said said) noexcept {
  // Setting credentials and changing a password grant no login, and sshd ignores what setcred
  // returns.
  const bool decides =
      entry == Entry::authenticate || entry == Entry::account || entry == Entry::open;
  if (entry == Entry::close) {
    if (said == Said::misconfigured) return PAM_SESSION_ERR;
    if (managed == Managed::no) return PAM_IGNORE;
    return said == Said::allow ? PAM_SUCCESS : PAM_SESSION_ERR;
  }
  // A line that we do not understand may be the one that was to protect: nobody passes, managed or
  // not.
  if (said == Said::misconfigured) return PAM_PERM_DENIED;
  if (!decides || managed == Managed::no) return PAM_IGNORE;
  // A publickey login never comes through authenticate. A managed person who does brings a
  // password, or the like, and no certificate: not a way in, whatever the other modules of the
  // stack think of it.
  if (entry == Entry::authenticate) return PAM_AUTH_ERR;
  return said == Said::allow ? PAM_SUCCESS : PAM_PERM_DENIED;
}

}  // namespace jitwg::pam
