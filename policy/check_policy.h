// What must hold between the parts of a policy.
#pragma once

#include "policy/policy.h"
#include "policy/toml_reader.h"

namespace jitwg {

// No pool of one gateway in another's, no scope in a pool, no key in two roles, one address to a name, enough approvers. Also of
// a policy whose parts have errors: those parts are missing,
// and who may do what is looked at only when all was `read_well`.
void check_between(const Policy& policy, const toml::table& root, bool read_well, TomlErrors& errors);

// Does one of them come from a file?
bool is_synced(const Policy& policy, const std::vector<Member>& members);

// Everything but the warnings, which only check_policy() adds: the signer has no use for them.
PolicyReading read_whole_policy(std::string_view toml, bool with_tests);
void order(std::vector<PolicyProblem>& problems);  // by place

}  // namespace jitwg
