// Public keys, as a line or as a bare blob: one key has one spelling, and what is accepted ssh-keygen reads as the same key.
#include "ssh-ca/format/public_key.h"

#include "ssh-ca/format/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/openssh.h"

namespace jitwg::fuzz {
namespace {

// The input as a line: itself, or as the blob of one.
std::string line_of(std::string_view input) {
  if (input.find(' ') != std::string_view::npos && input.find('\0') == std::string_view::npos) return std::string(input);
  ssh::WireReader reader(input);
  return std::string(reader.string()) + " " + base64_encode(input);
}

bool try_line(const std::string& line) {
  using ssh::PublicKey;
  const auto key = PublicKey::parse_identity(line), plain = PublicKey::parse(line);
  JITWG_CHECK(plain.has_value() == (key && key->type() == ssh::KeyType::ed25519));
  if (!key) {
    check_error(key.error());
    return false;
  }
  JITWG_CHECK(line.starts_with(key->str()));
  const auto again = PublicKey::parse_identity(key->str()), from_blob = PublicKey::parse_identity_blob(key->blob());
  JITWG_CHECK(again && *again == *key && from_blob && *from_blob == *key && from_blob->str() == key->str());
  return true;
}

}  // namespace

bool try_input(std::string_view input) { return try_line(line_of(input)); }

void compare(std::string_view input) {
  const std::string line = line_of(input);
  const auto key = ssh::PublicKey::parse_identity(line);
  if (!key) return;
  const OpenSsh openssh;
  // As we would write it: what stands behind it is a comment that is dropped.
  const Ran ran = OpenSsh::keygen({"-l", "-f", openssh.file("key.pub", key->str() + "\n")});
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_NE(ran.output.find(" " + key->fingerprint() + " "), std::string::npos) << ran.output;
}

}  // namespace jitwg::fuzz
