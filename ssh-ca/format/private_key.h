// Ed25519 key pairs, and the file ssh-keygen writes them in (PROTOCOL.key, "openssh-key-v1", without a
// passphrase: people's own keys are used through OpenSSH, never opened by us).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "broker/base/secret.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::ssh {

class PrivateKey {
 public:
  static PrivateKey generate();
  // bad_key: not this format, encrypted, another type, or halves that do not belong together.
  static Result<PrivateKey> parse_openssh(std::string_view pem);
  // The same format, for ephemeral keys that ssh is to use.
  std::string render_openssh(std::string_view comment) const;

  const PublicKey& public_key() const { return public_; }
  std::string sign(std::string_view message) const;  // 64 raw bytes (RFC 8032)
  // The private half as RFC 8032 has it, 32 bytes: for TLS, which must sign by itself.
  const unsigned char* seed() const { return secret_.data(); }

 private:
  PrivateKey(Secret<64> secret, PublicKey pub) : secret_(std::move(secret)), public_(std::move(pub)) {}
  Secret<64> secret_;  // libsodium's form: seed, public key
  PublicKey public_;
};

// Something that can sign raw bytes with one key: a PrivateKey, an ssh-agent, a CA backend. Returns a signature in SSH's
// own form (RFC 4253 §6.6: the algorithm's name, then what that makes).
using Signer = std::function<Result<std::string>(std::string_view message)>;
std::string ed25519_signature(std::string_view raw64);  // that form of it

}  // namespace jitwg::ssh
