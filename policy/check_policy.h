// What must hold between the parts of a policy that parsed: names only what exists, no key in two roles.
#pragma once

#include "policy/policy.h"
#include "policy/toml_reader.h"

namespace jitwg {

void check_references(const Policy& policy, const toml::table& root, TomlErrors& errors);

}  // namespace jitwg
