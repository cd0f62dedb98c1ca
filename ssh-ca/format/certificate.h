// OpenSSH user certificates of ed25519 keys signed by an ed25519 CA (PROTOCOL.certkeys). The parser is stricter
// than sshd's: no duplicate or unordered options, no nested certificate as CA key, nothing after the end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/time.h"
#include "ssh-ca/format/private_key.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::ssh {

struct Certificate {
  std::string nonce;  // 32 bytes
  PublicKey key;
  uint64_t serial = 0;
  std::string key_id;
  std::vector<std::string> principals;
  WallTime valid_after;
  WallTime valid_before;
  std::vector<std::pair<std::string, std::string>> critical_options;  // name, value; ascending
  std::vector<std::string> extensions;                                // flags only; ascending
  PublicKey ca;

  // Everything up to the signature: what the CA signs.
  std::string to_be_signed() const;
  bool operator==(const Certificate&) const = default;
};

// Parses and checks the signature against the CA key inside. bad_certificate, bad_signature.
// Which CA that is, and whether the times hold, is the caller's question.
Result<Certificate> parse_certificate(std::string_view blob);

// The finished blob, from the 64 raw bytes over to_be_signed().
std::string assemble_certificate(const Certificate& certificate, std::string_view raw_signature);

// "ssh-ed25519-cert-v01@openssh.com AAAA…" and back to the blob.
std::string render_certificate_line(std::string_view blob);
Result<std::string> parse_certificate_line(std::string_view line);

}  // namespace jitwg::ssh
