// The grant: the signer's signed permission for one session (ssh-ca/PROTOCOL.md). What gateways, jump hosts and
// the CLI act on; they take it only through verify_grant().
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"
#include "broker/base/host_names.h"
#include "broker/base/scope.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "ssh-ca/format/ca_keys.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg {

inline constexpr std::string_view kGrantNamespace = "jitwg-grant";

struct GrantGateway {
  std::string name;
  std::string wireguard_key;  // base64
  Endpoint endpoint;
  bool operator==(const GrantGateway&) const = default;
};

struct GrantJumpHost {
  std::string name;
  std::vector<IpAddress> addresses;
  std::vector<std::string> host_keys;  // "ssh-ed25519 AAAA…"
  bool operator==(const GrantJumpHost&) const = default;
};

struct Grant {
  std::string realm;
  SessionId session;
  std::string person;
  std::string target;
  std::optional<std::string> login;  // set exactly when there is a jump host
  std::string wg_public_key;         // base64, 32 bytes
  std::vector<Prefix> address;       // inner addresses, one host each
  Scope scope;
  GrantGateway gateway;
  std::vector<GrantJumpHost> jump_hosts;
  std::optional<std::string> certificate_sha256;  // hex; set exactly when there is a jump host
  std::optional<std::string> serial;              // decimal
  WallTime not_before;
  WallTime not_after;
  std::string policy_sha256;
  std::optional<SessionId> incident;
  bool break_glass = false;
  HostNames names = {};  // of addresses in the scope
  bool nat = false;      // the gateway gives its own address to all that the target sees, never to a jump host's SSH

  bool operator==(const Grant&) const = default;
};

std::string render_grant(const Grant& grant);
// Strict; bad_json, unknown_key, bad_value …
Result<Grant> parse_grant(std::string_view body);

// Signature by one of `ca` in the grant namespace, then parse_grant, then realm: bad_signature, foreign_grant (another CA),
// wrong_realm. Times and node names are the caller's to judge.
Result<Grant> verify_grant(const ssh::SignedDocument& document, const ssh::CaKeys& ca, std::string_view realm);

}  // namespace jitwg
