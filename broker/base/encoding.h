// Base64 (RFC 4648 §4, padded, one spelling only), lower-case hex, SHA-256, text that is safe to show.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/error.h"

namespace jitwg {

std::string base64_encode(std::string_view bytes);
// Refuses missing padding, stray bits, white space: one value has one spelling.
Result<std::string> base64_decode(std::string_view text);

std::string hex_encode(std::string_view bytes);
Result<std::string> hex_decode(std::string_view text);  // lower case only

std::string sha256(std::string_view bytes);      // 32 raw bytes
std::string sha256_hex(std::string_view bytes);  // 64 digits

std::string random_bytes(size_t count);

// Valid UTF-8 (RFC 3629: no surrogates, no overlong forms)?
bool is_utf8(std::string_view text);
// For terminals and logs: control, bidi and zero-width characters and bytes that are no UTF-8 become
// \u{…} or \xNN, so that what is shown is what is there.
std::string escape_for_terminal(std::string_view text);
// Likewise, but a backslash stays one: for sentences whose parts may be escaped already. Idempotent.
std::string printable(std::string_view text);

}  // namespace jitwg
