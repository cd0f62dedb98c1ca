#include "broker/base/error.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "broker/base/encoding.h"

namespace jitwg {
namespace {

struct Row {
  Code code;
  std::string_view name;
  Kind kind;
};

#define ROW(code, kind) Row{Code::code, #code, Kind::kind}
constexpr std::array kRows = {
    ROW(bad_argument, usage),
    ROW(bad_config, usage),
    ROW(bad_json, usage),
    ROW(duplicate_key, usage),
    ROW(unknown_key, usage),
    ROW(bad_value, usage),
    ROW(bad_time, usage),
    ROW(unsupported_version, usage),
    ROW(unknown_type, usage),
    ROW(unknown_message, usage),
    ROW(bad_policy, usage),
    ROW(bad_allowed_signers, usage),
    ROW(bad_key, usage),
    ROW(bad_certificate, usage),
    ROW(bad_signature_format, usage),
    ROW(ambiguous_id, usage),
    ROW(unknown_session, not_found),
    ROW(unknown_incident, not_found),
    ROW(unknown_path, not_found),
    ROW(bad_token, unauthenticated),
    ROW(unknown_person, denied),
    ROW(wrong_key, denied),
    ROW(bad_signature, denied),
    ROW(no_touch, denied),
    ROW(wrong_namespace, denied),
    ROW(wrong_realm, denied),
    ROW(self_approval, denied),
    ROW(not_approver, denied),
    ROW(already_decided, denied),
    ROW(unknown_target, denied),
    ROW(no_rule, denied),
    ROW(denied_by_rule, denied),
    ROW(outside_hours, denied),
    ROW(duration_over_limit, denied),
    ROW(not_permitted, denied),
    ROW(scope_changed, denied),
    ROW(approvals_missing, denied),
    ROW(wrong_request, denied),
    ROW(bad_order, denied),
    ROW(stale, denied),
    ROW(clock_behind, denied),
    ROW(key_reused, denied),
    ROW(revoked, denied),
    ROW(locked, denied),
    ROW(replay, denied),
    ROW(foreign_certificate, denied),
    ROW(wrong_user, denied),
    ROW(wrong_address, denied),
    ROW(wrong_node, denied),
    ROW(not_live, denied),
    ROW(foreign_grant, denied),
    ROW(address_taken, denied),
    ROW(clock, denied),
    ROW(decision_denied, denied),
    ROW(no_incident, denied),
    ROW(untrusted_broker, denied),
    ROW(hardware_key_wanted, denied),
    ROW(wrong_state, conflict),
    ROW(policy_changed, conflict),
    ROW(too_large, too_much),
    ROW(too_many_requests, too_much),
    ROW(too_many_activations, too_much),
    ROW(pool_exhausted, too_much),
    ROW(gateway_full, too_much),
    ROW(still_pending, pending),
    ROW(session_ended, ended),
    ROW(no_gateway, unavailable),
    ROW(no_jump_host, unavailable),
    ROW(signer_unavailable, unavailable),
    ROW(broker_unavailable, unavailable),
    ROW(hostd_unavailable, unavailable),
    ROW(not_confirmed, unavailable),
    ROW(timeout, unavailable),
    ROW(stale_replica, unavailable),
    ROW(io, internal),
    ROW(corrupt, internal),
    ROW(unsafe_file, internal),
    ROW(system, internal),
    ROW(bug, internal),
};
#undef ROW

// Row i describes code i, and none is missing: a code without a kind cannot be built.
constexpr bool in_order() {
  for (size_t i = 0; i < kRows.size(); ++i)
    if (static_cast<size_t>(kRows[i].code) != i) return false;
  return kRows.size() == static_cast<size_t>(Code::bug) + 1;
}
static_assert(in_order());

const Row& row(Code code) {
  JITWG_CHECK(static_cast<size_t>(code) < kRows.size());
  return kRows[static_cast<size_t>(code)];
}

}  // namespace

std::string_view name(Code code) { return row(code).name; }

tl::expected<Code, std::string> parse_code(std::string_view word) {
  for (const Row& r : kRows)
    if (r.name == word) return r.code;
  return tl::unexpected<std::string>("unknown code");
}

Kind kind(Code code) { return row(code).kind; }

int exit_code(Kind kind) {
  switch (kind) {
    case Kind::usage:
    case Kind::not_found: return 2;
    case Kind::unauthenticated:
    case Kind::denied:
    case Kind::conflict:
    case Kind::too_much: return 3;
    case Kind::pending: return 6;
    case Kind::ended: return 4;
    case Kind::unavailable: return 5;
    case Kind::internal: return 1;
  }
  return 1;
}

int http_status(Kind kind) {
  switch (kind) {
    case Kind::usage: return 400;
    case Kind::not_found: return 404;
    case Kind::unauthenticated: return 401;
    case Kind::denied: return 403;
    case Kind::conflict:
    case Kind::pending: return 409;
    case Kind::too_much: return 429;
    case Kind::ended: return 410;
    case Kind::unavailable: return 503;
    case Kind::internal: return 500;
  }
  return 500;
}

std::string Error::render() const {
  std::string text = std::string(name(code)) + ": " + message;
  if (!hint.empty()) text += " (" + hint + ")";
  return printable(text);  // what it quotes may be anybody's
}

tl::unexpected<Error> within(std::string_view where, Error error) {
  error.message = std::string(where) + ": " + error.message;
  return tl::unexpected<Error>(std::move(error));
}

tl::unexpected<Error> fail_errno(std::string_view what, int error_number) {
  return fail(Code::io, std::string(what) + ": " + std::strerror(error_number));
}

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "jitwg: broken invariant at %s:%d: %s\n", file, line, condition);
  std::abort();
}

}  // namespace jitwg
