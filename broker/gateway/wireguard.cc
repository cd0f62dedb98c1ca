#include "broker/gateway/wireguard.h"

#include <sodium.h>

#include <cstring>

#include "broker/base/encoding.h"

namespace jitwg::wireguard {
namespace {
constexpr size_t kKeyBytes = 32;
}

Result<PublicKey> PublicKey::parse(std::string_view base64) {
  const auto bytes = base64_decode(base64);
  if (!bytes) return fail(Code::bad_key, "a WireGuard key is 44 characters of base64");
  return from_bytes(*bytes);
}

Result<PublicKey> PublicKey::from_bytes(std::string_view bytes32) {
  if (bytes32.size() != kKeyBytes) return fail(Code::bad_key, "a WireGuard key has 32 bytes");
  return PublicKey(std::string(bytes32));
}

std::string PublicKey::str() const { return base64_encode(bytes_); }

Result<PrivateKey> parse_private_key(std::string& text) {
  std::string_view line = text;
  if (line.ends_with('\n')) line.remove_suffix(1);
  auto bytes = base64_decode(line);
  sodium_memzero(text.data(), text.size());
  if (!bytes || bytes->size() != kKeyBytes)
    return fail(Code::bad_key, "not a WireGuard private key", "make one with `wg genkey`");
  PrivateKey key;
  std::memcpy(key.data(), bytes->data(), kKeyBytes);
  sodium_memzero(bytes->data(), bytes->size());
  return key;
}

PublicKey public_key_of(const PrivateKey& key) {
  std::string bytes(kKeyBytes, '\0');
  crypto_scalarmult_base(reinterpret_cast<unsigned char*>(bytes.data()), key.data());
  return *PublicKey::from_bytes(bytes);
}

}  // namespace jitwg::wireguard
