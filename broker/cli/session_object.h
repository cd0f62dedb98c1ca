// The session object as the broker tells it (broker/PROTOCOL.md, DESIGN §12), read with suspicion:
// it is news, never permission. Permission is the grant's (verify.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/base/host_names.h"
#include "broker/base/json.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "broker/session/state.h"

namespace jitwg::cli {

struct Approval {
  std::string person;
  bool approved = false;
  WallTime at;
  std::optional<std::string> comment;
};

struct SessionObject {
  SessionId session;
  State state = State::pending;
  std::optional<CloseReason> close_reason;
  std::string person, target, reason;
  Seconds duration{};
  std::optional<std::string> ticket, login, gateway, incident;
  std::vector<std::string> jump_hosts, address, scope;
  HostNames names;
  WallTime requested_at;
  std::optional<WallTime> not_before, not_after;
  std::vector<Approval> approvals;
  json::object all;  // for --json: every documented key in its order, unset = null, nothing else

  // Is over, or on its way there.
  bool is_ending() const { return is_final(state) || state == State::closing; }
};

// `corrupt` when it is not what the protocol says. Keys that a newer broker adds are passed over.
Result<SessionObject> parse_session_object(const json::value& value);
Result<std::vector<SessionObject>> parse_session_objects(const json::value& value);

json::array objects_of(const std::vector<SessionObject>& sessions);  // their `all`, for --json

// Why nothing more can be done with it, as an error that carries the right exit code:
// decision_denied and not_permitted (denied), session_ended (others). Nothing for sessions that may
// still become or are active.
std::optional<Error> refusal_of(const SessionObject& session);

}  // namespace jitwg::cli
