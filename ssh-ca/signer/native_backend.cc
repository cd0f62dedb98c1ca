#include "broker/base/encoding.h"
#include "ssh-ca/signer/backend.h"

namespace jitwg::signer {
namespace {

class NativeBackend final : public CaBackend {
 public:
  explicit NativeBackend(ssh::PrivateKey key) : key_(std::move(key)) {}
  const ssh::PublicKey& public_key() const override { return key_.public_key(); }

  Result<std::string> sign_certificate(const ssh::Certificate& wanted) override {
    ssh::Certificate certificate = wanted;
    certificate.nonce = random_bytes(32);
    certificate.ca = key_.public_key();
    return ssh::assemble_certificate(certificate, key_.sign(certificate.to_be_signed()));
  }
  Result<ssh::SignedDocument> sign_document(std::string body, std::string_view ns) override {
    return ssh::sign(std::move(body), ns, key_);
  }

 private:
  ssh::PrivateKey key_;
};

}  // namespace

Result<std::unique_ptr<CaBackend>> make_native_backend(const std::string& place) {
  JITWG_ASSIGN(CaKey key, load_ca_key(place));
  if (!key.secret)
    return fail(Code::bad_config, "CA key " + key.path + " is only the public half",
                "backend = native wants the private key; backend = ssh-keygen takes one from an agent");
  return std::make_unique<NativeBackend>(std::move(*key.secret));
}

}  // namespace jitwg::signer
