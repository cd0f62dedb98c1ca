// A node's memory on disk: grants it holds and sessions it has closed, so that it serves without a
// broker and never admits a closed session again. `<dir>/grants/ID.json` is the signed document and
// when it was taken, `<dir>/tombstones/ID.json` a Tombstone, `<dir>/boot.json` the clocks at the first
// start in this boot. Each file is whole or absent (broker/os/file.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/base/json.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "broker/node/clock_mark.h"
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

// A file in `<dir>/grants`: the signed document, with one more key.
struct StoredGrant {
  ssh::SignedDocument document;            // not verified yet
  std::optional<ClockMark> taken = {};  // unset: by a version that did not say
};
Result<StoredGrant> read_grant(const std::string& path);

class GrantStore {
 public:
  // Makes the directories, 0700.
  static Result<GrantStore> open(const std::string& state_dir);

  struct Contents {
    std::map<SessionId, StoredGrant> grants;  // as the files are named
    std::vector<Tombstone> tombstones;
    // Sessions whose tombstone is there and cannot be read: closed, that much is certain.
    std::vector<SessionId> damaged_tombstones;
  };
  // A damaged file costs itself only, with a loud log line each.
  Result<Contents> load() const;

  // What the clocks said at the first start in this boot: `now` when this is it. Written at each
  // start: an error says that nothing can be, and maybe could not be before.
  Result<ClockMark> first_mark(const ClockMark& now) const;

  Result<void> store_grant(const SessionId& session, const StoredGrant& grant) const;
  Result<void> remove_grant(const SessionId& session) const;
  Result<void> store_tombstone(const Tombstone& tombstone) const;
  Result<void> remove_tombstone(const SessionId& session) const;

 private:
  explicit GrantStore(const std::string& state_dir);
  std::string grants_;
  std::string tombstones_;
  std::string boot_;
};

}  // namespace jitwg::node
