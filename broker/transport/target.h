// Request targets, origin form only (RFC 9112 §3.2.1): "/v1/sessions/ID?wait=5". One target has one
// reading, so that what is authorised is what is served. Pure.
#pragma once

#include <string>
#include <string_view>

#include "broker/transport/http.h"

namespace jitwg::http {

// Sets path and query of `request`, percent-decoded (RFC 3986 §2.1). bad_value: a broken escape, an
// escaped slash in the path, a control character, bytes that are no UTF-8, a query part without
// "="; duplicate_key: a query key twice.
// "+" is a plus sign, not a space.
Result<void> parse_target(std::string_view target, Request& request);

// The inverse: everything but unreserved characters and the path's slashes is escaped.
std::string render_target(const Request& request);

}  // namespace jitwg::http
