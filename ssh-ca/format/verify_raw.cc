#include <sodium.h>

#include "broker/base/encoding.h"
#include "ssh-ca/format/key_fields.h"
#include "ssh-ca/format/openssl_verify.h"
#include "ssh-ca/format/sshsig.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

enum Flags : uint8_t { kUserPresent = 0x01, kUserVerified = 0x04 };  // of an authenticator (WebAuthn §6.1)

tl::unexpected<Error> malformed(KeyType type) {
  return fail(Code::bad_signature_format, "not an SSH signature: its " + std::string(name(type)) + " part has the wrong form",
              "ssh-keygen -Y sign makes one");
}

bool verify_ed25519(std::string_view point, std::string_view signature, std::string_view message) {
  return crypto_sign_verify_detached(reinterpret_cast<const unsigned char*>(signature.data()),
                                     reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                     reinterpret_cast<const unsigned char*>(point.data())) == 0;
}

}  // namespace

Result<SignedBy> verify_raw(const PublicKey& key, std::string_view raw, std::string_view message) {
  JITWG_ASSIGN(const KeyFields fields, parse_key_fields(key.blob()));
  WireReader reader(raw);
  const std::string_view algorithm = reader.string(), signature = reader.string();
  const bool rsa = fields.type == KeyType::rsa;
  const bool sha512 = algorithm == "rsa-sha2-512";
  // ssh-rsa as an algorithm is SHA-1.
  if (rsa ? !sha512 && algorithm != "rsa-sha2-256" : algorithm != name(fields.type)) return malformed(fields.type);

  SignedBy by{key};
  bool present = true;
  std::string signed_message(message);
  if (key.is_hardware()) {
    const uint8_t flags = reader.u8();
    const uint32_t counter = reader.u32();
    present = (flags & kUserPresent) != 0;
    by.user_verified = (flags & kUserVerified) != 0;
    signed_message = WireWriter().raw(sha256(fields.application)).raw({reinterpret_cast<const char*>(&flags), 1}).u32(counter)
                         .raw(sha256(message)).bytes();
  }
  if (!reader.ok() || !reader.at_end()) return malformed(fields.type);

  bool holds = false;
  switch (fields.type) {
    case KeyType::ed25519:
    case KeyType::sk_ed25519:
      if (signature.size() != 64) return malformed(fields.type);
      holds = verify_ed25519(fields.point, signature, signed_message);
      break;
    case KeyType::ecdsa_p256:
    case KeyType::sk_ecdsa_p256: {
      WireReader pair(signature);
      const std::string_view r = positive_mpint(pair.string()), s = positive_mpint(pair.string());
      if (!pair.ok() || !pair.at_end() || r.empty() || s.empty()) return malformed(fields.type);
      holds = verify_ecdsa_p256(fields, r, s, signed_message);
      break;
    }
    case KeyType::rsa:
      holds = verify_rsa(fields, sha512, signature, signed_message);
      break;
  }
  if (!holds)
    return fail(Code::bad_signature, "the signature does not fit the bytes",
                "they were altered after signing, or belong to another document");
  if (!present)
    return fail(Code::no_touch, "the hardware key signed without a touch",
                "make the key without -O no-touch-required, and touch it when it blinks");
  return by;
}

}  // namespace jitwg::ssh
