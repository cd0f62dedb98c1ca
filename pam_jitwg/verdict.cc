#include "pam_jitwg/verdict.h"

#include <security/_pam_types.h>

namespace jitwg::pam {

bool asks(Mode mode, Entry entry) noexcept {
  if (entry == Entry::account) return true;
  return mode != Mode::sudo && (entry == Entry::open || entry == Entry::close);
}

int verdict(Mode mode, Entry entry, Managed managed, Said said) noexcept {
  // A line that we do not understand may be the one that was to protect: nobody passes, managed or
  // not.
  if (said == Said::misconfigured) return entry == Entry::close ? PAM_SESSION_ERR : PAM_PERM_DENIED;
  if (managed == Managed::no) return PAM_IGNORE;
  // A publickey login never comes through authenticate. A managed person who does brings a
  // password, or the like, and no certificate: not a way in, whatever the other modules of the
  // stack think of it.
  if (entry == Entry::authenticate && mode != Mode::sudo) return PAM_AUTH_ERR;
  if (!asks(mode, entry)) return PAM_IGNORE;
  if (said == Said::allow) return PAM_SUCCESS;
  return entry == Entry::close ? PAM_SESSION_ERR : PAM_PERM_DENIED;
}

}  // namespace jitwg::pam
