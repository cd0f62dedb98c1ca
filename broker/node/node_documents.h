// What nodes sign (broker/PROTOCOL.md, SSHSIG namespace `jitwg-node`): made here by nodes, checked
// here by the broker. Pure. How fresh `at` must be is the caller's to judge: a node with a bad
// clock may still close.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/json.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::node {

inline constexpr std::string_view kNodeNamespace = "jitwg-node";

struct NodeHead {
  std::string realm;
  std::string node;  // its name in policy
  WallTime at;
  std::string nonce;  // 32 hex digits
  bool operator==(const NodeHead&) const = default;
};

struct Watch {
  NodeHead head;
  int64_t revision = 0;  // the last one held; 0: none
  std::vector<std::string> ca_keys = {};  // the pinned ones, "ssh-ed25519 …"; empty: it does not say
  bool operator==(const Watch&) const = default;
};

enum class Reported { open, closed, refused };
std::string_view name(Reported state);

// What a node says of one session.
struct Finding {
  Reported state = Reported::open;
  std::optional<Code> refusal;     // set exactly when refused
  json::value evidence = nullptr;  // an object exactly when closed
  bool operator==(const Finding&) const = default;
};

struct Report {
  NodeHead head;
  SessionId session;
  Finding finding;
  bool operator==(const Report&) const = default;
};

std::string render_watch(const Watch& watch);
std::string render_report(const Report& report);
Result<Watch> parse_watch(std::string_view body);
Result<Report> parse_report(std::string_view body);

// The key of the node with this name; wrong_node when there is none.
using NodeKeys = std::function<Result<ssh::PublicKey>(std::string_view node)>;

// Signature in the node namespace by the key of the very node it names, and the realm:
// bad_signature, wrong_namespace, wrong_node, wrong_key, wrong_realm, and what parsing says.
Result<Watch> verify_watch(const ssh::SignedDocument& document, std::string_view realm,
                           const NodeKeys& keys);
Result<Report> verify_report(const ssh::SignedDocument& document, std::string_view realm,
                             const NodeKeys& keys);

enum class Role { gateway, jump_host };
// Does the evidence say that nothing is left: {"peer":false,"elements":0,"flows":0}, with or without
// how the tunnel was used ("last_handshake", "rx", "tx"), or {"processes":0}? Anything else, a key
// missing or one too many, does not.
bool proves_closed(Role role, const json::value& evidence);

}  // namespace jitwg::node
