// What the broker judges by: policy, people and CA key as the signer last gave them. Immutable; a
// refresh makes a new one. The signer judges everything again by its own copy: a broker that lies
// here gains nothing.
#pragma once

#include <memory>
#include <string>

#include "broker/base/json.h"
#include "broker/store/store.h"
#include "policy/decide.h"
#include "policy/policy.h"
#include "policy/statement.h"
#include "ssh-ca/format/allowed_signers.h"
#include "ssh-ca/format/ca_keys.h"

namespace jitwg::broker {

struct Rules {
  Policy policy;
  ssh::AllowedSigners people;
  ssh::CaKeys ca;  // first the one that signs now
  std::string policy_bytes, people_bytes;
  std::string answer;  // the signer's, as JSON: what is kept of it
  SyncedFiles lists = {};  // what policy takes from files on the signer's host

  // The signer's answer to {"op":"policy"}.
  static Result<std::shared_ptr<const Rules>> parse(const json::value& answer);
  // The same with the lists as they count at `now`: those that have become stale are empty.
  std::shared_ptr<const Rules> at(WallTime now) const;

  // The verdict about a session as it was requested: hours are judged at the request, not now.
  Verdict judge(const store::Session& session) const;
  bool may_decide(const store::Session& session, const std::string& person) const;
  bool may_audit(const std::string& person) const { return policy.has_right("audit_read", person); }

  // Null: policy names no such node.
  const ssh::PublicKey* node_key(const std::string& node) const;

  // Has a key that is valid at `at`.
  bool is_known(const std::string& person, WallTime at) const;
  // Did a key begin or end after `from`, up to `to`?
  bool validity_changed(WallTime from, WallTime to) const;

  // A session's key must not be anybody's or anything's standing key: key_reused.
  Result<void> check_session_keys(const RequestStatement& request) const;
};
// Does the verdict's rule count this signature's key? hardware_key_wanted.
Result<void> check_keys(const Verdict& verdict, const VerifiedStatement& verified);
using RulesPtr = std::shared_ptr<const Rules>;

}  // namespace jitwg::broker
