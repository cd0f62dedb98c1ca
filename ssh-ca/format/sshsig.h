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
  std::string raw;  // 64 bytes
};

// Strict: one armour block, nothing around it but a final newline, version 1. bad_signature_format, bad_key.
Result<Signature> parse_signature(std::string_view armoured);

// The key that signed, after checking: namespace equals `ns` (wrong_namespace), signature holds over `body`
// (bad_signature). Says nothing about whose key it is.
Result<PublicKey> verify(const SignedDocument& document, std::string_view ns);

// Signs through `signer`, which holds the private half of `key`.
Result<SignedDocument> sign(std::string body, std::string_view ns, const PublicKey& key, const Signer& signer);
SignedDocument sign(std::string body, std::string_view ns, const PrivateKey& key);

// What is signed: PROTOCOL.sshsig §3. For agents.
std::string signed_blob(std::string_view body, std::string_view ns, std::string_view hash_algorithm);

}  // namespace jitwg::ssh
