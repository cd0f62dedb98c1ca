// The lines of a watch stream (broker/PROTOCOL.md): rendered by the broker, read by nodes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "broker/session/state.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::node {

// One session as the broker wants it here: open with its grant, or closed for a reason.
struct Entry {
  SessionId session;
  std::optional<ssh::SignedDocument> grant;  // set: open
  CloseReason reason = CloseReason::failed;  // of a closed one
  bool operator==(const Entry&) const = default;
};

struct Update {
  enum class Kind { heartbeat, snapshot, set };
  Kind kind = Kind::heartbeat;
  int64_t revision = 0;
  WallTime now;  // the broker's
  std::vector<Entry> entries;
  bool operator==(const Update&) const = default;
};

std::string render_update(const Update& update);  // without newline
// One bad entry refuses the line: a broker that sends it is broken.
Result<Update> parse_update(std::string_view line);

}  // namespace jitwg::node
