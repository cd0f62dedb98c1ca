// The signer's append-only record, and what it remembers from it: requests issued with their answers, keys and nonces
// seen, addresses given, sessions revoked. Nothing leaves the signer before the record of it is on disk.
// Format: ssh-ca/PROTOCOL.md.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "broker/base/error.h"
#include "broker/base/json.h"
#include "broker/os/fd.h"
#include "broker/session/address_pool.h"
#include "broker/session/grant.h"
#include "policy/statement.h"

namespace jitwg::signer {

// What was issued for one session.
struct Issued {
  std::string question_sha256;  // over everything that was asked
  json::value answer;           // exactly what was answered
  std::set<std::string> people; // who asked and who approved
};

// The memory. Pure: records in, lookups out. Replaying the same records gives the same memory.
class Memory {
 public:
  // One ledger record. corrupt when it is none of ours.
  Result<void> take(const json::value& record);

  const Issued* issued(const SessionId& session) const;
  bool is_revoked(const SessionId& session) const { return revoked_.contains(session); }
  bool key_seen(std::string_view key) const { return keys_.contains(std::string(key)); }
  const AddressUse& addresses() const { return addresses_; }
  WallTime newest() const { return newest_; }  // of any record
  // The digest of the statement that used this nonce, if one did.
  const std::string* nonce_digest(std::string_view nonce) const;
  size_t issued_count() const { return issued_.size(); }

 private:
  Result<void> take_issued(JsonObject& reader);
  Result<void> take_applied(JsonObject& reader);

  std::map<SessionId, Issued> issued_;
  std::set<SessionId> revoked_;
  std::set<std::string> keys_;
  std::map<std::string, std::string> nonces_;
  AddressUse addresses_;
  WallTime newest_{};
};

// What a ledger holds, without a lock and without mending it: also while a signer uses it. corrupt, io.
Result<Memory> read_ledger(const std::string& path);

class Ledger {
 public:
  // Opens, replays everything, cuts a torn last line off (and says so in `repaired`). corrupt on any other
  // damage, io when there is none: starting with an empty one would forget who was revoked. Takes a lock, so that two signers never share one ledger.
  static Result<Ledger> open(const std::string& path);

  const Memory& memory() const { return memory_; }
  bool repaired() const { return repaired_; }
  // Remembers at once; durable after the next sync(). The caller withholds answers until then.
  Result<void> append(const json::value& record);
  // write + fdatasync of all appended. After a failure the ledger is unusable: memory is ahead of the disk.
  Result<void> sync();

 private:
  Ledger(Fd fd, std::string head) : fd_(std::move(fd)), head_(std::move(head)) {}
  Fd fd_;
  std::string head_;     // hash of the last line, hex
  std::string pending_;  // lines not yet written
  Memory memory_;
  bool repaired_ = false;
};

}  // namespace jitwg::signer
