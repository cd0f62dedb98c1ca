#include "ssh-ca/format/openssl_verify.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <memory>
#include <string>

namespace jitwg::ssh {
namespace {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* p) const { Free(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freed<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Freed<OSSL_PARAM_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;

const unsigned char* bytes_of(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

Number number(std::string_view bytes) { return Number(BN_bin2bn(bytes_of(bytes), static_cast<int>(bytes.size()), nullptr)); }

// Null when OpenSSL takes it for no key. A point is checked to lie on the curve.
Key make_key(const KeyFields& fields) {
  const bool rsa = fields.type == KeyType::rsa;
  const Builder builder(OSSL_PARAM_BLD_new());
  const Number e = number(fields.e), n = number(fields.n);
  if (rsa) {
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  } else {
    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, fields.point.data(), fields.point.size());
  }
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, rsa ? "RSA" : "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    return nullptr;
  return Key(key);
}

bool verify(const KeyFields& fields, const EVP_MD* hash, std::string_view signature, std::string_view message) {
  const Key key = make_key(fields);
  const Digest digest(EVP_MD_CTX_new());
  return key && digest && EVP_DigestVerifyInit(digest.get(), nullptr, hash, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(digest.get(), bytes_of(signature), signature.size(), bytes_of(message), message.size()) == 1;
}

}  // namespace

Result<void> check_openssl_key(const KeyFields& key) {
  if (make_key(key)) return {};
  return fail(Code::bad_key, std::string(name(key.type)) + " key: no proper point");
}

bool verify_ecdsa_p256(const KeyFields& key, std::string_view r, std::string_view s, std::string_view message) {
  if (r.size() > 32 || s.size() > 32) return false;
  const EcdsaSignature pair(ECDSA_SIG_new());
  Number first = number(r), second = number(s);
  if (!pair || !first || !second || ECDSA_SIG_set0(pair.get(), first.get(), second.get()) != 1) return false;
  (void)first.release(), (void)second.release();  // the pair's now
  unsigned char* der = nullptr;
  const int length = i2d_ECDSA_SIG(pair.get(), &der);
  if (length <= 0) return false;
  const std::string signature(reinterpret_cast<char*>(der), static_cast<size_t>(length));
  OPENSSL_free(der);
  return verify(key, EVP_sha256(), signature, message);
}

bool verify_rsa(const KeyFields& key, bool sha512, std::string_view signature, std::string_view message) {
  // OpenSSL's default padding here is PKCS #1 v1.5.
  return signature.size() == key.n.size() && verify(key, sha512 ? EVP_sha512() : EVP_sha256(), signature, message);
}

}  // namespace jitwg::ssh
