// The commands of jitwg-signer that root gives by hand on its host: `init`, `person add`, `person retire`,
// `apply`, `doctor`.
#pragma once

#include <vector>

#include "broker/os/config.h"

namespace jitwg::signer {

// The ledger, the CA key, a policy that opens nothing, an empty list of people, signer.conf. Refuses to make a ledger for
// a CA key that has signed already: an empty one would forget who was revoked.
Result<void> init(const Config& config, const std::vector<Option>& options);

// `person add NAME [KEYFILE|-]`: a line for the public key in the file or on stdin.
Result<void> add_person(const Config& config);
// `person retire NAME [KEYFILE|-|SHA256:…]`: all keys of the person, or that one, end now.
Result<void> retire_person(const Config& config);

// `apply FILE|-`: gives the running signer a signed revoke, lock, unlock, or incident_open, _extend or _close.
Result<void> apply(const Config& config);

// What must be true on the signer's host, told. Reads only, also while the signer runs.
Result<void> doctor(const Config& config);

}  // namespace jitwg::signer
