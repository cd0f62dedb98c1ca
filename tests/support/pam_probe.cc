// A PAM module for tests: says as text what pam_jitwg.so left behind in the handle, for pam_systemd
// and sshd.
#include <security/pam_ext.h>
#include <security/pam_modules.h>

#include <cstddef>

extern "C" int pam_sm_open_session(pam_handle_t* handle, int, int, const char**) {
  const void* limit = nullptr;
  if (pam_get_data(handle, "systemd.runtime_max_sec", &limit) != PAM_SUCCESS) limit = "none";
  const char* id = pam_getenv(handle, "JITWG_SESSION_ID");
  pam_info(handle, "probe limit=%s id=%s", static_cast<const char*>(limit),
           id == nullptr ? "none" : id);
  return PAM_SUCCESS;
}

extern "C" int pam_sm_close_session(pam_handle_t*, int, int, const char**) { return PAM_SUCCESS; }
