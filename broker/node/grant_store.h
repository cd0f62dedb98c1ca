// A node's memory on disk: grants it holds and sessions it has closed, so that it serves without a
// broker and never admits a closed session again. `<dir>/grants/ID.json` is the signed document,
// `<dir>/tombstones/ID.json` a Tombstone. Each file is whole or absent (broker/os/file.h).
#pragma once

#include <string>
#include <vector>

#include "broker/base/json.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "broker/session/state.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::node {

// Written when closing is decided, completed when the machine has been read back: a crash in
// between never lets the session open again.
struct Tombstone {
  SessionId session;
  WallTime not_after;
  CloseReason reason = CloseReason::failed;
  json::value evidence = nullptr;  // null: not read back yet
  bool reported = false;           // the broker has accepted the evidence
  bool operator==(const Tombstone&) const = default;
};

std::string render_tombstone(const Tombstone& tombstone);
Result<Tombstone> parse_tombstone(std::string_view text);

class GrantStore {
 public:
  // Makes the directories, 0700.
  static Result<GrantStore> open(const std::string& state_dir);

  struct StoredGrant {
    SessionId session;  // as the file is named; the document is not verified yet
    ssh::SignedDocument document;
  };
  struct Contents {
    std::vector<StoredGrant> grants;
    std::vector<Tombstone> tombstones;
    // Sessions whose tombstone is there and cannot be read: closed, that much is certain.
    std::vector<SessionId> damaged_tombstones;
  };
  // A damaged file costs itself only, with a loud log line each.
  Result<Contents> load() const;

  Result<void> store_grant(const SessionId& session, const ssh::SignedDocument& document) const;
  Result<void> remove_grant(const SessionId& session) const;
  Result<void> store_tombstone(const Tombstone& tombstone) const;
  Result<void> remove_tombstone(const SessionId& session) const;

 private:
  explicit GrantStore(const std::string& state_dir);
  std::string grants_;
  std::string tombstones_;
};

}  // namespace jitwg::node
