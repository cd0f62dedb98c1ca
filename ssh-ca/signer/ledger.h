// The signer's append-only record. Nothing leaves the signer before the record of it is on disk. What it remembers from
// it is memory.h's. Format: ssh-ca/PROTOCOL.md.
#pragma once

#include <string>

#include "broker/base/error.h"
#include "broker/base/json.h"
#include "broker/os/fd.h"
#include "ssh-ca/signer/memory.h"

namespace jitwg::signer {

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
  bool broken_ = false;  // a sync failed
};

}  // namespace jitwg::signer
