// `jitwg-gateway status`: the kernel's peers beside the stored grants. Works with no daemon
// running.
#pragma once

#include <string>
#include <vector>

#include "broker/base/json.h"
#include "broker/gateway/wireguard.h"
#include "broker/session/grant.h"

namespace jitwg::gateway {

// The verified grants in `<state_dir>/grants`. One that cannot be read or does not verify is left
// out and told to stderr. A folder that is not there yet holds none.
Result<std::vector<Grant>> load_grants(const std::string& state_dir, const ssh::CaKeys& ca,
                                       const std::string& realm);

// [{"session","public_key","address":[…],"not_after","person","target","last_handshake","rx","tx"}],
// one a peer the kernel holds; of a peer that no grant names, session, not_after, person and target
// are null.
json::array render_status(const wireguard::Interface& interface, const std::vector<Grant>& grants);
// The same for people, with the time that is left.
std::string render_status_table(const wireguard::Interface& interface,
                                const std::vector<Grant>& grants, WallTime now);

}  // namespace jitwg::gateway
