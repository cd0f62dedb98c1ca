#include "broker/os/file.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/signer/backend.h"

namespace jitwg::signer {
namespace {

class NativeBackend final : public CaBackend {
 public:
  explicit NativeBackend(ssh::PrivateKey key) : key_(std::move(key)) {}
  const ssh::PublicKey& public_key() const override { return key_.public_key(); }
  Result<std::string> sign(std::string_view message) override { return key_.sign(message); }

 private:
  ssh::PrivateKey key_;
};

}  // namespace

Result<std::unique_ptr<CaBackend>> make_native_backend(const std::string& key_file) {
  constexpr size_t kMost = 16 * 1024;
  auto pem = read_secret_file(key_file, kMost);
  if (!pem) {
    Error error = pem.error();
    if (error.code == Code::io && error.hint.empty()) error.hint = "make one: ssh-keygen -t ed25519 -N '' -C jitwg-ca -f " + key_file;
    return within("CA key", std::move(error));
  }
  auto key = ssh::PrivateKey::parse_openssh(*pem);
  sodium_memzero(pem->data(), pem->size());
  if (!key) return within("CA key " + key_file, key.error());
  return std::make_unique<NativeBackend>(std::move(*key));
}

}  // namespace jitwg::signer
