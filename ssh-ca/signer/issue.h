// From a permit to the signed pair: certificate and grant together, same session ID, same last second.
#pragma once

#include "broker/base/json.h"
#include "ssh-ca/signer/backend.h"
#include "ssh-ca/signer/rules.h"

namespace jitwg::signer {

// {"certificate": line or null, "grant": document}. Both are parsed and checked again before they are returned; a
// backend that signed anything else is `bug`. pool_exhausted when no address is free.
Result<json::value> issue(const Permit& permit, const std::string& gateway, const Realm& realm, const Memory& memory,
                          CaBackend& backend, WallTime now);

}  // namespace jitwg::signer
