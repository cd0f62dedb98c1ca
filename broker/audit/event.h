// What happened, once, in journald's words (DESIGN §9). Every program of ours that reports an event does it here, so
// that names, fields and MESSAGE_IDs are one closed list. Tiny on purpose: no event loop, no store.
//
// Fields: JITWG_EVENT, JITWG_SESSION_ID, JITWG_PERSON, JITWG_TARGET, JITWG_NODE, JITWG_SEQ, JITWG_CODE, MESSAGE_ID
// (systemd.journal-fields(7)), PRIORITY, and MESSAGE: one line that ends in `session=<id>`, or `session=-`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/session_id.h"

namespace jitwg {

enum class EventName {
  request_submitted, request_decided, request_lapsed, request_cancelled,
  session_opening, session_activated,
  tunnel_opened, tunnel_first_packet, tunnel_closed,
  login_allowed, login_denied, login_opened, login_closed, login_left_behind,
  command_executed, sudo_checked,
  session_closing, session_closed, session_sealed,
  revoke_submitted, lock_set, lock_cleared,
  incident_opened, incident_extended, incident_closed, incident_reviewed,
  policy_loaded, policy_refused, statement_refused,
  node_joined, node_lost, node_back, node_clock,
  audit_read, audit_gap, clock_stepped, break_glass_used, session_written_off, rescue_login,
};
inline constexpr size_t kEventNames = static_cast<size_t>(EventName::rescue_login) + 1;

std::string_view name(EventName event);        // "request.submitted"
std::string_view message_id(EventName event);  // 32 hex digits; never changes for a name
int priority(EventName event);                 // syslog(3) level
Result<EventName> parse_event_name(std::string_view word);

struct Event {
  EventName name;
  std::optional<SessionId> session;
  std::string person, target, node;  // empty: does not apply
  std::optional<Code> code;          // why, where something was refused
  std::string text;                  // one plain sentence; others' words in it are escaped here
  std::optional<uint64_t> seq;       // number in the session's chain; the sink counts the others itself
};

// "KEY=value" each, as sd_journal_sendv(3) takes them; values escaped, so none holds a newline.
std::vector<std::string> render_fields(const Event& event, uint64_t seq);

// Where events go. Never fails towards the caller: an event that cannot be delivered is said on stderr.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void emit(const Event& event) = 0;
};

// journald. When it does not take the entry (not running, socket gone), the same line goes to stderr with the cause.
// One thread.
class JournalSink final : public EventSink {
 public:
  void emit(const Event& event) override;

 private:
  uint64_t count_ = 0;  // since start: a reader sees gaps (journald drops silently at its rate limit)
};

}  // namespace jitwg
