// OpenSSH public keys as people paste them ("ssh-ed25519 AAAA… comment").
//
// People sign with any type of KeyType. Everything else here (CA, nodes, hosts, sessions) has plain ed25519 keys, so
// parse() takes no other, and only parse_identity() does.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "broker/base/error.h"

namespace jitwg::ssh {

// sk-: in a hardware authenticator (PROTOCOL.u2f).
enum class KeyType : uint8_t { ed25519, sk_ed25519, ecdsa_p256, sk_ecdsa_p256, rsa };
std::string_view name(KeyType type);  // as it stands in front of the base64

class PublicKey {
 public:
  // "type base64[ comment]"; the comment is dropped. bad_key: damaged, a weak point, or not plain ed25519.
  static Result<PublicKey> parse(std::string_view text);
  // The wire blob (RFC 8709 §4: string "ssh-ed25519", string 32 bytes), nothing after it.
  static Result<PublicKey> parse_blob(std::string_view blob);
  // Likewise for a person's key of any KeyType: RSA from 3072 to 8192 bits, integers in their shortest form, points on
  // their curve. A certificate is none.
  static Result<PublicKey> parse_identity(std::string_view text);
  static Result<PublicKey> parse_identity_blob(std::string_view blob);
  static PublicKey from_ed25519(std::string_view key32);

  KeyType type() const { return type_; }
  bool is_hardware() const { return type_ == KeyType::sk_ed25519 || type_ == KeyType::sk_ecdsa_p256; }
  const std::string& blob() const { return blob_; }
  std::string_view ed25519() const;  // the 32 bytes; of plain ed25519 keys only
  std::string str() const;           // "ssh-ed25519 AAAA…"
  std::string fingerprint() const;   // "SHA256:…", as ssh-keygen -l prints it
  auto operator<=>(const PublicKey&) const = default;

 private:
  PublicKey(KeyType type, std::string blob) : type_(type), blob_(std::move(blob)) {}
  KeyType type_;
  std::string blob_;
};

// Small-order and non-canonical points verify anything or alias other keys: refused wherever a key enters.
bool is_weak_ed25519(std::string_view key32);
// Likewise for WireGuard's X25519 public keys (RFC 7748 §6.1: all-zero shared secret), and all zero.
bool is_weak_x25519(std::string_view key32);

}  // namespace jitwg::ssh
