// A FIDO authenticator in software, for tests: OpenSSH's provider interface (sk-api.h, version 10, PROTOCOL.u2f), loaded
// by ssh-sk-helper, so that the real ssh-keygen, ssh-agent and ssh make sk- keys and signatures without hardware.
// The key handle is the private key itself. JITWG_SK_FLAGS (a number: 1 presence, 4 verified) overrides what is signed
// as having happened: 0 is an authenticator that nobody touched.
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace {

constexpr uint32_t kApiVersion = 0x000a0000;
constexpr uint32_t kEcdsa = 0, kEd25519 = 1;
constexpr int kGeneral = -1, kUnsupported = -2;
constexpr uint8_t kPresence = 1, kVerified = 4;

struct EnrollResponse {
  uint8_t flags;
  uint8_t* public_key;
  size_t public_key_len;
  uint8_t* key_handle;
  size_t key_handle_len;
  uint8_t* signature;
  size_t signature_len;
  uint8_t* attestation_cert;
  size_t attestation_cert_len;
  uint8_t* authdata;
  size_t authdata_len;
};
struct SignResponse {
  uint8_t flags;
  uint32_t counter;
  uint8_t* sig_r;
  size_t sig_r_len;
  uint8_t* sig_s;
  size_t sig_s_len;
};
struct Option;
struct ResidentKey;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// The caller frees what it is given.
uint8_t* copy(std::string_view bytes, size_t* length) {
  auto* out = static_cast<uint8_t*>(std::calloc(1, bytes.size() + 1));
  std::memcpy(out, bytes.data(), bytes.size());
  *length = bytes.size();
  return out;
}

std::string private_der(EVP_PKEY* key) {
  std::string der(static_cast<size_t>(i2d_PrivateKey(key, nullptr)), '\0');
  auto* at = reinterpret_cast<unsigned char*>(der.data());
  i2d_PrivateKey(key, &at);
  return der;
}

// As SSH has it: 32 bytes of Ed25519, or the uncompressed point of P-256.
std::string public_bytes(EVP_PKEY* key, uint32_t algorithm) {
  unsigned char bytes[65];
  size_t length = sizeof bytes;
  const int ok = algorithm == kEd25519
                     ? EVP_PKEY_get_raw_public_key(key, bytes, &length)
                     : EVP_PKEY_get_octet_string_param(key, "pub", bytes, sizeof bytes, &length);
  return ok == 1 ? std::string(reinterpret_cast<char*>(bytes), length) : "";
}

std::string sha256(std::string_view bytes) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  return {reinterpret_cast<char*>(hash), sizeof hash};
}

std::string sign(EVP_PKEY* key, uint32_t algorithm, std::string_view message) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  unsigned char bytes[128];
  size_t length = sizeof bytes;
  if (EVP_DigestSignInit(context.get(), nullptr, algorithm == kEd25519 ? nullptr : EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), bytes, &length, reinterpret_cast<const unsigned char*>(message.data()),
                     message.size()) != 1)
    return "";
  return {reinterpret_cast<char*>(bytes), length};
}

std::string bytes_of(const BIGNUM* number) {
  std::string bytes(static_cast<size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
  return bytes;
}

uint8_t flags_to_sign(uint8_t asked) {
  const char* forced = std::getenv("JITWG_SK_FLAGS");
  return forced ? static_cast<uint8_t>(std::strtoul(forced, nullptr, 0)) : asked & (kPresence | kVerified);
}

}  // namespace

extern "C" {

uint32_t sk_api_version() { return kApiVersion; }

int sk_enroll(uint32_t algorithm, const uint8_t*, size_t, const char*, uint8_t flags, const char*, Option**,
              EnrollResponse** out) {
  if (algorithm != kEcdsa && algorithm != kEd25519) return kUnsupported;
  const Key key(algorithm == kEd25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519") : EVP_EC_gen("P-256"),
                EVP_PKEY_free);
  if (!key) return kGeneral;
  auto* response = static_cast<EnrollResponse*>(std::calloc(1, sizeof(EnrollResponse)));
  response->flags = flags;
  response->public_key = copy(public_bytes(key.get(), algorithm), &response->public_key_len);
  response->key_handle = copy(private_der(key.get()), &response->key_handle_len);
  response->signature = copy("", &response->signature_len);  // no attestation
  response->attestation_cert = copy("", &response->attestation_cert_len);
  *out = response;
  return 0;
}

int sk_sign(uint32_t algorithm, const uint8_t* data, size_t data_len, const char* application,
            const uint8_t* key_handle, size_t key_handle_len, uint8_t flags, const char*, Option**, SignResponse** out) {
  const unsigned char* at = key_handle;
  const Key key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(key_handle_len)), EVP_PKEY_free);
  if (!key) return kGeneral;
  const uint8_t signed_flags = flags_to_sign(flags);
  constexpr uint32_t kCounter = 7;
  // PROTOCOL.u2f, "SSH U2F Signatures": application's hash, flags, counter, message's hash.
  std::string message = sha256(application);
  message.push_back(static_cast<char>(signed_flags));
  message += std::string{0, 0, 0, static_cast<char>(kCounter)};
  message += sha256({reinterpret_cast<const char*>(data), data_len});
  const std::string signature = sign(key.get(), algorithm, message);
  if (signature.empty()) return kGeneral;

  auto* response = static_cast<SignResponse*>(std::calloc(1, sizeof(SignResponse)));
  response->flags = signed_flags;
  response->counter = kCounter;
  if (algorithm == kEd25519) {
    response->sig_r = copy(signature, &response->sig_r_len);
  } else {
    const auto* der = reinterpret_cast<const unsigned char*>(signature.data());
    const std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> parts(
        d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(signature.size())), ECDSA_SIG_free);
    response->sig_r = copy(bytes_of(ECDSA_SIG_get0_r(parts.get())), &response->sig_r_len);
    response->sig_s = copy(bytes_of(ECDSA_SIG_get0_s(parts.get())), &response->sig_s_len);
  }
  *out = response;
  return 0;
}

int sk_load_resident_keys(const char*, Option**, ResidentKey***, size_t*) { return kUnsupported; }

}  // extern "C"
