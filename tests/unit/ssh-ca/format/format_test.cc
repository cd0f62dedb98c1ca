// Agreement with ssh-keygen, both ways: what it makes we read, what we make it reads.
#include <gtest/gtest.h>
#include <sodium.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "broker/base/encoding.h"
#include "broker/os/file.h"
#include "ssh-ca/format/allowed_signers.h"
#include "ssh-ca/format/ca_keys.h"
#include "ssh-ca/format/certificate.h"
#include "ssh-ca/format/sshsig.h"
#include "ssh-ca/format/wire.h"

namespace jitwg::ssh {
namespace {

class Format : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/jitwg-format-XXXXXX";
    dir_ = mkdtemp(name);
  }
  void TearDown() override { run("rm -rf " + dir_); }
  int run(const std::string& command) { return std::system(("cd " + dir_ + " && " + command).c_str()); }
  std::string read(const std::string& file) { return *read_file(dir_ + "/" + file, 1 << 20); }
  void write(const std::string& file, const std::string& bytes) {
    ASSERT_TRUE(write_file(dir_ + "/" + file, bytes, 0600));
  }
  PrivateKey keygen(const std::string& file) {
    EXPECT_EQ(run("ssh-keygen -q -t ed25519 -N '' -C '' -f " + file), 0);
    return std::move(*PrivateKey::parse_openssh(read(file)));
  }
  std::string dir_;
};

Certificate sample(const PrivateKey& ca, const PublicKey& key) {
  return {random_bytes(32), key, 9007199254740993, "jitwg1:019b0000-0000-7000-8000-000000000001",
          {"jitwg:019b0000-0000-7000-8000-000000000001"}, *parse_time("2026-01-01T00:00:00Z"),
          *parse_time("2026-01-01T01:30:00Z"), {{"source-address", "10.90.0.2/32"}}, {"permit-pty"}, ca.public_key()};
}

TEST_F(Format, ReadsKeysOfSshKeygen) {
  const PrivateKey key = keygen("k");
  const auto listed = PublicKey::parse(read("k.pub"));
  ASSERT_TRUE(listed);
  EXPECT_EQ(*listed, key.public_key());
  ASSERT_EQ(run("ssh-keygen -lf k.pub | grep -qF '" + key.public_key().fingerprint() + "'"), 0);
}

TEST_F(Format, SshKeygenReadsOurKeys) {
  const PrivateKey key = PrivateKey::generate();
  write("k", key.render_openssh("mine"));
  ASSERT_EQ(run("ssh-keygen -y -f k > k.pub"), 0);
  EXPECT_EQ(*PublicKey::parse(read("k.pub").substr(0, read("k.pub").find('\n'))), key.public_key());
}

TEST_F(Format, RefusesEncryptedAndForeignPrivateKeys) {
  ASSERT_EQ(run("ssh-keygen -q -t ed25519 -N secret -f e"), 0);
  EXPECT_EQ(PrivateKey::parse_openssh(read("e")).error().code, Code::bad_key);
  ASSERT_EQ(run("ssh-keygen -q -t ecdsa -N '' -f c"), 0);
  EXPECT_EQ(PrivateKey::parse_openssh(read("c")).error().code, Code::bad_key);
  EXPECT_EQ(PublicKey::parse(read("c.pub")).error().code, Code::bad_key);
}

