// What policy says about an incident itself (DESIGN §11): what it may name, and for how long. Pure; who may open one is
// Policy::has_right("incident_open", …).
#pragma once

#include <string>
#include <vector>

#include "policy/policy.h"

namespace jitwg {

// `names`: targets, or "label:x". unknown_target: none at all, a target that does not exist, or a label that no target has.
Result<void> check_incident_names(const Policy& policy, const std::vector<std::string>& names);

// From `begin` (when it was opened; an extension counts from its own time) to its hard end: bad_time when it does not end
// after it begins, duration_over_limit beyond [incidents] max_duration.
Result<void> check_incident_end(const Policy& policy, WallTime begin, WallTime end);

// Does an incident of these names cover the target? A target that policy does not know: no.
bool incident_covers(const Policy& policy, const std::vector<std::string>& names, const std::string& target);

}  // namespace jitwg
