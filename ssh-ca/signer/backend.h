// Who holds the CA key. Each backend signs raw bytes with it; certificate and grant are both made of that, so every
// backend passes one contract test. The signer checks each result before it leaves.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::signer {

class CaBackend {
 public:
  virtual ~CaBackend() = default;
  virtual const ssh::PublicKey& public_key() const = 0;
  virtual Result<std::string> sign(std::string_view message) = 0;  // 64 raw bytes (RFC 8032)
};

// The key in this process, from a file that only this user may read (ssh-keygen -t ed25519 -N '').
Result<std::unique_ptr<CaBackend>> make_native_backend(const std::string& key_file);

}  // namespace jitwg::signer
