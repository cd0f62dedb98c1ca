// The names by which people call a target's addresses: policy says them, approvers sign them,
// `jitwg names` prints them as lines for /etc/hosts. What may stand in that file unquoted is
// decided here, once.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "broker/base/address.h"
#include "broker/base/json.h"
#include "broker/base/scope.h"

namespace jitwg {

using HostNames = std::map<std::string, IpAddress>;

// RFC 1123 §2.1: labels of letters, digits and inner hyphens, at most 63 bytes each and 253 in all.
// Lower case only, so that one name has one spelling; never `localhost` (RFC 6761 §6.3), nor what
// could be read as an address.
bool is_host_name(std::string_view text);

// bad_value: no host name, an address that `scope` does not reach, more than
// limits::kHostNamesBytes.
Result<void> check_host_names(const HostNames& names, const Scope& scope);

// {"db1.prod.example": "10.60.10.20"}; without names the key is left out, so an empty object is
// bad_value.
json::value render_host_names(const HostNames& names);
Result<HostNames> parse_host_names(const json::value& value);

}  // namespace jitwg
