// pam_jitwg.so: asks jitwg-hostd about managed people who log in through sshd, act through sudo and
// su, or have cron and at run something. The phases and what sshd does with them: PROTOCOL.md; what
// comes out: verdict.h. Linux-PAM's side: pam(3), pam_sm_open_session(3).
#define PAM_SM_AUTH
#define PAM_SM_ACCOUNT
#define PAM_SM_SESSION
#define PAM_SM_PASSWORD
#include <fcntl.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <syslog.h>

#include <cstdlib>
#include <cstring>
#include <ctime>

#include "pam_jitwg/login.h"
#include "pam_jitwg/places.h"
#include "pam_jitwg/verdict.h"

namespace jitwg::pam {
namespace {

constexpr char kRefused[] =
    "jitwg: this host cannot check your session now. Try again in a minute, or tell its owner";
constexpr char kNoCertificate[] =
    "jitwg: this login did not use a jitwg certificate only. Log in with: jitwg ssh TARGET";

struct Call {
  pam_handle_t* handle;
  Entry entry;
  bool silent;
  Arguments arguments;
};

std::string item(pam_handle_t* handle, int type) {
  const void* value = nullptr;
  if (pam_get_item(handle, type, &value) != PAM_SUCCESS || value == nullptr) return {};
  return static_cast<const char*>(value);
}

// Only what sshd itself put into the PAM environment; never getenv(), which may be the person's.
std::string_view environment(pam_handle_t* handle, const char* name) {
  const char* value = pam_getenv(handle, name);
  if (value == nullptr) return {};
  return {value, strnlen(value, kAuthInfoBytes + 1)};  // sshd sets no limit of its own
}

void tell(const Call& call, bool is_error, const std::string& text) {
  // sudo asks for silence (sudoers' pam_silent), but who is refused must read why.
  const bool silent = call.silent && !(is_error && call.arguments.mode == Mode::sudo);
  if (silent || text.empty()) return;
  pam_prompt(call.handle, is_error ? PAM_ERROR_MSG : PAM_TEXT_INFO, nullptr, "%s", text.c_str());
}

// The login's environment and hard end. systemd ignores a limit it cannot read, so what is set here
// is a plain positive number or the login fails.
bool mark_session(const Call& call, const Answer& answer) {
  const int64_t left = answer.not_after - static_cast<int64_t>(time(nullptr));
  if (left <= 0) return false;
  if (pam_putenv(call.handle, ("JITWG_SESSION_ID=" + answer.session).c_str()) != PAM_SUCCESS)
    return false;
  char* limit = strdup(std::to_string(left).c_str());
  const auto cleanup = [](pam_handle_t*, void* data, int) { std::free(data); };
  if (limit == nullptr ||
      pam_set_data(call.handle, "systemd.runtime_max_sec", limit, cleanup) != PAM_SUCCESS) {
    std::free(limit);
    return false;
  }
  tell(call, false, answer.text);  // the time left
  return true;
}

// An sshd that was started from a login of the same user has its audit session, and pam_loginuid
// leaves a loginuid that is right. The kernel gives a new one to whoever writes its loginuid; where
// we may not (CAP_AUDIT_CONTROL), hostd does without.
void own_audit_session() {
  const auto parents = read_loginuid("/proc/" + std::to_string(getppid()) + "/sessionid");
  const auto uid = read_loginuid(loginuid_file());
  if (!uid || !parents || parents != read_loginuid("/proc/self/sessionid")) return;
  const int fd = ::open(loginuid_file().c_str(), O_WRONLY | O_CLOEXEC);
  if (fd >= 0) ::dprintf(fd, "%u", *uid), ::close(fd);
}

// Name, and whether managed. sudo and su: who runs them, by the kernel, for PAM_USER and PAM_RUSER
// are one or the other's choice. Everything else: whose login or job it is.
std::pair<std::string, bool> person_of(const Call& call) {
  std::string why;
  const Accounts accounts = load_accounts(managed_files(), &why);
  if (!why.empty()) pam_syslog(call.handle, LOG_WARNING, "%s", why.c_str());
  const std::string user = item(call.handle, PAM_USER);
  if (call.arguments.mode == Mode::login) return {user, accounts.is_managed(user)};
  const auto loginuid = read_loginuid(loginuid_file());
  if (call.arguments.mode == Mode::job) {
    const bool system = is_system(find_uid(accounts.passwd, user), loginuid);
    return {user, !system && accounts.is_managed(user)};
  }
  const uid_t uid = caller();
  return {find_name(accounts.passwd, uid), needs_session(accounts, uid, loginuid)};
}

Phase phase_of(Mode mode, Entry entry) {
  if (entry == Entry::close) return Phase::close;
  if (entry == Entry::open) return mode == Mode::job ? Phase::job_open : Phase::open;
  return mode == Mode::login ? Phase::account : mode == Mode::sudo ? Phase::sudo : Phase::job;
}

Said ask_hostd(const Call& call, const std::string& user) {
  const Phase phase = phase_of(call.arguments.mode, call.entry);
  const auto refuse = [&](Said said, const std::string& why, const std::string& text = kRefused) {
    pam_syslog(call.handle, said == Said::deny ? LOG_NOTICE : LOG_ERR, "%s of \"%s\" refused: %s",
               name(phase).data(), user.c_str(), why.c_str());
    tell(call, true, text);
    return said;
  };
  Question question{phase, user, {}, {}, {}};
  if (has_service(phase)) question.service = item(call.handle, PAM_SERVICE);
  if (phase == Phase::open) {
    const auto certificate = certificate_of(environment(call.handle, "SSH_AUTH_INFO_0"));
    if (!certificate)
      return refuse(Said::bad_input, "no certificate, or more than one method", kNoCertificate);
    question.certificate = *certificate;
    question.client = first_word(environment(call.handle, "SSH_CONNECTION"));
    if (question.client.empty())
      return refuse(Said::bad_input, "sshd did not name the client's address");
    own_audit_session();
  }
  std::string why;
  const auto answer = ask(hostd(), question, kDeadline, why);
  if (!answer) return refuse(Said::nothing, why);
  if (call.arguments.debug)
    pam_syslog(call.handle, LOG_DEBUG, "%s of \"%s\": %s", name(phase).data(), user.c_str(),
               answer->code.c_str());
  if (!answer->allow) {
    why = answer->code + ": " + answer->text + " session=" + answer->session;
    return refuse(Said::deny, why, answer->text);
  }
  if (call.entry == Entry::open && !mark_session(call, *answer))
    return refuse(Said::bad_input, "the session has ended, or memory has");
  return Said::allow;
}

int decide(Call& call, int argc, const char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments) {
    pam_syslog(call.handle, LOG_ERR,
               "arguments are mode=login, sudo or job, and debug, each once: all are refused");
    tell(call, true, kRefused);
    return verdict(Mode::login, call.entry, Managed::yes, Said::misconfigured);
  }
  call.arguments = *arguments;
  const auto [user, is_managed] = person_of(call);
  const bool asking = is_managed && asks(arguments->mode, call.entry);
  const Said said = asking ? ask_hostd(call, user) : Said::not_asked;
  return verdict(arguments->mode, call.entry, is_managed ? Managed::yes : Managed::no, said);
}

// The barrier: what leaves here with an exception would end sshd's monitor, and a newer sshd then
// penalises the address of whoever logged in.
int guarded(Entry entry, pam_handle_t* handle, int flags, int argc, const char** argv) noexcept {
  try {
    Call call{handle, entry, (flags & PAM_SILENT) != 0, {}};
    return decide(call, argc, argv);
  } catch (...) {
    return verdict(Mode::login, entry, Managed::yes, Said::nothing);
  }
}

}  // namespace
}  // namespace jitwg::pam

#define JITWG_ENTRY(function, entry)                                                              \
  extern "C" __attribute__((visibility("default"))) int function(pam_handle_t* handle, int flags, \
                                                                 int argc, const char** argv) {   \
    return jitwg::pam::guarded(jitwg::pam::Entry::entry, handle, flags, argc, argv);              \
  }

JITWG_ENTRY(pam_sm_authenticate, authenticate)
JITWG_ENTRY(pam_sm_setcred, setcred)
JITWG_ENTRY(pam_sm_acct_mgmt, account)
JITWG_ENTRY(pam_sm_open_session, open)
JITWG_ENTRY(pam_sm_close_session, close)
JITWG_ENTRY(pam_sm_chauthtok, chauthtok)
