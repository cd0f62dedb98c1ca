#include "ssh-ca/format/sshsig.h"

#include <sodium.h>

#include "broker/base/encoding.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

constexpr std::string_view kMagic = "SSHSIG";
constexpr std::string_view kBegin = "-----BEGIN SSH SIGNATURE-----\n";
constexpr std::string_view kEnd = "-----END SSH SIGNATURE-----";

std::string hash(std::string_view algorithm, std::string_view body) {
  if (algorithm == "sha256") return sha256(body);
  JITWG_CHECK(algorithm == "sha512");
  std::string digest(crypto_hash_sha512_BYTES, '\0');
  crypto_hash_sha512(reinterpret_cast<unsigned char*>(digest.data()),
                     reinterpret_cast<const unsigned char*>(body.data()), body.size());
  return digest;
}

std::string armour(std::string_view blob) {
  const std::string base64 = base64_encode(blob);
  std::string text(kBegin);
  for (size_t i = 0; i < base64.size(); i += 70) text += base64.substr(i, 70) + "\n";
  return text += std::string(kEnd) + "\n";
}

}  // namespace

std::string signed_blob(std::string_view body, std::string_view ns, std::string_view hash_algorithm) {
  return WireWriter().raw(kMagic).string(ns).string("").string(hash_algorithm)
      .string(hash(hash_algorithm, body)).bytes();
}

Result<Signature> parse_signature(std::string_view armoured) {
  const auto bad = [](std::string why) {
    return fail(Code::bad_signature_format, "not an SSH signature: " + why, "ssh-keygen -Y sign makes one");
  };
  if (armoured.ends_with('\n')) armoured.remove_suffix(1);
  if (armoured.size() > 4096 || !armoured.starts_with(kBegin) || !armoured.ends_with(kEnd))
    return bad("its armour is off");
  std::string base64;
  for (const char c : armoured.substr(kBegin.size(), armoured.size() - kBegin.size() - kEnd.size()))
    if (c != '\n') base64.push_back(c);
  const auto blob = base64_decode(base64);
  if (!blob) return bad("its base64 is damaged");

  WireReader reader(*blob);
  if (reader.raw(kMagic.size()) != kMagic) return bad("no SSHSIG inside");
  if (reader.u32() != 1) return bad("not version 1");
  const std::string_view key_blob = reader.string(), ns = reader.string();
  const std::string_view reserved = reader.string(), algorithm = reader.string(), inner = reader.string();
  if (!reader.ok() || !reader.at_end()) return bad("it is cut short or too long");
  if (!reserved.empty()) return bad("its reserved field is used");
  if (algorithm != "sha512" && algorithm != "sha256") return bad("its hash is neither sha512 nor sha256");
  JITWG_ASSIGN(PublicKey key, PublicKey::parse_identity_blob(key_blob));
  return Signature{std::move(key), std::string(ns), std::string(algorithm), std::string(inner)};
}

Result<SignedBy> verify(const SignedDocument& document, std::string_view ns) {
  JITWG_ASSIGN(const Signature signature, parse_signature(document.signature));
  if (signature.ns != ns)
    return fail(Code::wrong_namespace, "signed for the namespace \"" + escape_for_terminal(signature.ns) +
                                           "\", not \"" + std::string(ns) + "\"");
  return verify_raw(signature.key, signature.raw, signed_blob(document.body, ns, signature.hash_algorithm));
}

Result<SignedDocument> sign(std::string body, std::string_view ns, const PublicKey& key, const Signer& signer) {
  JITWG_ASSIGN(const std::string inner, signer(signed_blob(body, ns, "sha512")));
  const std::string blob = WireWriter().raw(kMagic).u32(1).string(key.blob()).string(ns).string("")
                               .string("sha512").string(inner).bytes();
  return SignedDocument{std::move(body), armour(blob)};
}

SignedDocument sign(std::string body, std::string_view ns, const PrivateKey& key) {
  return *sign(std::move(body), ns, key.public_key(),
               [&](std::string_view m) -> Result<std::string> { return ed25519_signature(key.sign(m)); });
}

}  // namespace jitwg::ssh
