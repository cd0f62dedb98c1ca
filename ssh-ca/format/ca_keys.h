// The CA keys that count here: one, or two while the CA's key is being changed (contrib/adr/0015). What is signed by
// any of them holds until its own end. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::ssh {

class CaKeys {
 public:
  CaKeys(PublicKey only) : keys_{std::move(only)} {}  // NOLINT: a single key is a set of them
  // One key a line, as sshd's TrustedUserCAKeys file has them; empty lines and # comments between. bad_key: none, more
  // than two, one of them twice, a line that is no ed25519 key.
  static Result<CaKeys> parse(std::string_view text);

  // In the file's order; of the signer's, the first is the one that signs.
  const std::vector<PublicKey>& all() const { return keys_; }
  const PublicKey& first() const { return keys_.front(); }
  bool contains(const PublicKey& key) const;
  std::vector<std::string> lines() const;  // "ssh-ed25519 AAAA…" each
  std::string fingerprints() const;  // "SHA256:… and SHA256:…"
  bool operator==(const CaKeys&) const = default;

 private:
  CaKeys() = default;
  std::vector<PublicKey> keys_;  // one or two
};

}  // namespace jitwg::ssh
