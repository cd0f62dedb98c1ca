// Session (DESIGN §12), incident and lock as objects, as every reader gets them. Unset is null, never missing.
#pragma once

#include "broker/base/json.h"
#include "broker/store/store.h"

namespace jitwg::broker {

Result<json::value> session_json(store::Tx& tx, const store::Session& session);

json::value subject_json(const Subject& what);  // {"kind","name"}
json::value lock_json(const store::Lock& lock);
Result<json::value> incident_json(store::Tx& tx, const store::Incident& incident, WallTime now);

}  // namespace jitwg::broker
