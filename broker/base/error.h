// The one error type. A function that can fail returns Result<T>; nothing throws across a library's edge.
//
// `Code` is the closed list of reasons, the same word in the API, the CLI's --json, PAM answers and
// events. `Kind` says what the caller should do, and exit code and HTTP status are total functions of it.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace jitwg {

enum class Kind {
  usage,            // the caller's input is off: mend it and call again
  not_found,        // no such thing
  unauthenticated,  // prove who you are first
  denied,           // understood and refused; asking again the same way will not help
  conflict,         // contradicts what already is
  too_much,         // over a limit
  pending,          // not yet
  ended,            // over, otherwise than by this person
  unavailable,      // a part is away: try again
  internal,         // our fault, or the machine's
};

enum class Code {
  // usage
  bad_argument, bad_config, bad_json, duplicate_key, unknown_key, bad_value, bad_time,
  unsupported_version, unknown_type, unknown_message, bad_policy, bad_allowed_signers, bad_key,
  bad_certificate, bad_signature_format, ambiguous_id,
  // not_found
  unknown_session, unknown_incident, unknown_path,
  // unauthenticated
  bad_token,
  // denied
  unknown_person, wrong_key, bad_signature, no_touch, wrong_namespace, wrong_realm, self_approval, not_approver,
  already_decided, unknown_target, no_rule, denied_by_rule, outside_hours, duration_over_limit,
  not_permitted, scope_changed, approvals_missing, wrong_request, bad_order, stale, clock_behind,
  key_reused, revoked, locked, replay, foreign_certificate, wrong_user, wrong_address, wrong_node,
  not_live, foreign_grant, address_taken, clock, decision_denied, no_incident, untrusted_broker,
  hardware_key_wanted,
  // conflict
  wrong_state, policy_changed,
  // too_much
  too_large, too_many_requests, too_many_activations, pool_exhausted,
  gateway_full,
  // pending
  still_pending,
  // ended
  session_ended,
  // unavailable
  no_gateway, no_jump_host, signer_unavailable, broker_unavailable, hostd_unavailable, not_confirmed,
  timeout, stale_replica,
  // internal
  io, corrupt, unsafe_file, system, bug,
};

// snake_case name as it stands in JSON and events; never empty.
std::string_view name(Code code);
// Inverse of name(); unknown words are no code.
tl::expected<Code, std::string> parse_code(std::string_view word);
Kind kind(Code code);
int exit_code(Kind kind);    // DESIGN §12: 0 done … 6 still pending
int http_status(Kind kind);  // RFC 9110

struct Error {
  Code code;
  std::string message;  // one sentence: what is wrong
  std::string hint;     // what to do about it; may be empty

  // "code: message (hint)" on one line, for logs and terminals.
  std::string render() const;
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Code code, std::string message, std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(hint)});
}
// Puts "where: " in front of the message, keeping code and hint.
tl::unexpected<Error> within(std::string_view where, Error error);
// errno as an error of code `io`: "what: strerror".
tl::unexpected<Error> fail_errno(std::string_view what, int error_number);

// A broken invariant of ours: says so on stderr and aborts, in every build. Never for input.
#define JITWG_CHECK(condition) \
  ((condition) ? (void)0 : ::jitwg::check_failed(#condition, __FILE__, __LINE__))
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

// Returns the error of a failed Result from the enclosing function; otherwise yields nothing.
#define JITWG_TRY(expression)                                                          \
  do {                                                                                 \
    if (auto jitwg_try_result = (expression); !jitwg_try_result)                       \
      return ::tl::unexpected<::jitwg::Error>(std::move(jitwg_try_result.error()));    \
  } while (false)
#define JITWG_TRY_JOIN2(a, b) a##b
#define JITWG_TRY_JOIN(a, b) JITWG_TRY_JOIN2(a, b)
// JITWG_ASSIGN(auto x, f()): declares x from the value, or returns the error.
#define JITWG_ASSIGN(declaration, expression) \
  JITWG_ASSIGN_AS(JITWG_TRY_JOIN(jitwg_result_, __LINE__), declaration, expression)
#define JITWG_ASSIGN_AS(result, declaration, expression)                        \
  auto result = (expression);                                                   \
  if (!result) return ::tl::unexpected<::jitwg::Error>(std::move(result.error())); \
  declaration = std::move(*result)

}  // namespace jitwg
