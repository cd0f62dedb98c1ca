// `jitwg-gateway status`: what the kernel holds beside the stored grants. Works with no daemon
// running.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/base/json.h"
#include "broker/gateway/plan.h"
#include "broker/session/grant.h"

namespace jitwg::gateway {

struct Stored {
  std::vector<Grant> grants;
  std::set<SessionId> closing;  // those of them that have a tombstone, too
};
// The verified grants in `<state_dir>/grants`. One that cannot be read or does not verify is left
// out and told to stderr. A folder that is not there yet holds none.
Result<Stored> load_stored(const std::string& state_dir, const ssh::CaKeys& ca,
                           const std::string& realm);

// A session, or a peer that no stored grant names. What both lack is unset.
struct StatusRow {
  // opening: a grant so new that the kernel may not hold it yet. missing: a live grant that the
  // kernel does not hold, or not wholly. ended: over for 10 s, and still in the kernel. unknown: nobody's
  // peer with addresses of our pools. foreign: any other.
  enum class State { open, opening, closing, missing, ended, unknown, foreign };
  State state;
  const Grant* grant = nullptr;
  const wireguard::Peer* peer = nullptr;
  std::optional<bool> first_packet;  // has one been let through? Unset: no element to tell it
};
// Sessions by ID, which is by age; then other peers by key. Points into its arguments.
std::vector<StatusRow> make_status(const Observed& observed, const Stored& stored,
                                   const std::vector<Prefix>& pools, WallTime now);
// Nothing is missing, ended or unknown.
bool is_as_granted(const std::vector<StatusRow>& rows);

// [{"state","session","person","target","not_after","time_left","address":[…],"public_key",
// "endpoint","first_packet","last_handshake","rx","tx"}], unset = null; time_left in seconds, rx and
// tx in bytes from and to the person since the peer was put in.
json::array render_status(const std::vector<StatusRow>& rows, WallTime now);
// For people, cut to `width` columns by leaving out what matters least; 0: all.
std::string render_status_table(const std::vector<StatusRow>& rows, WallTime now, size_t width);

}  // namespace jitwg::gateway
