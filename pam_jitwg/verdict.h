// What PAM is told, as one pure table: phase × managed × what hostd said. Every path of the module
// ends here, so that "some error path returned PAM_IGNORE" cannot happen (CVE-2025-23013 was one).
// Codes: pam(3).
//
// PAM_IGNORE means "jitwg has no say": only for the unmanaged, and for phases that decide nothing.
// A denial is always PAM_PERM_DENIED: sudo takes PAM_SESSION_ERR from open_session for success.
#pragma once

namespace jitwg::pam {

// The entry points of a service module, pam_sm_authenticate(3) and its siblings.
enum class Entry { authenticate, setcred, account, open, close, chauthtok };

enum class Managed { yes, no };  // there is no third: who cannot be looked up is managed

enum class Said {
  allow,          // hostd: yes
  deny,           // hostd: no
  nothing,        // no answer, half an answer, garbage, not root's socket, out of time
  not_asked,      // nothing was asked: this entry decides without hostd, or the user is unmanaged
  bad_input,      // sshd's side lacks what the question needs (no certificate, no client address)
  misconfigured,  // module arguments that are unknown, repeated, missing or not built
};

int verdict(Entry entry, Managed managed, Said said) noexcept;

}  // namespace jitwg::pam
