// ECDSA (FIPS 186-4) and RSA (RFC 8332) signatures of people's keys, by OpenSSL. Pure: no key of ours comes near it.
// Internal to ssh-ca/format.
#pragma once

#include <string_view>

#include "broker/base/error.h"
#include "ssh-ca/format/key_fields.h"

namespace jitwg::ssh {

// bad_key when the ECDSA point is not on its curve, or OpenSSL takes the key for none.
Result<void> check_openssl_key(const KeyFields& key);

// r and s as big-endian numbers without leading zeros.
bool verify_ecdsa_p256(const KeyFields& key, std::string_view r, std::string_view s, std::string_view message);
// PKCS #1 v1.5 with SHA-256 or SHA-512.
bool verify_rsa(const KeyFields& key, bool sha512, std::string_view signature, std::string_view message);

}  // namespace jitwg::ssh
