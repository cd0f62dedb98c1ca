#include "ssh-ca/format/public_key.h"

#include <sodium.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "broker/base/encoding.h"
#include "ssh-ca/format/key_fields.h"
#include "ssh-ca/format/openssl_verify.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

constexpr std::array<std::string_view, 5> kTypes = {"ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp256",
                                                    "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-rsa"};
constexpr size_t kLeastRsaBits = 3072, kMostRsaBits = 8192;

const unsigned char* bytes_of(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}

tl::unexpected<Error> other_type(std::string_view type, bool identity) {
  const std::string quoted = "\"" + escape_for_terminal(type.substr(0, 60)) + "\"";
  if (type.ends_with("-cert-v01@openssh.com"))
    return fail(Code::bad_key, quoted + " is a certificate, not a key", "give the plain public key it was made for");
  if (type == "ssh-dss" || type.starts_with("ecdsa-sha2-"))
    return fail(Code::bad_key, "keys of type " + quoted + " are not accepted", "make one with: ssh-keygen -t ed25519");
  return fail(Code::bad_key, "keys of type " + quoted + " are not accepted" + (identity ? "" : " here"),
              "make one with: ssh-keygen -t ed25519");
}

size_t bits_of(std::string_view number) {
  size_t bits = number.size() * 8;
  for (auto top = static_cast<uint8_t>(number.front()); (top & 0x80) == 0; top = static_cast<uint8_t>(top << 1)) --bits;
  return bits;
}

Result<std::string> decode_text(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos || space == 0)
    return fail(Code::bad_key, "not a public key", "paste the one line of the .pub file");
  const std::string_view type = text.substr(0, space);
  std::string_view rest = text.substr(space + 1);
  rest = rest.substr(0, rest.find(' '));
  if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end()) return other_type(type, true);
  auto blob = base64_decode(rest);
  if (!blob) return fail(Code::bad_key, "the key's base64 is damaged");
  if (WireReader(*blob).string() != type) return fail(Code::bad_key, "the key is of another type than the word before it");
  return std::move(*blob);
}

}  // namespace

std::string_view name(KeyType type) { return kTypes[static_cast<size_t>(type)]; }

std::string_view positive_mpint(std::string_view bytes) {
  if (bytes.empty() || (bytes.front() & 0x80) != 0) return {};
  if (bytes.front() != 0) return bytes;
  bytes.remove_prefix(1);
  return bytes.empty() || (bytes.front() & 0x80) == 0 ? std::string_view() : bytes;
}

Result<KeyFields> parse_key_fields(std::string_view blob) {
  WireReader reader(blob);
  const std::string_view word = reader.string();
  if (!reader.ok()) return fail(Code::bad_key, "a key blob is cut short");
  const auto found = std::find(kTypes.begin(), kTypes.end(), word);
  if (found == kTypes.end()) return other_type(word, true);
  const auto bad = [&](std::string_view why) { return fail(Code::bad_key, std::string(word) + " key: " + std::string(why)); };
  KeyFields key{static_cast<KeyType>(found - kTypes.begin()), {}, {}, {}, {}};
  switch (key.type) {
    case KeyType::ed25519:
    case KeyType::sk_ed25519:
      key.point = reader.string();
      if (key.point.size() != 32) return bad("of the wrong length");
      if (is_weak_ed25519(key.point)) return bad("no proper point");
      break;
    case KeyType::ecdsa_p256:
    case KeyType::sk_ecdsa_p256:
      if (reader.string() != "nistp256") return bad("of another curve");
      key.point = reader.string();
      if (key.point.size() != 65 || key.point.front() != 0x04) return bad("its point is not in the uncompressed form");
      break;
    case KeyType::rsa:
      key.e = positive_mpint(reader.string());
      key.n = positive_mpint(reader.string());
      if (key.e.empty() || key.n.empty()) return bad("a number that is not positive, or not in its shortest form");
      if (key.e.size() > 8 || (key.e.back() & 1) == 0 || key.e == std::string_view("\x01")) return bad("its exponent is off");
      if (bits_of(key.n) < kLeastRsaBits || bits_of(key.n) > kMostRsaBits)
        return fail(Code::bad_key, "an RSA key of " + std::to_string(bits_of(key.n)) + " bits",
                    "3072 to 8192 are accepted; better: ssh-keygen -t ed25519");
      if ((key.n.back() & 1) == 0) return bad("its modulus is even");
      break;
  }
  if (key.type == KeyType::sk_ed25519 || key.type == KeyType::sk_ecdsa_p256) {
    key.application = reader.string();
    // OpenSSH reads it as a C string, and so no key with a NUL in it.
    if (!key.application.starts_with("ssh:") || key.application.find('\0') != std::string_view::npos)
      return bad("made for something else than SSH");
  }
  if (!reader.ok() || !reader.at_end()) return bad("cut short or too long");
  return key;
}