// What people may sign with, made and signed with by the real ssh-keygen.
TEST_F(Format, PeoplesKeysOfAllTypes) {
  const struct { const char* options; KeyType type; } kinds[] = {
      {"-t ed25519", KeyType::ed25519}, {"-t ecdsa -b 256", KeyType::ecdsa_p256}, {"-t rsa -b 3072", KeyType::rsa}, {"-t rsa -b 4096", KeyType::rsa}};
  for (const auto& [options, type] : kinds) {
    SCOPED_TRACE(options);
    run("rm -f p p.pub m.sig");
    ASSERT_EQ(run(std::string("ssh-keygen -q -N '' -f p ") + options), 0);
    const auto key = PublicKey::parse_identity(read("p.pub"));
    ASSERT_TRUE(key);
    EXPECT_EQ(key->type(), type);
    EXPECT_FALSE(key->is_hardware());
    EXPECT_TRUE(read("p.pub").starts_with(key->str()));
    EXPECT_EQ(run("ssh-keygen -lf p.pub | grep -qF '" + key->fingerprint() + "'"), 0);
    write("m", "the bytes");
    for (const char* hash : {"sha512", "sha256"}) {
      run("rm -f m.sig");
      ASSERT_EQ(run(std::string("ssh-keygen -q -Y sign -f p -n jitwg -O hashalg=") + hash + " m"), 0);
      const auto by = verify({"the bytes", read("m.sig")}, "jitwg");
      ASSERT_TRUE(by) << by.error().render();
      EXPECT_EQ(by->key, *key);
      EXPECT_FALSE(by->user_verified);
      EXPECT_EQ(verify({"the bytez", read("m.sig")}, "jitwg").error().code, Code::bad_signature);
      EXPECT_EQ(verify({"the bytes", read("m.sig")}, "file").error().code, Code::wrong_namespace);
    }
  }
}

TEST_F(Format, KeysThatNobodyMaySignWith) {
  const auto refused = [&](const std::string& options, const std::string& words) {
    run("rm -f q q.pub q-cert.pub");
    EXPECT_EQ(run("ssh-keygen -q -N '' -f q " + options), 0) << options;
    const auto key = PublicKey::parse_identity(read("q.pub"));
    ASSERT_FALSE(key) << options;
    EXPECT_EQ(key.error().code, Code::bad_key);
    EXPECT_NE(key.error().message.find(words), std::string::npos) << key.error().message;
  };
  refused("-t rsa -b 2048", "2048 bits");
  refused("-t ecdsa -b 384", "not accepted");
  ASSERT_EQ(run("rm -f q q.pub; ssh-keygen -q -t ed25519 -N '' -f q && ssh-keygen -q -t ed25519 -N '' -f ca2 && ssh-keygen -q -s ca2 -I x -n x q.pub"), 0);
  EXPECT_NE(PublicKey::parse_identity(read("q-cert.pub")).error().message.find("is a certificate"), std::string::npos);
  EXPECT_NE(PublicKey::parse_identity("ecdsa-sha2-nistp256 " + read("q.pub").substr(12)).error().message.find("another type"), std::string::npos);
}

// Numbers that mean the same but are written otherwise would be one signature in two shapes.
TEST_F(Format, EcdsaNumbersInTheirShortestForm) {
  ASSERT_EQ(run("ssh-keygen -q -t ecdsa -b 256 -N '' -f ec"), 0);
  write("m", "x");
  ASSERT_EQ(run("ssh-keygen -q -Y sign -f ec -n jitwg m"), 0);
  const auto good = parse_signature(read("m.sig"));
  ASSERT_TRUE(good);
  const std::string message = signed_blob("x", "jitwg", good->hash_algorithm);
  ASSERT_TRUE(verify_raw(good->key, good->raw, message));
  WireReader outer(good->raw);
  outer.string();
  WireReader pair(outer.string());
  const std::string r(pair.string()), s(pair.string());
  const auto with = [&](const std::string& a, const std::string& b, const std::string& more = {}) {
    const std::string raw = WireWriter().string("ecdsa-sha2-nistp256").string(WireWriter().string(a).string(b).raw(more).bytes()).bytes();
    const auto done = verify_raw(good->key, raw, message);
    return done ? std::string("ok") : std::string(name(done.error().code));
  };
  EXPECT_EQ(with(r, s), "ok");
  EXPECT_EQ(with(std::string(1, '\0') + r, s), "bad_signature_format");
  EXPECT_EQ(with("", s), "bad_signature_format");
  EXPECT_EQ(with(std::string(1, '\0'), s), "bad_signature_format");
  EXPECT_EQ(with("\xff" + r, s), "bad_signature_format");
  EXPECT_EQ(with(r, s, "x"), "bad_signature_format");
  EXPECT_EQ(with("\x01" + std::string(40, 'x'), s), "bad_signature");
  EXPECT_EQ(with(s, r), "bad_signature");
}

