// OpenSSH public keys as people paste them ("ssh-ed25519 AAAA… comment"). Ed25519 only, for now: other types are
// bad_key with a sentence that says so.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "broker/base/error.h"

namespace jitwg::ssh {

class PublicKey {
 public:
  // "type base64[ comment]"; the comment is dropped.
  static Result<PublicKey> parse(std::string_view text);
  // The wire blob (RFC 8709 §4: string "ssh-ed25519", string 32 bytes), nothing after it.
  static Result<PublicKey> parse_blob(std::string_view blob);
  static PublicKey from_ed25519(std::string_view key32);

  const std::string& blob() const { return blob_; }
  std::string_view ed25519() const { return std::string_view(blob_).substr(blob_.size() - 32); }
  std::string str() const;          // "ssh-ed25519 AAAA…"
  std::string fingerprint() const;  // "SHA256:…", as ssh-keygen -l prints it
  auto operator<=>(const PublicKey&) const = default;

 private:
  explicit PublicKey(std::string blob) : blob_(std::move(blob)) {}
  std::string blob_;
};

// Small-order and non-canonical points verify anything or alias other keys: refused wherever a key enters.
bool is_weak_ed25519(std::string_view key32);
// Likewise for WireGuard's X25519 public keys (RFC 7748 §6.1: all-zero shared secret), and all zero.
bool is_weak_x25519(std::string_view key32);

}  // namespace jitwg::ssh
