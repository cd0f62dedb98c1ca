// What PAM is told, as one pure table: mode × phase × managed × what hostd said. Every path of the
// module ends here, so that "some error path returned PAM_IGNORE" cannot happen (CVE-2025-23013 was
// one). Codes: pam(3).
//
// PAM_IGNORE means "jitwg has no say": only for the unmanaged, and for phases that decide nothing.
// A denial is always PAM_PERM_DENIED: sudo takes PAM_SESSION_ERR from open_session for success.
//
//  phase         | mode=login          | mode=job            | mode=sudo
//  --------------+---------------------+---------------------+-------------------------------
//  authenticate  | a password: never   | never               | others' matter: no say
//  account       | decides             | decides             | decides: also for -v and -l
//  open          | decides, and binds  | decides, and binds  | no say: what runs is bound already
//  close         | its end is noted    | its end is noted    | no say
//  setcred, chauthtok: no say, for they grant no login, and sshd ignores what setcred returns
#pragma once

namespace jitwg::pam {

// What the PAM line says that the service is.
enum class Mode { login, sudo, job };

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

// Does this entry of a managed person's ask hostd at all?
bool asks(Mode mode, Entry entry) noexcept;
int verdict(Mode mode, Entry entry, Managed managed, Said said) noexcept;

}  // namespace jitwg::pam
