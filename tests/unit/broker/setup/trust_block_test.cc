#include "broker/setup/trust_block.h"

#include <gtest/gtest.h>

namespace jitwg::setup {
namespace {

const std::string kPin = "sha256//MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const std::string kOther = "sha256//QTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

std::string block() {
  const auto ca = ssh::PublicKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvcuTjn8aIPoX1kbZN3nM7MjvwV4Rxbp7P+5p4DnYxd");
  return render_trust({"https://broker.example:7443", {kPin, kOther}, *ca, "lab-7d1f"});
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = block();
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(TrustBlock, WhatIsRenderedReadsBack) {
  const auto trust = parse_trust(block());
  ASSERT_TRUE(trust) << trust.error().render();
  EXPECT_EQ(trust->broker, "https://broker.example:7443");
  EXPECT_EQ(trust->pins, (std::vector{kPin, kOther}));
  EXPECT_EQ(trust->realm, "lab-7d1f");
  EXPECT_EQ(render_trust(*trust), block());
}

TEST(TrustBlock, TwoCaKeysWhileItIsBeingChanged) {
  const std::string second = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII9NO/zFY3raEZ3i1OnKI1nPdPdXu8UBy9yzylDMFSoB";
  const std::string text = with("realm =", "ca = " + second + "\nrealm =");
  const auto trust = parse_trust(text);
  ASSERT_TRUE(trust) << trust.error().render();
  EXPECT_EQ(trust->ca.all().size(), 2u);
  EXPECT_EQ(trust->ca.all()[1].str(), second);
  EXPECT_TRUE(render_trust(*trust).find("ca = " + second) != std::string::npos);
  EXPECT_FALSE(parse_trust(with("realm =", "ca = " + parse_trust(block())->ca.first().str() + "\nrealm =")));
}

TEST(TrustBlock, MailAroundItDoesNotCount) {
  std::string mailed = "Hello,\nthis = is it:\n\n" + block() + "\n-- \nThe administrator\n";
  for (size_t at = 0; (at = mailed.find('\n', at)) != mailed.npos; at += 3) mailed.insert(at, " \r");
  const auto trust = parse_trust(mailed);
  ASSERT_TRUE(trust) << trust.error().render();
  EXPECT_EQ(render_trust(*trust), block());
}

TEST(TrustBlock, ASocketNeedsNoPin) {
  EXPECT_TRUE(parse_trust(with("https://broker.example:7443\nbroker-pin = " + kPin + "\nbroker-pin = " + kOther,
                               "unix:/run/jitwg/broker.sock")));
}

TEST(TrustBlock, AnythingElseIsRefused) {
  const std::string text = block();
  const std::vector<std::string> bad = {
      "", "rubbish", text + text, with("-----END JITWG TRUST-----", ""), with("-----BEGIN JITWG TRUST-----", ""),
      text + "-----BEGIN JITWG TRUST-----\n", text + "-----END JITWG TRUST-----\n",
      with("realm = lab-7d1f\n", ""), with("realm = lab-7d1f", "realm = a\nrealm = b"), with("realm = lab-7d1f", "realm = a b"),
      with("realm = lab-7d1f", "realm = lab-7d1f\nperson = alice"), with("realm = lab-7d1f", "realm lab-7d1f"),
      with("broker-pin = " + kPin + "\nbroker-pin = " + kOther + "\n", ""), with(kPin, "sha256//short"), with(kPin, ""),
      with("https://", "http://"), with("broker.example", "broker example"), with("broker =", "broker-ca ="),
      with("ca = ", "ca = x"), with("ssh-ed25519 ", "ssh-rsa "), with("realm = lab-7d1f", "realm = \x1b[2J")};
  for (const std::string& each : bad) {
    const auto trust = parse_trust(each);
    ASSERT_FALSE(trust) << each;
    EXPECT_EQ(kind(trust.error().code), Kind::usage) << each;
    EXPECT_EQ(trust.error().message.find('\x1b'), std::string::npos);
  }
}

TEST(TrustBlock, NoByteOfItMayChangeUnseen) {
  const std::string text = block();
  int refused = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    const auto trust = parse_trust(changed);
    if (trust) {
      EXPECT_NE(render_trust(*trust), text) << i;
    }
    refused += !trust;
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace jitwg::setup
