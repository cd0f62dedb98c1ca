// What a public key's blob holds, by type (RFC 8709 §4, RFC 5656 §3.1, RFC 4253 §6.6, PROTOCOL.u2f). Internal to
// ssh-ca/format.
#pragma once

#include <string_view>

#include "broker/base/error.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::ssh {

// Views into the blob; what a type does not have is empty.
struct KeyFields {
  KeyType type;
  std::string_view point;        // ed25519: 32 bytes; ECDSA: 65, uncompressed
  std::string_view application;  // sk-: "ssh:…"
  std::string_view e, n;         // RSA: big-endian, no leading zero
};
// bad_key with what is wrong. ECDSA points are not yet known to lie on the curve.
Result<KeyFields> parse_key_fields(std::string_view blob);

// An mpint (RFC 4251 §5) that is positive and in its shortest form, without its sign byte; empty otherwise.
std::string_view positive_mpint(std::string_view bytes);

}  // namespace jitwg::ssh
