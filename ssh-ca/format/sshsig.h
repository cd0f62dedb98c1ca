// OpenSSH signatures (PROTOCOL.sshsig), as `ssh-keygen -Y sign` makes and `-Y verify` checks them.
// Hash: sha512 made, sha512 and sha256 accepted.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::ssh {

// A document and its detached signature. The bytes are what was signed; nobody re-serialises them.
struct SignedDocument {
  std::string body;
  std::string signature;  // armoured
  auto operator<=>(const SignedDocument&) const = default;
};

struct Signature {
  PublicKey key;
  std::string ns;
  std::string hash_algorithm;
  std::string raw;  // the key's own signature (RFC 4253 §6.6), its form not yet looked at
};

// Strict: one armour block, nothing around it but a final newline, version 1. bad_signature_format, bad_key.
Result<Signature> parse_signature(std::string_view armoured);

// Which key signed, and what its authenticator says of its user.
struct SignedBy {
  PublicKey key;
  bool user_verified = false;  // an sk- key's user gave a PIN or a finger (sshd_config(5), verify-required)
};

// Checks that the namespace equals `ns` (wrong_namespace) and that the signature holds over `body` (bad_signature,
// bad_signature_format). Of an sk- key a touch is demanded: no_touch. Says nothing about whose key it is.
Result<SignedBy> verify(const SignedDocument& document, std::string_view ns);

// Signs through `signer`, which holds the private half of `key`.
Result<SignedDocument> sign(std::string body, std::string_view ns, const PublicKey& key, const Signer& signer);
SignedDocument sign(std::string body, std::string_view ns, const PrivateKey& key);

// What is signed: PROTOCOL.sshsig §3. For agents.
std::string signed_blob(std::string_view body, std::string_view ns, std::string_view hash_algorithm);

// Does `raw`, a signature as RFC 4253 §6.6 and PROTOCOL.u2f have it, hold over `message`?
Result<SignedBy> verify_raw(const PublicKey& key, std::string_view raw, std::string_view message);

}  // namespace jitwg::ssh
