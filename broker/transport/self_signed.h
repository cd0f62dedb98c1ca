// The key and certificate that a broker without a public CA shows. Who pins the key needs no more; the
// certificate's dates are as wide as X.509 has them.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg::http {

// A new private key: ECDSA P-256, PKCS #8, PEM, not encrypted: write it 0600.
Result<std::string> make_tls_key();

// A certificate for the key, PEM, from 2020 to 9999. `host`: the name or IP address that clients connect to
// (subjectAltName). bad_value: no key, no host.
Result<std::string> make_self_signed(const std::string& host, std::string_view key_pem);

// "sha256//BASE64": SHA-256 of the SubjectPublicKeyInfo (DER) of the first certificate in `pem`. The same
// as `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`.
Result<std::string> spki_pin(std::string_view pem);

// Its last second (notAfter), of the same certificate.
Result<WallTime> certificate_end(std::string_view pem);

}  // namespace jitwg::http