Result<PublicKey> PublicKey::parse_identity_blob(std::string_view blob) {
  JITWG_ASSIGN(const KeyFields fields, parse_key_fields(blob));
  if (fields.type != KeyType::ed25519 && fields.type != KeyType::sk_ed25519) JITWG_TRY(check_openssl_key(fields));
  return PublicKey(fields.type, std::string(blob));
}

Result<PublicKey> PublicKey::parse_blob(std::string_view blob) {
  JITWG_ASSIGN(PublicKey key, parse_identity_blob(blob));
  if (key.type_ != KeyType::ed25519) return other_type(jitwg::ssh::name(key.type_), false);
  return key;
}

Result<PublicKey> PublicKey::parse_identity(std::string_view text) {
  JITWG_ASSIGN(const std::string blob, decode_text(text));
  return parse_identity_blob(blob);
}

Result<PublicKey> PublicKey::parse(std::string_view text) {
  JITWG_ASSIGN(const std::string blob, decode_text(text));
  return parse_blob(blob);
}

PublicKey PublicKey::from_ed25519(std::string_view key32) {
  JITWG_CHECK(key32.size() == 32);
  return PublicKey(KeyType::ed25519, WireWriter().string(kTypes[0]).string(key32).bytes());
}

std::string_view PublicKey::ed25519() const {
  JITWG_CHECK(type_ == KeyType::ed25519);
  return std::string_view(blob_).substr(blob_.size() - 32);
}

std::string PublicKey::str() const { return std::string(jitwg::ssh::name(type_)) + " " + base64_encode(blob_); }

std::string PublicKey::fingerprint() const {
  std::string text = base64_encode(sha256(blob_));
  while (!text.empty() && text.back() == '=') text.pop_back();
  return "SHA256:" + text;
}

namespace {

// A check costs a scalar multiplication, and one issue reads the same keys many times over. The answer depends on the 32
// bytes alone, so the proper points met last are remembered; a collision only costs the check again.
class ProperPoints {
 public:
  bool contains(std::string_view key32) { return slot(key32) == key32; }
  void add(std::string_view key32) { slot(key32) = key32; }

 private:
  std::string& slot(std::string_view key32) {
    return slots_[(static_cast<uint8_t>(key32[0]) << 8 | static_cast<uint8_t>(key32[1])) % slots_.size()];
  }
  std::array<std::string, 512> slots_;
};

}  // namespace

// libsodium's check: canonical, on the curve, in the main subgroup, not of small order.
bool is_weak_ed25519(std::string_view key32) {
  thread_local ProperPoints proper;
  if (key32.size() != 32) return true;
  if (proper.contains(key32)) return false;
  if (crypto_core_ed25519_is_valid_point(bytes_of(key32)) != 1) return true;
  proper.add(key32);
  return false;
}

bool is_weak_x25519(std::string_view key32) {
  if (key32.size() != 32 || (static_cast<unsigned char>(key32[31]) & 0x80) != 0) return true;
  // Values of p and above alias smaller ones.
  bool all_ones = (static_cast<unsigned char>(key32[31])) == 0x7f;
  for (size_t i = 1; i < 31 && all_ones; ++i) all_ones = static_cast<unsigned char>(key32[i]) == 0xff;
  if (all_ones && static_cast<unsigned char>(key32[0]) >= 0xed) return true;
  // The points of small order in their one spelling, as libsodium has them: 0, 1, p - 1 and the two of order 8. Exactly
  // these make the shared secret zero, whatever the other side's key (a test asks libsodium for it).
  static constexpr unsigned char kOrder8[2][32] = {
      {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
       0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
      {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
       0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57}};
  for (const auto& point : kOrder8)
    if (std::memcmp(point, key32.data(), 32) == 0) return true;
  if (all_ones && static_cast<unsigned char>(key32[0]) == 0xec) return true;
  const bool zeros = key32.find_first_not_of('\0', 1) == std::string_view::npos;
  return zeros && static_cast<unsigned char>(key32[0]) <= 1;
}

}  // namespace jitwg::ssh
