#include "ssh-ca/format/private_key.h"

#include <sodium.h>

#include <cstring>

#include "broker/base/encoding.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

constexpr std::string_view kBegin = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
constexpr std::string_view kEnd = "-----END OPENSSH PRIVATE KEY-----\n";
constexpr std::string_view kMagic{"openssh-key-v1\0", 15};
constexpr size_t kBlock = 8;  // padding of unencrypted keys

tl::unexpected<Error> bad(std::string why) {
  return fail(Code::bad_key, "private key: " + std::move(why), "ssh-keygen -t ed25519 makes the right kind");
}

}  // namespace

std::string ed25519_signature(std::string_view raw64) {
  JITWG_CHECK(raw64.size() == 64);
  return WireWriter().string("ssh-ed25519").string(raw64).bytes();
}

PrivateKey PrivateKey::generate() {
  Secret<64> secret;
  unsigned char pub[32];
  crypto_sign_keypair(pub, secret.data());
  return PrivateKey(std::move(secret), PublicKey::from_ed25519({reinterpret_cast<char*>(pub), 32}));
}

Result<PrivateKey> PrivateKey::parse_openssh(std::string_view pem) {
  if (!pem.starts_with(kBegin) || !pem.ends_with(kEnd)) return bad("not an OpenSSH private key file");
  std::string base64;
  for (const char c : pem.substr(kBegin.size(), pem.size() - kBegin.size() - kEnd.size()))
    if (c != '\n') base64.push_back(c);
  auto blob = base64_decode(base64);
  sodium_memzero(base64.data(), base64.size());
  if (!blob) return bad("its base64 is damaged");
  // Every return below wipes the decoded copy.
  struct Wipe {
    std::string& s;
    ~Wipe() { sodium_memzero(s.data(), s.size()); }
  } wipe{*blob};

  WireReader outer(*blob);
  if (outer.raw(kMagic.size()) != kMagic) return bad("not openssh-key-v1");
  const std::string_view cipher = outer.string(), kdf = outer.string();
  outer.string();  // kdf options
  if (cipher != "none" || kdf != "none")
    return fail(Code::bad_key, "private key: it has a passphrase", "load it into ssh-agent with ssh-add");
  if (outer.u32() != 1) return bad("it holds more than one key");
  const std::string public_blob(outer.string());
  WireReader inner(outer.string());
  if (!outer.ok() || !outer.at_end()) return bad("it is cut short or too long");

  const uint32_t check = inner.u32();
  if (inner.u32() != check || inner.string() != "ssh-ed25519") return bad("not an ed25519 key");
  const std::string_view pub = inner.string(), sec = inner.string();
  inner.string();  // comment
  if (!inner.ok() || pub.size() != 32 || sec.size() != 64) return bad("an ed25519 key of the wrong length");
  uint8_t expected = 1;
  for (const char c : inner.rest())
    if (static_cast<uint8_t>(c) != expected++) return bad("its padding is off");

  Secret<64> secret;
  unsigned char derived[32];
  // The public half is computed again from the seed: a file whose halves differ would leak the key when it signs.
  crypto_sign_seed_keypair(derived, secret.data(), reinterpret_cast<const unsigned char*>(sec.data()));
  JITWG_ASSIGN(PublicKey listed, PublicKey::parse_blob(public_blob));
  if (std::memcmp(derived, pub.data(), 32) != 0 || std::memcmp(secret.data(), sec.data(), 64) != 0 ||
      listed.ed25519() != pub)
    return bad("its halves do not belong together");
  return PrivateKey(std::move(secret), std::move(listed));
}

std::string PrivateKey::render_openssh(std::string_view comment) const {
  const std::string_view secret(reinterpret_cast<const char*>(secret_.data()), secret_.size());
  const uint32_t check = randombytes_random();
  WireWriter inner;
  inner.u32(check).u32(check).string("ssh-ed25519").string(public_.ed25519()).string(secret).string(comment);
  for (char pad = 1; inner.bytes().size() % kBlock != 0; ++pad) inner.raw({&pad, 1});
  WireWriter outer;
  outer.raw(kMagic).string("none").string("none").string("").u32(1).string(public_.blob()).string(inner.bytes());
  const std::string base64 = base64_encode(outer.bytes());
  std::string pem(kBegin);
  for (size_t i = 0; i < base64.size(); i += 70) pem += base64.substr(i, 70) + "\n";
  return pem += kEnd;
}

std::string PrivateKey::sign(std::string_view message) const {
  std::string raw(64, '\0');
  crypto_sign_detached(reinterpret_cast<unsigned char*>(raw.data()), nullptr,
                       reinterpret_cast<const unsigned char*>(message.data()), message.size(), secret_.data());
  return raw;
}

}  // namespace jitwg::ssh
