// SSHSIG, armoured or as a bare blob: one signature has one spelling but for line breaks, and over the words that the
// seeds sign, what we accept ssh-keygen accepts.
#include "ssh-ca/format/sshsig.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/openssh.h"

namespace jitwg::fuzz {
namespace {

const std::string kWords = "words that are signed\n";
constexpr std::string_view kBegin = "-----BEGIN SSH SIGNATURE-----\n", kEnd = "-----END SSH SIGNATURE-----\n";

std::string armour(std::string_view blob) {
  const std::string base64 = base64_encode(blob);
  std::string text(kBegin);
  for (size_t i = 0; i < base64.size(); i += 70) text += base64.substr(i, 70) + "\n";
  return text += kEnd;
}

std::string armoured(std::string_view input) {
  return input.starts_with("SSHSIG") ? armour(input) : std::string(input);
}

std::string blob_of(const std::string& text) {
  std::string base64;
  for (const char c : text.substr(kBegin.size(), text.rfind("-----END") - kBegin.size()))
    if (c != '\n') base64 += c;
  return *base64_decode(base64);
}

}  // namespace

bool try_input(std::string_view input) {
  const std::string text = armoured(input);
  const auto signature = ssh::parse_signature(text);
  if (!signature) {
    check_error(signature.error());
    return false;
  }
  const auto again = ssh::parse_signature(armour(blob_of(text)));
  JITWG_CHECK(again && again->key == signature->key && again->ns == signature->ns && again->raw == signature->raw &&
              again->hash_algorithm == signature->hash_algorithm);
  // It holds for one namespace at most, and for these bytes alone.
  const auto verified = ssh::verify({kWords, text}, signature->ns);
  if (!verified) check_error(verified.error());
  JITWG_CHECK(!ssh::verify({kWords, text}, signature->ns + "x"));
  JITWG_CHECK(!ssh::verify({kWords + "x", text}, signature->ns));
  return verified.has_value();
}

void compare(std::string_view input) {
  const std::string text = armoured(input);
  const auto signature = ssh::parse_signature(text);
  if (!signature || !ssh::verify({kWords, text}, signature->ns)) return;
  const OpenSsh openssh;
  const std::string words = openssh.file("words", kWords);
  const Ran ran = OpenSsh::keygen({"-Y", "check-novalidate", "-n", signature->ns, "-s", openssh.file("signature", text)}, words);
  EXPECT_EQ(ran.code, 0) << ran.output;
}

}  // namespace jitwg::fuzz
