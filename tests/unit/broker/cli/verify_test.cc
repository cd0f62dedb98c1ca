#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/broker/cli/samples.h"

namespace jitwg::cli {
namespace {

std::string outcome(Sample& sample, std::optional<WallTime> now = std::nullopt) {
  const auto document = sample.document();
  const auto result =
      verify_activation(sample.request, document, sample.line(), sample.ca.public_key(), "lab-1",
                        now.value_or(sample.start + Seconds(5)));
  return result ? "ok" : std::string(name(result.error().code));
}

std::string with(const std::function<void(Sample&)>& change) {
  Sample sample;
  change(sample);
  return outcome(sample);
}

TEST(Verify, TakesWhatWasAskedFor) {
  Sample sample;
  EXPECT_EQ(outcome(sample), "ok");
  const auto verified = verify_activation(sample.request, sample.document(), sample.line(),
                                          sample.ca.public_key(), "lab-1", sample.start);
  ASSERT_TRUE(verified);
  EXPECT_EQ(verified->grant, sample.grant);
  EXPECT_EQ(verified->certificate, sample.line());
}

TEST(Verify, RefusesAGrantAboutSomethingElse) {
  EXPECT_EQ(with([](Sample& s) {
              s.grant.session = *SessionId::parse("019b0000-0000-7000-8000-0000fa12ab35");
            }),
            "foreign_grant");
  EXPECT_EQ(with([](Sample& s) { s.grant.person = "bob"; }), "foreign_grant");
  EXPECT_EQ(with([](Sample& s) { s.grant.target = "db-test"; }), "foreign_grant");
  EXPECT_EQ(with([](Sample& s) { s.grant.wg_public_key = wg_key('\7'); }), "foreign_grant");
  EXPECT_EQ(with([](Sample& s) { s.grant.incident = SessionId::make(s.grant.not_before); }), "foreign_grant");
  EXPECT_EQ(with([](Sample& s) { s.grant.break_glass = true; }), "foreign_grant");
  EXPECT_EQ(with([](Sample& s) { s.grant.realm = "lab-2"; }), "wrong_realm");
  EXPECT_EQ(with([](Sample& s) { s.request.duration = Seconds(5399); }), "foreign_grant");
}

TEST(Verify, TakesAShorterGrantThanWasAskedFor) {
  EXPECT_EQ(with([](Sample& s) { s.request.duration = Seconds(7200); }), "ok");
}

TEST(Verify, RefusesAnotherCa) {
  Sample sample;
  const auto document = sample.document();
  const auto other = ssh::PrivateKey::generate().public_key();
  const auto result =
      verify_activation(sample.request, document, sample.line(), other, "lab-1", sample.start);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::foreign_grant);
}

TEST(Verify, RefusesACertificateThatIsNotTheSessionsOwn) {
  EXPECT_EQ(with([](Sample& s) { s.certificate.key = ssh::PrivateKey::generate().public_key(); }),
            "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) { s.certificate.key_id = "jitwg1:other"; }), "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) { s.certificate.principals = {"root"}; }), "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) { s.certificate.principals.push_back("root"); }),
            "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) { s.certificate.critical_options.clear(); }), "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) {
              s.certificate.critical_options = {{"source-address", "0.0.0.0/0"}};
            }),
            "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) {
              s.certificate.critical_options.insert(s.certificate.critical_options.begin(),
                                                    {"force-command", "id"});
            }),
            "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) { s.certificate.serial = 1; }), "foreign_certificate");
  EXPECT_EQ(with([](Sample& s) { s.certificate.valid_before += Seconds(1); }),
            "foreign_certificate");
}

TEST(Verify, RefusesACertificateOfAnotherCa) {
  Sample sample;
  const auto other = ssh::PrivateKey::generate();
  sample.certificate.ca = other.public_key();
  const std::string blob =
      ssh::assemble_certificate(sample.certificate, other.sign(sample.certificate.to_be_signed()));
  sample.grant.certificate_sha256 = sha256_hex(blob);
  const auto document = ssh::sign(render_grant(sample.grant), kGrantNamespace, sample.ca);
  const auto result =
      verify_activation(sample.request, document, ssh::render_certificate_line(blob),
                        sample.ca.public_key(), "lab-1", sample.start);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::foreign_certificate);
}

TEST(Verify, RefusesACertificateTheGrantDoesNotName) {
  Sample sample;
  const auto document = sample.document();
  sample.certificate.extensions.clear();
  for (const std::optional<std::string>& line :
       {std::optional(sample.line()), std::optional<std::string>(),
        std::optional<std::string>("nonsense")}) {
    const auto result = verify_activation(sample.request, document, line, sample.ca.public_key(),
                                          "lab-1", sample.start);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::foreign_certificate);
  }
}

TEST(Verify, JudgesTheTimesByItsOwnClock) {
  Sample sample;
  EXPECT_EQ(outcome(sample, sample.start - Seconds(300)), "ok");
  EXPECT_EQ(outcome(sample, sample.start - Seconds(301)), "clock");
  EXPECT_EQ(outcome(sample, sample.grant.not_after - Seconds(1)), "ok");
  EXPECT_EQ(outcome(sample, sample.grant.not_after), "session_ended");
}

TEST(Verify, TakesATunnelWithoutALogin) {
  Sample sample;
  sample.grant.jump_hosts.clear();
  sample.grant.login.reset();
  sample.grant.serial.reset();
  const auto document = ssh::sign(render_grant(sample.grant), kGrantNamespace, sample.ca);
  const auto bare = verify_activation(sample.request, document, std::nullopt,
                                      sample.ca.public_key(), "lab-1", sample.start);
  ASSERT_TRUE(bare) << bare.error().render();
  EXPECT_FALSE(bare->certificate);
  EXPECT_FALSE(verify_activation(sample.request, document, sample.line(), sample.ca.public_key(),
                                 "lab-1", sample.start));
}

}  // namespace
}  // namespace jitwg::cli