TEST_F(Format, PrivateKeyWithForeignPublicHalfIsRefused) {
  const PrivateKey one = PrivateKey::generate(), two = PrivateKey::generate();
  const std::string pem = one.render_openssh("");
  std::string base64;
  for (size_t i = pem.find('\n') + 1; i < pem.find("-----END"); ++i)
    if (pem[i] != '\n') base64 += pem[i];
  std::string blob = *base64_decode(base64);
  for (size_t at = blob.find(one.public_key().ed25519()); at != std::string::npos;
       at = blob.find(one.public_key().ed25519()))
    blob.replace(at, 32, two.public_key().ed25519());
  const std::string forged = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + base64_encode(blob) +
                             "\n-----END OPENSSH PRIVATE KEY-----\n";
  EXPECT_EQ(PrivateKey::parse_openssh(forged).error().code, Code::bad_key);
}

TEST_F(Format, SignaturesAgreeWithSshKeygenBothWays) {
  const PrivateKey key = keygen("k");
  write("body", "some bytes\n");
  ASSERT_EQ(run("ssh-keygen -q -Y sign -f k -n jitwg body 2>/dev/null"), 0);
  const auto who = verify({read("body"), read("body.sig")}, "jitwg");
  ASSERT_TRUE(who) << who.error().render();
  EXPECT_EQ(who->key, key.public_key());
  EXPECT_EQ(verify({read("body") + "x", read("body.sig")}, "jitwg").error().code, Code::bad_signature);
  EXPECT_EQ(verify({read("body"), read("body.sig")}, "other").error().code, Code::wrong_namespace);

  const SignedDocument ours = sign("other bytes", "jitwg", key);
  write("ours.sig", ours.signature);
  write("ours", ours.body);
  write("signers", "alice namespaces=\"jitwg\" " + key.public_key().str() + "\n");
  EXPECT_EQ(run("ssh-keygen -Y verify -f signers -I alice -n jitwg -s ours.sig < ours >/dev/null 2>&1"), 0);
  EXPECT_NE(run("ssh-keygen -Y verify -f signers -I alice -n git -s ours.sig < ours >/dev/null 2>&1"), 0);
}

TEST_F(Format, EveryTruncatedOrFlippedSignatureIsRefused) {
  const PrivateKey key = PrivateKey::generate();
  const SignedDocument good = sign("body", "jitwg", key);
  ASSERT_TRUE(verify(good, "jitwg"));
  for (size_t n = 0; n + 1 < good.signature.size(); ++n)
    EXPECT_FALSE(parse_signature(good.signature.substr(0, n))) << n;
  for (size_t i = 0; i + 1 < good.signature.size(); ++i) {
    SignedDocument bad = good;
    bad.signature[i] = static_cast<char>(bad.signature[i] ^ 1);
    EXPECT_FALSE(verify(bad, "jitwg")) << i;
  }
}

TEST_F(Format, CertificateIsReadBySshKeygen) {
  const PrivateKey ca = keygen("ca"), user = keygen("u");
  const Certificate c = sample(ca, user.public_key());
  const std::string blob = assemble_certificate(c, ca.sign(c.to_be_signed()));
  write("u-cert.pub", render_certificate_line(blob) + "\n");
  ASSERT_EQ(run("ssh-keygen -L -f u-cert.pub > out"), 0);
  const std::string out = read("out");
  for (const char* part : {"Key ID: \"jitwg1:019b0000-0000-7000-8000-000000000001\"", "Serial: 9007199254740993",
                           "source-address 10.90.0.2/32", "permit-pty", "user certificate"})
    EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
  const auto back = parse_certificate(blob);
  ASSERT_TRUE(back) << back.error().render();
  EXPECT_EQ(*back, c);
}

