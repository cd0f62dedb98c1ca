// Who may read what: the request's own token reads that session; a login token reads one's own
// sessions, those one may decide or has decided, and with `audit_read` all. What one may not read
// does not exist for one.
#pragma once

#include <string>

#include "broker/daemon/change.h"
#include "broker/daemon/rules.h"

namespace jitwg::broker {

// The person of a login token that still holds: bad_token, locked.
Result<std::string> reader_of(Change& change, const Rules& rules, const std::string& bearer);

// By either token: bad_token, unknown_session. A reading that only `audit_read` allows is an event.
Result<store::Session> read_session(Change& change, const Rules& rules, const std::string& bearer,
                                    const SessionId& id);
// By the request's own token only: bad_token.
Result<store::Session> own_session(Change& change, const std::string& bearer, const SessionId& id);

Result<json::value> list_sessions(Change& change, const Rules& rules, const std::string& bearer,
                                  bool live_only);
Result<json::value> list_pending(Change& change, const Rules& rules, const std::string& bearer);
// The signed documents of a session, and the access an approver would sign now.
Result<json::value> request_json(Change& change, const Rules& rules, const std::string& bearer,
                                 const SessionId& id);

// Locks that hold, and incidents: any person's to read. An incident's sessions as far as one may read them.
Result<json::value> list_locks(Change& change, const Rules& rules, const std::string& bearer);
Result<json::value> list_incidents(Change& change, const Rules& rules, const std::string& bearer);
Result<json::value> read_incident(Change& change, const Rules& rules, const std::string& bearer,
                                  const SessionId& id);

// What a revoke or lock of this would end: for those who may sign one. not_permitted.
Result<json::value> list_affected(Change& change, const Rules& rules, const std::string& bearer,
                                  const Subject& what);

// All that is on record of a session, for `jitwg export`: who may read the session may read this.
Result<json::value> export_session(Change& change, const Rules& rules, const std::string& bearer,
                                   const SessionId& id);

}  // namespace jitwg::broker
