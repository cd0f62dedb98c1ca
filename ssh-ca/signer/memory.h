// What the signer remembers from its ledger: requests issued with their answers, keys and nonces seen, addresses given,
// what was revoked, who and what is locked, incidents. Pure: records in, lookups out; replaying the same records gives
// the same memory.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/json.h"
#include "broker/session/address_pool.h"
#include "broker/session/grant.h"
#include "policy/statement.h"

namespace jitwg::signer {

// What was issued for one session.
struct Issued {
  std::string question_sha256;   // over everything that was asked
  json::value answer;            // exactly what was answered
  std::string person, target;
  std::vector<std::string> nodes;  // gateway and jump hosts of the grant
  std::optional<SessionId> incident;
  WallTime requested_at;         // as the requester signed it
  std::set<std::string> people;  // who asked and who approved
};

struct Lock {
  std::string by, reason;
  WallTime at;  // as signed
};

struct Incident {
  std::string opened_by;
  std::vector<std::string> targets;  // names and labels
  WallTime until;
  bool closed = false;
};

class Memory {
 public:
  // One ledger record. corrupt when it is none of ours.
  Result<void> take(const json::value& record);

  const Issued* issued(const SessionId& session) const;
  const Lock* lock(const Subject& what) const;  // null: not locked
  const std::map<Subject, Lock>& locks() const { return locks_; }
  const Incident* incident(const SessionId& id) const;
  // revoked: this was revoked as a whole, when what was requested at `since` was there already.
  Result<void> check_not_revoked(const Subject& what, WallTime since) const;
  // Who revoked this session before it was issued, without a right to: it counts if they turn out to be its own, or an approver.
  const std::set<std::string>* revokers(const SessionId& session) const;
  // locked.
  Result<void> check_not_locked(const Subject& what) const;
  bool key_seen(std::string_view key) const { return keys_.contains(std::string(key)); }
  const AddressUse& addresses() const { return addresses_; }
  WallTime newest() const { return newest_; }  // of any record
  // The digest of the statement that used this nonce, if one did.
  const std::string* nonce_digest(std::string_view nonce) const;
  size_t issued_count() const { return issued_.size(); }

 private:
  Result<void> take_issued(JsonObject& reader);
  Result<void> take_applied(JsonObject& reader, WallTime at);

  std::map<SessionId, Issued> issued_;
  std::map<Subject, WallTime> revoked_;  // when the newest revoke of it was signed, or taken here if that is later
  std::map<SessionId, std::set<std::string>> revokers_;
  std::map<Subject, Lock> locks_;
  std::map<SessionId, Incident> incidents_;
  std::set<std::string> keys_;
  std::map<std::string, std::string> nonces_;
  AddressUse addresses_;
  WallTime newest_{};
};

}  // namespace jitwg::signer
