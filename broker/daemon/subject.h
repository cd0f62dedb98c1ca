// Whom and what a revoke, a lock or an unlock is about: does it exist, which sessions are meant, who
// may say so. The signer applies the same statements by the same rules (ssh-ca/signer/apply_rules.cc).
#pragma once

#include <string>
#include <vector>

#include "broker/daemon/change.h"
#include "broker/daemon/rules.h"

namespace jitwg::broker {

// unknown_person, unknown_target, wrong_node, unknown_session, unknown_incident.
Result<void> check_exists(Change& change, const Rules& rules, const Subject& what);

// Is the session of this subject? A request of a node: once a gateway is chosen, or when it is the
// only one that can be.
bool is_about(const Subject& what, const store::Session& session);

// All of it that is not over: pending to active.
Result<std::vector<store::Session>> open_sessions(Change& change, const Subject& what);

// not_permitted.
Result<void> check_may_revoke(Change& change, const Rules& rules, const std::string& by,
                              const Subject& what);
Result<void> check_may_lock(const Rules& rules, const std::string& by, const Subject& what);

// not_permitted, with the right's name.
Result<void> need_right(const Rules& rules, std::string_view right, const std::string& by,
                        const std::string& what);

// locked, saying by whom and why, when the subject is.
Result<void> check_not_locked(const std::vector<store::Lock>& locks, const Subject& what);
// The same for a session and whatever it is of: all, its person, its target.
Result<void> check_session_not_locked(const std::vector<store::Lock>& locks,
                                      const std::string& person, const std::string& target);

}  // namespace jitwg::broker