TEST_F(Format, CertificatesOfSshKeygenAreReadToTheLetter) {
  const PrivateKey ca = keygen("ca"), user = keygen("u");
  ASSERT_EQ(run("ssh-keygen -q -s ca -I id -n one,two -z 7 -V 20260101000000Z:20260101010000Z u.pub"), 0);
  const std::string line = read("u-cert.pub");
  const auto blob = parse_certificate_line(line.substr(0, line.rfind(" ")));
  const auto blob2 = blob ? blob : parse_certificate_line(line.substr(0, line.find('\n')));
  ASSERT_TRUE(blob2) << line;
  const auto c = parse_certificate(*blob2);
  ASSERT_TRUE(c) << c.error().render();
  EXPECT_EQ(c->serial, 7u);
  EXPECT_EQ(c->principals, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(c->extensions.size(), 5u);
  EXPECT_EQ(c->ca, ca.public_key());
  // sshd would take for-ever certificates; we never do.
  ASSERT_EQ(run("ssh-keygen -q -s ca -I id -n one u.pub"), 0);
  const std::string forever = read("u-cert.pub");
  const std::string base64 = forever.substr(forever.find(' ') + 1);
  const auto forever_blob = base64_decode(base64.substr(0, base64.find_first_of(" \n")));
  ASSERT_TRUE(forever_blob);
  EXPECT_EQ(parse_certificate(*forever_blob).error().code, Code::bad_certificate);
}

TEST_F(Format, EveryAlteredCertificateIsRefused) {
  const PrivateKey ca = PrivateKey::generate(), user = PrivateKey::generate();
  const Certificate c = sample(ca, user.public_key());
  const std::string blob = assemble_certificate(c, ca.sign(c.to_be_signed()));
  for (size_t n = 0; n < blob.size(); ++n) EXPECT_FALSE(parse_certificate(blob.substr(0, n))) << n;
  for (size_t i = 0; i < blob.size(); ++i) {
    std::string bad = blob;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    EXPECT_FALSE(parse_certificate(bad)) << i;
  }
  EXPECT_FALSE(parse_certificate(blob + "x"));
}

TEST_F(Format, DuplicateOptionsAreRefused) {
  const PrivateKey ca = PrivateKey::generate(), user = PrivateKey::generate();
  Certificate c = sample(ca, user.public_key());
  c.critical_options = {{"source-address", "10.0.0.1/32"}, {"source-address", "0.0.0.0/0"}};
  const std::string blob = assemble_certificate(c, ca.sign(c.to_be_signed()));
  EXPECT_EQ(parse_certificate(blob).error().code, Code::bad_certificate);
}

// OpenSSH reads C strings and refuses these; we took them, and what a log shows would have ended at the NUL.
TEST_F(Format, NamesThatHoldANulAreRefused) {
  const PrivateKey ca = PrivateKey::generate(), user = PrivateKey::generate();
  const std::string nul("a\0b", 3);
  for (int field = 0; field < 4; ++field) {
    Certificate c = sample(ca, user.public_key());
    if (field == 0) c.key_id = nul;
    if (field == 1) c.principals = {nul};
    if (field == 2) c.critical_options = {{"force-command", nul}};
    if (field == 3) c.extensions = {nul};
    const auto back = parse_certificate(assemble_certificate(c, ca.sign(c.to_be_signed())));
    ASSERT_FALSE(back) << field;
    EXPECT_EQ(back.error().code, Code::bad_certificate);
  }
  const auto hardware = [&](const std::string& application) {
    return PublicKey::parse_identity_blob(
        WireWriter().string("sk-ssh-ed25519@openssh.com").string(user.public_key().ed25519()).string(application).bytes());
  };
  EXPECT_TRUE(hardware("ssh:jitwg"));
  EXPECT_EQ(hardware("ssh:" + nul).error().code, Code::bad_key);
}

TEST_F(Format, CertificateInPlaceOfTheCaKeyIsRefused) {
  const PrivateKey ca = PrivateKey::generate(), user = PrivateKey::generate();
  const Certificate c = sample(ca, user.public_key());
  const std::string nested = assemble_certificate(c, ca.sign(c.to_be_signed()));
  std::string tbs = c.to_be_signed();
  tbs.resize(tbs.size() - 4 - ca.public_key().blob().size());
  tbs += WireWriter().string(nested).bytes();
  const std::string signature = WireWriter().string("ssh-ed25519").string(ca.sign(tbs)).bytes();
  EXPECT_EQ(parse_certificate(tbs + WireWriter().string(signature).bytes()).error().code, Code::bad_key);
}

TEST(WeakKeys, SmallOrderPointsAreRefused) {
  EXPECT_TRUE(is_weak_ed25519(std::string(32, '\0')));
  EXPECT_TRUE(is_weak_ed25519(std::string(1, '\1') + std::string(31, '\0')));
  EXPECT_FALSE(is_weak_ed25519(PrivateKey::generate().public_key().ed25519()));
  EXPECT_TRUE(is_weak_x25519(std::string(32, '\0')));
  EXPECT_TRUE(is_weak_x25519(std::string(1, '\1') + std::string(31, '\0')));
  EXPECT_TRUE(is_weak_x25519(std::string(1, '\xec') + std::string(30, '\xff') + "\x7f"));
  EXPECT_TRUE(is_weak_x25519(std::string(1, '\xee') + std::string(30, '\xff') + "\x7f"));
  EXPECT_FALSE(is_weak_x25519(std::string(1, '\x09') + std::string(31, '\0')));
}

TEST(WeakKeys, X25519AsLibsodiumSaysIt) {
  // Weak: whatever the scalar, the secret is zero, which libsodium tells by -1; or not the one spelling of its point.
  const auto is_zero = [](const std::string& key) {
    const unsigned char scalar[32] = {8, 1};
    unsigned char shared[32];
    return crypto_scalarmult_curve25519(shared, scalar, reinterpret_cast<const unsigned char*>(key.data())) != 0;
  };
  const auto canonical = [](const std::string& key) {
    std::string p(32, '\xff');
    p[0] = '\xed', p[31] = '\x7f';
    return std::lexicographical_compare(key.rbegin(), key.rend(), p.rbegin(), p.rend(),
                                        [](char a, char b) { return static_cast<uint8_t>(a) < static_cast<uint8_t>(b); });
  };
  std::vector<std::string> points = {std::string(32, '\0'), std::string(1, '\1') + std::string(31, '\0'),
                                     std::string(1, '\xec') + std::string(30, '\xff') + "\x7f",
                                     *hex_decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
                                     *hex_decode("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")};
  int weak = 0;
  for (const std::string& point : points) EXPECT_TRUE(is_zero(point) && is_weak_x25519(point)) << hex_encode(point);
  for (int i = 0; i < 2000; ++i) {
    std::string key = i % 2 ? random_bytes(32) : points[static_cast<size_t>(i / 2) % points.size()];
    if (i % 2 == 0) key[static_cast<size_t>(i / 10) % 32] ^= static_cast<char>(1 << i / 320);
    weak += is_weak_x25519(key);
    EXPECT_EQ(is_weak_x25519(key), !canonical(key) || is_zero(key)) << hex_encode(key);
  }
  EXPECT_GT(weak, 0);
}

TEST(WeakKeys, AGoodKeyMetBeforeMakesNoOtherGood) {
  const std::string good(PrivateKey::generate().public_key().ed25519());
  EXPECT_FALSE(is_weak_ed25519(good));
  EXPECT_FALSE(is_weak_ed25519(good));
  for (size_t i = 2; i < 32; ++i) {  // of the same place in what is remembered
    std::string other = good;
    int weak = 0;
    for (int bit = 0; bit < 8; ++bit) {
      other[i] = static_cast<char>(good[i] ^ 1 << bit);
      weak += is_weak_ed25519(other) == (crypto_core_ed25519_is_valid_point(reinterpret_cast<const unsigned char*>(other.data())) != 1);
    }
    EXPECT_EQ(weak, 8);
  }
  EXPECT_TRUE(is_weak_ed25519(std::string(32, '\0')));
}

TEST(AllowedSignersFile, RefusesWhatOpenSshWouldLetPass) {
  const std::string k1 = PrivateKey::generate().public_key().str(), k2 = PrivateKey::generate().public_key().str();
  const auto code = [](const std::string& text) {
    const auto r = AllowedSigners::parse(text);
    return r ? std::string("ok") : std::string(name(r.error().code)) + " " + r.error().message;
  };
  EXPECT_EQ(code("# people\n\nalice namespaces=\"jitwg\" " + k1 + "\nalice namespaces=\"jitwg\" " + k2 + " laptop\n"), "ok");
  for (const std::string& line : std::vector<std::string>
       {"alice " + k1, "alice,bob namespaces=\"jitwg\" " + k1, "*@x namespaces=\"jitwg\" " + k1,
        "alice namespaces=\"git\" " + k1, "alice namespaces=\"jitwg,git\" " + k1, "alice cert-authority,namespaces=\"jitwg\" " + k1,
        "alice namespaces=\"jitwg\",namespaces=\"jitwg\" " + k1, "alice namespaces=\"jitwg\" ssh-rsa AAAA",
        "alice namespaces=\"jitwg\",valid-before=\"20260101\" " + k1, std::string("alice"),
        "alice namespaces=\"jitwg\" " + k1 + "\nbob namespaces=\"jitwg\" " + k1})
    EXPECT_EQ(code(line).substr(0, 19), "bad_allowed_signers") << line;
  EXPECT_NE(code("alice namespaces=\"jitwg\" " + k1 + "\nbob " + k2).find("line 2"), std::string::npos);
}

TEST(CaKeys, OneOrTwoAndNothingElse) {
  const std::string a = PrivateKey::generate().public_key().str(), b = PrivateKey::generate().public_key().str(),
                    c = PrivateKey::generate().public_key().str();
  const auto both = CaKeys::parse("# old\n" + a + " jitwg-ca\n\n" + b);
  ASSERT_TRUE(both) << both.error().render();
  EXPECT_EQ(both->lines(), (std::vector{a, b}));
  EXPECT_EQ(both->first().str(), a);
  EXPECT_TRUE(both->contains(*PublicKey::parse(b)));
  EXPECT_FALSE(both->contains(*PublicKey::parse(c)));
  for (const std::string& bad : {std::string(), std::string("# none\n"), a + "\n" + b + "\n" + c, a + "\n" + a + " again",
                                 a + "\nssh-rsa AAAA", a + "\r\n" + b, "cert-authority " + a, a.substr(0, 40)})
    EXPECT_EQ(CaKeys::parse(bad).error().code, Code::bad_key) << bad;
}

TEST(AllowedSignersFile, KeysHaveTheirTime) {
  const PublicKey key = PrivateKey::generate().public_key();
  const auto all = AllowedSigners::parse("alice namespaces=\"jitwg\",valid-after=\"20260101Z\",valid-before=\"20260201120000Z\" " + key.str());
  ASSERT_TRUE(all) << all.error().render();
  EXPECT_EQ(all->person_of(key, *parse_time("2026-01-15T00:00:00Z")).value(), "alice");
  EXPECT_EQ(all->person_of(key, *parse_time("2025-12-31T23:59:59Z")).error().code, Code::stale);
  EXPECT_EQ(all->person_of(key, *parse_time("2026-02-01T12:00:00Z")).error().code, Code::stale);
  EXPECT_EQ(all->person_of(PrivateKey::generate().public_key(), {}).error().code, Code::unknown_person);
}

}  // namespace
}  // namespace jitwg::ssh
