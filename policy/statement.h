// Statements: what people sign (ssh-ca/PROTOCOL.md). Pure: bytes in, typed values out, and back.
// Parsing says nothing about who signed; that is verify_statement()'s part.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/host_names.h"
#include "broker/base/json.h"
#include "broker/base/scope.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "ssh-ca/format/allowed_signers.h"
#include "ssh-ca/format/document.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg {

inline constexpr std::string_view kStatementNamespace = "jitwg";

struct StatementHead {
  std::string realm;
  std::string by;  // the person the signing key belongs to
  WallTime at;
  std::string nonce;  // 32 hex digits
  bool operator==(const StatementHead&) const = default;
};

// What an approval is about: the target as policy resolves it for one person.
struct Access {
  Scope scope;
  std::optional<std::string> login;  // set exactly when there is a jump host
  std::vector<std::string> gateways;
  std::vector<std::string> jump_hosts;
  HostNames names = {};
  bool nat = false;  // the target sees the gateway's address
  bool operator==(const Access&) const = default;
};
json::value render_access(const Access& access);
Result<Access> parse_access(const json::value& value);

struct RequestStatement {
  StatementHead head;
  SessionId session;
  std::string target;
  std::string reason;
  Seconds duration;
  std::string wg_public_key;  // base64, 32 bytes, no weak point
  ssh::PublicKey ssh_public_key;
  std::string token_sha256;  // hex
  std::optional<std::string> ticket;
  std::optional<SessionId> incident;
  bool operator==(const RequestStatement&) const = default;
};

enum class Choice { approve, deny };

struct DecisionStatement {
  StatementHead head;
  SessionId session;
  std::string request_sha256;  // hex, over the request's bytes
  Choice choice;
  Access access;
  std::optional<Seconds> duration;  // shorter than asked
  std::optional<std::string> comment;
  bool operator==(const DecisionStatement&) const = default;
};

// What a revoke, a lock or an unlock is about.
struct Subject {
  enum class Kind { session, person, target, node, incident, all } kind = Kind::all;
  std::string name;  // the session's or incident's ID, the person's, target's or node's name; empty for all
  std::string str() const;  // "person bob", "all"
  auto operator<=>(const Subject&) const = default;
};

// Ends what is there now; what is asked for later is not touched. Any subject.
struct RevokeStatement {
  StatementHead head;
  Subject what;
  std::string reason;
  bool operator==(const RevokeStatement&) const = default;
};

// Ends what is there, and nothing new comes, until it is unlocked. A person, a target, a node, or all.
struct LockStatement {
  StatementHead head;
  Subject what;
  std::string reason;
  bool operator==(const LockStatement&) const = default;
};
struct UnlockStatement {
  StatementHead head;
  Subject what;
  std::string reason;
  bool operator==(const UnlockStatement&) const = default;
};

// Opens access by the rules with during = "incident", to what it names, until its hard end.
struct IncidentOpenStatement {
  StatementHead head;
  SessionId incident;                // made like a session's
  std::vector<std::string> targets;  // names, or "label:x"; sorted, at least one
  std::string reason;
  WallTime until;
  bool operator==(const IncidentOpenStatement&) const = default;
};
struct IncidentExtendStatement {
  StatementHead head;
  SessionId incident;
  WallTime until;
  std::string reason;
  bool operator==(const IncidentExtendStatement&) const = default;
};
struct IncidentCloseStatement {
  StatementHead head;
  SessionId incident;
  std::string reason;
  bool operator==(const IncidentCloseStatement&) const = default;
};
struct IncidentReviewStatement {
  StatementHead head;
  SessionId incident;
  std::string comment;
  bool operator==(const IncidentReviewStatement&) const = default;
};

// One of the people who together open a session without the broker: as an approval, with its reason.
struct BreakGlassStatement {
  StatementHead head;
  SessionId session;
  std::string request_sha256;
  Access access;
  std::string reason;
  bool operator==(const BreakGlassStatement&) const = default;
};

// A node's evidence about a session will never come.
struct WriteOffStatement {
  StatementHead head;
  SessionId session;
  std::string node;
  std::string reason;
  bool operator==(const WriteOffStatement&) const = default;
};

// Read access: a bearer token.
struct LoginStatement {
  StatementHead head;
  std::string token_sha256;
  Seconds read_for;
  bool operator==(const LoginStatement&) const = default;
};

using Statement = std::variant<RequestStatement, DecisionStatement, RevokeStatement, LockStatement, UnlockStatement,
                               IncidentOpenStatement, IncidentExtendStatement, IncidentCloseStatement, IncidentReviewStatement,
                               BreakGlassStatement, WriteOffStatement, LoginStatement>;

const StatementHead& head_of(const Statement& statement);
std::string_view type_of(const Statement& statement);
// The one session that it is about, if it is.
std::optional<SessionId> session_of(const Statement& statement);

// bad_json, duplicate_key, unknown_key, bad_value, unknown_type, unsupported_version, too_large.
Result<Statement> parse_statement(std::string_view body);
std::string render_statement(const Statement& statement);

// A statement whose signature holds and whose signer is the person it names, in this realm, at its own time.
struct VerifiedStatement {
  Statement statement;
  ssh::SignedDocument document;
  std::string digest;  // sha256_hex of the body
  ssh::SignedBy signed_by;
};
// bad_signature, no_touch, wrong_namespace, unknown_person, stale, wrong_key, wrong_realm, clock (more than 5 min ahead of now), and
// parse_statement's. How old it may be is the caller's question.
Result<VerifiedStatement> verify_statement(const ssh::SignedDocument& document, const ssh::AllowedSigners& people,
                                           std::string_view realm, WallTime now);

}  // namespace jitwg
