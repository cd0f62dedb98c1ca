#include <gtest/gtest.h>

#include "broker/base/encoding.h"
#include "broker/session/grant.h"
#include "broker/session/state.h"

namespace jitwg {
namespace {

std::string wg_key() { return base64_encode(std::string(1, '\x09') + std::string(31, '\0')); }

Grant sample() {
  return Grant{.realm = "lab-1",
               .session = *SessionId::parse("019b0000-0000-7000-8000-000000000001"),
               .person = "alice",
               .target = "db-prod",
               .login = "alice",
               .wg_public_key = wg_key(),
               .address = {*Prefix::parse("10.90.0.2/32"), *Prefix::parse("fd00:90::2/128")},
               .scope = *parse_scope({"tcp 10.60.10.20:5432", "tcp 10.60.0.5:22", "tcp [fd00::1]:22"}),
               .gateway = {"gw1", wg_key(), *Endpoint::parse("192.0.2.10:51820")},
               .jump_hosts = {{"jump1", {*IpAddress::parse("10.60.0.5")}, {ssh::PrivateKey::generate().public_key().str()}}},
               .certificate_sha256 = std::string(64, 'a'),
               .serial = "9223372036854775807",
               .not_before = *parse_time("2026-01-01T00:00:00Z"),
               .not_after = *parse_time("2026-01-01T01:30:00Z"),
               .policy_sha256 = std::string(64, 'b')};
}

TEST(Grant, ComesBackAsItWas) {
  const Grant g = sample();
  const auto back = parse_grant(render_grant(g));
  ASSERT_TRUE(back) << back.error().render();
  EXPECT_EQ(*back, g);
}

TEST(Grant, CarriesNatAndNamesOnlyWhenTheyAreSet) {
  Grant g = sample();
  EXPECT_EQ(render_grant(g).find("\"nat\""), std::string::npos) << "as a signer wrote it that knew neither";
  EXPECT_EQ(render_grant(g).find("\"names\""), std::string::npos);
  g.nat = true;
  g.names = {{"db1.prod.example", *IpAddress::parse("10.60.10.20")}, {"jump1", *IpAddress::parse("10.60.0.5")}};
  const auto back = parse_grant(render_grant(g));
  ASSERT_TRUE(back) << back.error().render();
  EXPECT_EQ(*back, g);
}

TEST(Grant, OnlyTheRealmsOwnCaCounts) {
  const auto ca = ssh::PrivateKey::generate(), other = ssh::PrivateKey::generate();
  const auto code = [&](const ssh::SignedDocument& d, std::string_view realm = "lab-1") {
    const auto r = verify_grant(d, ca.public_key(), realm);
    return r ? std::string_view("ok") : name(r.error().code);
  };
  const auto good = ssh::sign(render_grant(sample()), kGrantNamespace, ca);
  EXPECT_EQ(code(good), "ok");
  EXPECT_EQ(code(good, "lab-2"), "wrong_realm");
  EXPECT_EQ(code(ssh::sign(render_grant(sample()), kGrantNamespace, other)), "foreign_grant");
  EXPECT_EQ(code(ssh::sign(render_grant(sample()), "jitwg", ca)), "wrong_namespace");
  auto altered = good;
  altered.body[altered.body.find("alice")] = 'b';
  EXPECT_EQ(code(altered), "bad_signature");
}

TEST(Grant, RefusesWhatNoSignerWouldWrite) {
  const auto refused = [](auto change) {
    Grant g = sample();
    change(g);
    return !parse_grant(render_grant(g));
  };
  EXPECT_TRUE(refused([](Grant& g) { g.address = {*Prefix::parse("10.90.0.0/24")}; }));
  EXPECT_TRUE(refused([](Grant& g) { g.address.clear(); }));
  EXPECT_TRUE(refused([](Grant& g) { g.scope.clear(); }));
  EXPECT_TRUE(refused([](Grant& g) { g.login.reset(); }));
  EXPECT_TRUE(refused([](Grant& g) { g.jump_hosts.clear(); }));
  EXPECT_TRUE(refused([](Grant& g) { g.certificate_sha256 = "short"; }));
  EXPECT_TRUE(refused([](Grant& g) { g.not_after = g.not_before; }));
  EXPECT_TRUE(refused([](Grant& g) { g.wg_public_key = base64_encode(std::string(32, '\0')); }));
  EXPECT_TRUE(refused([](Grant& g) { g.person = "al ice"; }));
  EXPECT_TRUE(refused([](Grant& g) { g.names = {{"db1\n10.0.0.1 bank.example", *IpAddress::parse("10.60.10.20")}}; }));
  EXPECT_TRUE(refused([](Grant& g) { g.names = {{"db1", *IpAddress::parse("10.60.10.21")}}; })) << "out of scope";
  for (const char* more : {"\"names\":{}", "\"names\":null", "\"nat\":false", "\"nat\":1", "\"NAT\":true"})
    EXPECT_FALSE(parse_grant(render_grant(sample()).insert(1, std::string(more) + ","))) << more;
  std::string text = render_grant(sample());
  EXPECT_FALSE(parse_grant(text.replace(text.find("\"not_after\""), 11, "\"not_afteR\"")));
}

TEST(State, NothingLeavesAFinalStateAndAllIsReachable) {
  using enum State;
  for (const State s : {denied, cancelled, lapsed, closed}) EXPECT_TRUE(is_final(s)) << name(s);
  for (const State s : {pending, approved, opening, active, closing}) EXPECT_FALSE(is_final(s)) << name(s);
  EXPECT_FALSE(may_become(active, closed));   // closed needs evidence: by way of closing
  EXPECT_FALSE(may_become(pending, opening));
  EXPECT_TRUE(may_become(opening, closed));
  EXPECT_EQ(*parse_state(name(closing)), closing);
  EXPECT_FALSE(parse_state("deleted"));
}

}  // namespace
}  // namespace jitwg
