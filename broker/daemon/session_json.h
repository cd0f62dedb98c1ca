// The session object of DESIGN §12, as every reader gets it. Unset is null, never missing.
#pragma once

#include "broker/base/json.h"
#include "broker/store/store.h"

namespace jitwg::broker {

Result<json::value> session_json(store::Tx& tx, const store::Session& session);

}  // namespace jitwg::broker
