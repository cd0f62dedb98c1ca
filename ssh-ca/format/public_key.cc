#include "ssh-ca/format/public_key.h"

#include <sodium.h>

#include "broker/base/encoding.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

constexpr std::string_view kEd25519 = "ssh-ed25519";

const unsigned char* bytes_of(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}

}  // namespace

Result<PublicKey> PublicKey::parse(std::string_view text) {
  const size_t space = text.find(' ');
  const std::string_view type = text.substr(0, space);
  if (space == std::string_view::npos)
    return fail(Code::bad_key, "not a public key", "paste the one line of the .pub file");
  if (type != kEd25519)
    return fail(Code::bad_key, "keys of type \"" + escape_for_terminal(type.substr(0, 60)) + "\" are not accepted",
                "make one with: ssh-keygen -t ed25519");
  std::string_view rest = text.substr(space + 1);
  rest = rest.substr(0, rest.find(' '));
  const auto blob = base64_decode(rest);
  if (!blob) return fail(Code::bad_key, "the key's base64 is damaged");
  return parse_blob(*blob);
}

Result<PublicKey> PublicKey::parse_blob(std::string_view blob) {
  WireReader reader(blob);
  const std::string_view type = reader.string();
  if (!reader.ok()) return fail(Code::bad_key, "a key blob is cut short");
  if (type != kEd25519)
    return fail(Code::bad_key, "keys of type \"" + escape_for_terminal(type.substr(0, 60)) + "\" are not accepted",
                "make one with: ssh-keygen -t ed25519");
  const std::string_view key = reader.string();
  if (!reader.ok() || key.size() != 32 || !reader.at_end())
    return fail(Code::bad_key, "an ed25519 key of the wrong length");
  if (is_weak_ed25519(key)) return fail(Code::bad_key, "an ed25519 key that is no proper point");
  return PublicKey(std::string(blob));
}

PublicKey PublicKey::from_ed25519(std::string_view key32) {
  JITWG_CHECK(key32.size() == 32);
  return PublicKey(WireWriter().string(kEd25519).string(key32).bytes());
}

std::string PublicKey::str() const { return std::string(kEd25519) + " " + base64_encode(blob_); }

std::string PublicKey::fingerprint() const {
  std::string text = base64_encode(sha256(blob_));
  while (!text.empty() && text.back() == '=') text.pop_back();
  return "SHA256:" + text;
}

// libsodium's check: canonical, on the curve, in the main subgroup, not of small order.
bool is_weak_ed25519(std::string_view key32) {
  return key32.size() != 32 || crypto_core_ed25519_is_valid_point(bytes_of(key32)) != 1;
}

bool is_weak_x25519(std::string_view key32) {
  if (key32.size() != 32 || (static_cast<unsigned char>(key32[31]) & 0x80) != 0) return true;
  // Values of p and above alias smaller ones.
  bool all_ones = (static_cast<unsigned char>(key32[31])) == 0x7f;
  for (size_t i = 1; i < 31 && all_ones; ++i) all_ones = static_cast<unsigned char>(key32[i]) == 0xff;
  if (all_ones && static_cast<unsigned char>(key32[0]) >= 0xed) return true;
  // With any clamped scalar, exactly the small-order points give the all-zero secret; libsodium says so by -1.
  const unsigned char scalar[32] = {8, 1};
  unsigned char shared[32];
  return crypto_scalarmult_curve25519(shared, scalar, bytes_of(key32)) != 0;
}

}  // namespace jitwg::ssh
