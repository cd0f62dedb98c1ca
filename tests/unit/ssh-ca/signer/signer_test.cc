#include "ssh-ca/signer/signer.h"

#include "broker/session/address_pool.h"
#include "ssh-ca/format/certificate.h"
#include "ssh-ca/signer/frames.h"
#include "ssh-ca/signer/synced_lists.h"
#include "tests/unit/ssh-ca/signer/world.h"

namespace jitwg::signer {
namespace {

struct SignerTest : ::testing::Test {
  World w;
  Signer signer = w.signer();
  std::string ask(const json::value& question, WallTime now = kNow) { return code_of(signer.answer(question, now)); }
  // One approved request, with a change to request or decision before it is signed.
  template <typename Change>
  std::string with_request(Change change) {
    RequestStatement r = w.request();
    change(r);
    const auto doc = w.sign(r);
    return ask(w.issue(doc, {w.sign(w.decision(doc))}));
  }
  template <typename Change>
  std::string with_decision(Change change) {
    const auto doc = w.sign(w.request());
    DecisionStatement d = w.decision(doc);
    change(d);
    return ask(w.issue(doc, {w.sign(d)}));
  }
};

TEST_F(SignerTest, IssuesBothTogether) {
  const auto doc = w.sign(w.request());
  const auto answer = signer.answer(w.issue(doc, {w.sign(w.decision(doc))}), kNow);
  ASSERT_EQ(code_of(answer), "ok") << render_json(answer);
  const auto grant = verify_grant(*parse_document(answer.at("grant"), "grant"), w.ca.public_key(), "lab-7d1f");
  ASSERT_TRUE(grant) << grant.error().render();
  const auto blob = *ssh::parse_certificate_line(std::string(answer.at("certificate").as_string()));
  const auto cert = *ssh::parse_certificate(blob);
  EXPECT_EQ(cert.key_id, "jitwg1:" + grant->session.str());
  EXPECT_EQ(cert.principals, std::vector<std::string>{"jitwg:" + grant->session.str()});
  EXPECT_EQ(cert.valid_before, grant->not_after);
  EXPECT_EQ(cert.valid_after, kNow - Seconds(30));
  EXPECT_EQ(grant->not_after, kNow + Seconds(5400));
  EXPECT_EQ(*grant->certificate_sha256, sha256_hex(blob));
  EXPECT_EQ(cert.critical_options.at(0).second, grant->address.at(0).str() + "," + grant->address.at(1).str());
  EXPECT_EQ(cert.extensions, std::vector<std::string>{"permit-pty"});
  EXPECT_EQ(cert.ca, w.ca.public_key());
}

TEST_F(SignerTest, TheAddressComesFromThePoolsOfTheGrantsGateway) {
  std::string& text = w.sources.policy_toml;
  text.insert(text.find("[jump_hosts.jump1]"),
              "[gateways.gw2]\nendpoint = \"192.0.2.11:51820\"\nwireguard_key = \"" + wg_key() + "\"\nnode_key = \"" +
                  ssh::PrivateKey::generate().public_key().str() + "\"\npools = [\"10.91.0.0/16\"]\n");
  const std::string gateways = "gateways = [\"gw1\"]";
  text.replace(text.find(gateways), gateways.size(), "gateways = [\"gw1\", \"gw2\"]");
  ASSERT_TRUE(signer.reload(w.sources));
  const auto addresses = [&](const char* gateway) {
    const auto doc = w.sign(w.request());
    const auto answer = signer.answer(w.issue(doc, {w.sign(w.decision(doc))}, gateway), kNow);
    const auto grant = verify_grant(*parse_document(answer.at("grant"), "grant"), w.ca.public_key(), "lab-7d1f");
    std::vector<std::string> all;
    for (const Prefix& p : grant->address) all.push_back(p.str());
    return all;
  };
  EXPECT_EQ(addresses("gw2"), std::vector<std::string>{"10.91.0.2/32"});
  const auto first = addresses("gw1");
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0], "10.90.0.2/32");
  EXPECT_EQ(addresses("gw2"), std::vector<std::string>{"10.91.0.3/32"});
}

TEST_F(SignerTest, SameBytesSameAnswerAlsoAfterRestart) {
  const auto doc = w.sign(w.request());
  const auto question = w.issue(doc, {w.sign(w.decision(doc))});
  const auto first = signer.answer(question, kNow);
  EXPECT_EQ(signer.answer(question, kNow + Seconds(60)), first);
  ASSERT_TRUE(signer.sync());
  { Signer closed = std::move(signer); }
  Signer again = w.signer();
  EXPECT_EQ(again.answer(question, kNow + Seconds(60)), first);
  EXPECT_EQ(code_of(again.answer(w.issue(doc, {w.sign(w.decision(doc))}), kNow)), "replay");
}

TEST_F(SignerTest, RefusesWhatNobodyMayHave) {
  const auto doc = w.sign(w.request());
  EXPECT_EQ(ask(w.issue(doc, {})), "approvals_missing");
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc, "bob"))})), "not_approver");
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc, "alice"))})), "self_approval");
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc)), w.sign(w.decision(doc))})), "already_decided");
  EXPECT_EQ(ask(w.issue(doc, {w.sign_as("bob", w.decision(doc))})), "wrong_key");
  EXPECT_EQ(ask(w.issue(w.sign_as("bob", w.request()), {})), "wrong_key");
  EXPECT_EQ(ask(w.issue(doc, {doc})), "unknown_type");
  EXPECT_EQ(ask(w.issue(w.sign(w.decision(doc)), {})), "unknown_type");
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(w.sign(w.request())))})), "wrong_request");
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc))}, "gw9")), "wrong_node");
  auto altered = doc;
  altered.body.replace(altered.body.find("5400"), 4, "5401");
  EXPECT_EQ(ask(w.issue(altered, {w.sign(w.decision(doc))})), "bad_signature");
  auto other_policy = w.issue(doc, {w.sign(w.decision(doc))});
  other_policy.as_object()["policy_sha256"] = std::string(64, '0');
  EXPECT_EQ(ask(other_policy), "policy_changed");
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc))})), "ok");  // none of these spoiled it
}

TEST_F(SignerTest, RequestsItDoesNotBelieve) {
  EXPECT_EQ(with_request([](auto& r) { r.target = "db-prof"; }), "unknown_target");
  EXPECT_EQ(with_request([](auto& r) { r.duration = Seconds(5401); }), "duration_over_limit");
  EXPECT_EQ(with_request([](auto& r) { r.head.realm = "lab-0000"; }), "wrong_realm");
  EXPECT_EQ(with_request([](auto& r) { r.head.at = kNow + Seconds(301); }), "clock");
  EXPECT_EQ(with_request([](auto& r) { r.head.by = "dave"; }), "denied_by_rule");
  EXPECT_EQ(with_request([](auto& r) { r.head.by = "erin"; }), "no_rule");
  EXPECT_EQ(with_request([](auto& r) { r.incident = *SessionId::parse("019b0000-0000-7000-8000-000000000001"); }), "no_incident");
  EXPECT_EQ(with_request([&](auto& r) { r.ssh_public_key = w.people.at("bob").public_key(); }), "key_reused");
  EXPECT_EQ(with_request([&](auto& r) { r.ssh_public_key = w.ca.public_key(); }), "key_reused");
  const auto realm = w.realm();
  EXPECT_EQ(with_request([&](auto& r) { r.ssh_public_key = realm.policy.gateways.at("gw1").node_key; }), "key_reused");
  EXPECT_EQ(with_request([&](auto& r) { r.ssh_public_key = realm.policy.jump_hosts.at("jump1").host_keys[0]; }), "key_reused");
  EXPECT_EQ(with_request([&](auto& r) { r.wg_public_key = realm.policy.gateways.at("gw1").wireguard_key; }), "key_reused");
}

TEST_F(SignerTest, DecisionsItDoesNotBelieve) {
  EXPECT_EQ(with_decision([](auto& d) { d.choice = Choice::deny; }), "decision_denied");
  EXPECT_EQ(with_decision([](auto& d) { d.access.scope = *parse_scope({"tcp 10.60.10.20:5432"}); }), "scope_changed");
  EXPECT_EQ(with_decision([](auto& d) { d.access.login = "root"; }), "scope_changed");
  EXPECT_EQ(with_decision([](auto& d) { d.access.jump_hosts.clear(); }), "scope_changed");
  EXPECT_EQ(with_decision([](auto& d) { d.access.names["db1.prod.example"] = *IpAddress::parse("10.60.0.5"); }), "scope_changed");
  EXPECT_EQ(with_decision([](auto& d) { d.access.nat = true; }), "scope_changed");
  EXPECT_EQ(with_decision([](auto& d) { d.head.at = kNow - Seconds(301); }), "bad_order");
  EXPECT_EQ(with_decision([](auto& d) { d.head.at = kNow + Seconds(301); }), "clock");
  EXPECT_EQ(with_decision([](auto& d) { d.duration = Seconds(9); }), "bad_value");
  EXPECT_EQ(with_decision([](auto& d) { d.request_sha256 = std::string(64, '0'); }), "wrong_request");
}

TEST_F(SignerTest, LaptopClocksMayDifferByTheSkew) {
  EXPECT_EQ(with_request([](auto& r) { r.head.at = kNow + Seconds(299); }), "ok");
  EXPECT_EQ(with_decision([](auto& d) { d.head.at = kNow - Seconds(299); }), "ok");
  EXPECT_EQ(with_decision([](auto& d) { d.head.at = kNow + Seconds(299); }), "ok");
}

TEST_F(SignerTest, KeysServeOneSessionOnly) {
  const RequestStatement first = w.request();
  const auto doc = w.sign(first);
  ASSERT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc))})), "ok");
  EXPECT_EQ(with_request([&](auto& r) { r.wg_public_key = first.wg_public_key; }), "key_reused");
  EXPECT_EQ(with_request([&](auto& r) { r.ssh_public_key = first.ssh_public_key; }), "key_reused");
  EXPECT_EQ(with_request([&](auto& r) { r.head.nonce = first.head.nonce; }), "replay");
  EXPECT_EQ(with_request([&](auto& r) { r.session = first.session; }), "replay");
}

TEST_F(SignerTest, ShorterApprovalCounts) {
  const auto doc = w.sign(w.request());
  DecisionStatement d = w.decision(doc);
  d.duration = Seconds(600);
  const auto answer = signer.answer(w.issue(doc, {w.sign(d)}), kNow);
  EXPECT_EQ(parse_grant(parse_document(answer.at("grant"), "g")->body)->not_after, kNow + Seconds(600));
}

TEST_F(SignerTest, TimeIsItsOwn) {
  const auto doc = w.sign(w.request());
  const auto question = w.issue(doc, {w.sign(w.decision(doc))});
  EXPECT_EQ(ask(question, kNow + Seconds(3601)), "stale");           // activate_within
  EXPECT_EQ(ask(question, kNow - Seconds(301)), "clock");
  EXPECT_EQ(ask(question, kNow + Seconds(3600)), "ok");
  const auto later = w.sign(w.request("alice", kNow));
  EXPECT_EQ(ask(w.issue(later, {w.sign(w.decision(later))}), kNow), "clock_behind");  // the ledger is an hour ahead
}

TEST_F(SignerTest, RevokedSessionsGetNothing) {
  const RequestStatement r = w.request();
  const auto doc = w.sign(r);
  const auto question = w.issue(doc, {w.sign(w.decision(doc))});
  const auto apply = [&](const std::string& who) {
    return ask({{"op", "apply"}, {"statement", render_document(w.sign(RevokeStatement{w.head(who, kNow), {Subject::Kind::session, r.session.str()}, "stop"}))}});
  };
  EXPECT_EQ(apply("erin"), "ok");  // it may turn out to be hers
  EXPECT_EQ(ask(question), "ok");
  EXPECT_EQ(apply("erin"), "not_permitted");
  EXPECT_EQ(apply("alice"), "ok");
  EXPECT_EQ(ask(question), "revoked");

  const RequestStatement second = w.request();
  const auto second_doc = w.sign(second);
  EXPECT_EQ(ask({{"op", "apply"}, {"statement", render_document(w.sign(RevokeStatement{w.head("carol", kNow), {Subject::Kind::session, second.session.str()}, "stop"}))}}), "ok");
  EXPECT_EQ(ask(w.issue(second_doc, {w.sign(w.decision(second_doc))})), "revoked");
  ASSERT_TRUE(signer.sync());
  { Signer closed = std::move(signer); }
  Signer again = w.signer();
  EXPECT_EQ(code_of(again.answer(question, kNow)), "revoked");
}

TEST_F(SignerTest, OnlyTheTableOfMessages) {
  EXPECT_EQ(ask({{"op", "sign"}, {"bytes", "AAAA"}}), "unknown_message");
  EXPECT_EQ(ask({{"op", "policy"}, {"extra", 1}}), "unknown_key");
  EXPECT_EQ(ask(json::array{}), "bad_value");
  const auto policy = signer.answer({{"op", "policy"}}, kNow);
  EXPECT_EQ(*base64_decode(policy.at("policy").as_string()), w.sources.policy_toml);
}

TEST_F(SignerTest, TenThousandPeopleFitOneFrame) {
  Sources many = w.sources;
  for (int i = 0; i < 10000; ++i) {
    const auto person = ssh::PrivateKey::generate().public_key();
    many.allowed_signers += "person" + std::to_string(i) + " namespaces=\"jitwg\" " + person.str() + "\n";
  }
  ASSERT_TRUE(signer.reload(many));
  std::string frame = render_frame(signer.answer({{"op", "policy"}}, kNow));
  const auto back = take_frame(frame);
  ASSERT_TRUE(back) << back.error().render();
  EXPECT_EQ(*base64_decode((*back)->at("allowed_signers").as_string()), many.allowed_signers);
}

TEST_F(SignerTest, ReloadIsAllOrNothing) {
  Sources bad = w.sources;
  bad.policy_toml.replace(bad.policy_toml.find("expect = \"approval\""), 19, "expect = \"allow\"   ");
  EXPECT_EQ(signer.reload(bad).error().code, Code::bad_policy);
  bad = w.sources;
  bad.allowed_signers += "mallory " + ssh::PrivateKey::generate().public_key().str() + "\n";
  EXPECT_EQ(signer.reload(bad).error().code, Code::bad_allowed_signers);
  bad = w.sources;
  bad.allowed_signers += "mallory namespaces=\"jitwg\" " + w.ca.public_key().str() + "\n";
  EXPECT_EQ(signer.reload(bad).error().code, Code::bad_allowed_signers);
  const auto doc = w.sign(w.request());
  EXPECT_EQ(ask(w.issue(doc, {w.sign(w.decision(doc))})), "ok");
}

// Approvers out of a file: who is in it when the signer is asked counts, and nobody once it is stale.
TEST(SyncedLists, CountAsTheyStand) {
  World world;
  world.sources.policy_toml.replace(world.sources.policy_toml.find("security = [\"carol\"]"), 20,
                                    "security = { file = \"security\", max_age = \"1h\" }");
  std::string& text = world.sources.policy_toml;
  text.insert(text.find("expect = "), "groups = { security = [\"carol\"] }\n");
  Signer signer = world.signer();
  const auto take = [&](const std::string& bytes, WallTime modified, WallTime now) {
    signer.take_lists({{"security", SyncedFile{bytes, modified}}}, now);
    return signer.realm().policy.digest;
  };
  const auto ask = [&](const std::string& digest, WallTime now) {
    const auto request = world.sign(world.request());
    auto decision = world.decision(request);
    decision.access = decide(signer.realm().policy, {"alice", "db-prod", Seconds(5400), kNow}).access;
    if (decision.access.scope.empty()) decision.access.scope = *parse_scope({"tcp 10.60.0.5:22"});
    json::value question = world.issue(request, {world.sign(decision)});
    question.get_object()["policy_sha256"] = digest;
    return code_of(signer.answer(question, now));
  };
  const std::string carol = take("carol\n", kNow, kNow);
  EXPECT_EQ(ask(sha256_hex(text), kNow), "policy_changed");
  EXPECT_EQ(ask(carol, kNow), "ok");
  const std::string erin = take("erin\n", kNow, kNow);
  EXPECT_NE(erin, carol);
  EXPECT_EQ(ask(erin, kNow), "not_approver");
  EXPECT_EQ(take("carol # back\n", kNow, kNow), carol);  // the same people, the same digest
  const std::string stale = take("carol\n", kNow - std::chrono::hours(1), kNow);
  EXPECT_EQ(ask(stale, kNow), "approvals_missing");
  const json::value answer = signer.answer({{"op", "policy"}}, kNow);
  EXPECT_EQ(answer.at("policy_sha256").as_string(), stale);
  const auto lists = parse_lists(answer.at("lists"));
  ASSERT_TRUE(lists);
  EXPECT_EQ(lists->at("security")->bytes, "carol\n");
  EXPECT_EQ(lists->at("security")->modified, kNow - std::chrono::hours(1));
}

TEST(ListKeeper, ReadsWhatChangedAndWhatIsStale) {
  char name[] = "/tmp/jitwg-lists-XXXXXX";
  const std::string dir = mkdtemp(name);
  Policy policy;
  policy.lists.push_back({.name = "security", .path = "security", .max_age = std::chrono::hours(1)});
  const WallTime now = std::chrono::time_point_cast<Seconds>(std::chrono::system_clock::now());
  ListKeeper keeper(dir + "/policy.toml");
  const auto people = [&](WallTime at) -> std::string {
    const auto files = keeper.look(policy, at);
    if (!files) return "unchanged";
    take_lists(policy, *files, at);
    return policy.lists[0].problem.empty() ? *policy.groups["security"].begin() : policy.lists[0].problem;
  };
  EXPECT_NE(people(now).find("No such file"), std::string::npos);
  EXPECT_EQ(people(now), "unchanged");
  ASSERT_TRUE(write_file(dir + "/security", "carol\n", 0644));
  EXPECT_EQ(people(now), "carol");
  EXPECT_EQ(people(now), "unchanged");
  ASSERT_TRUE(write_file(dir + "/security", "erinn\n", 0644));  // same length, another file
  EXPECT_EQ(people(now), "erinn");
  ASSERT_TRUE(write_file(dir + "/security", "mallory\n", 0666));
  EXPECT_NE(people(now).find("may be written by group or others"), std::string::npos);
  ASSERT_TRUE(write_file(dir + "/security", "carol\n", 0644));
  EXPECT_EQ(people(now), "carol");
  EXPECT_NE(people(now + std::chrono::hours(2)).find("last written at"), std::string::npos);
  EXPECT_EQ(people(now + std::chrono::hours(2)), "unchanged");
  EXPECT_EQ(system(("rm -rf " + dir).c_str()), 0);
}

TEST(AddressPool, LeastRecentlyUsedAfterItsRest) {
  const std::vector<Prefix> pool = {*Prefix::parse("10.9.0.0/29")};  // .2 to .6 are given
  AddressUse use;
  for (int i = 2; i <= 6; ++i) {
    const auto got = choose_addresses(pool, use, kNow);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->front().address.str(), "10.9.0." + std::to_string(i));
    use.given[got->front().address] = kNow + Seconds(100 - i);
  }
  EXPECT_EQ(choose_addresses(pool, use, kNow).error().code, Code::pool_exhausted);
  EXPECT_EQ(choose_addresses(pool, use, kNow + Seconds(94 + 3599)).error().code, Code::pool_exhausted);
  EXPECT_EQ(choose_addresses(pool, use, kNow + Seconds(94 + 3600))->front().address.str(), "10.9.0.6");
  EXPECT_EQ(choose_addresses(pool, use, kNow + Seconds(10000))->front().address.str(), "10.9.0.6");
}

TEST(AddressPool, AGapIsFilledBeforeAnythingIsGivenAgain) {
  // Beside a naive one, over pools that share addresses and use that was known before.
  AddressUse use;
  for (const char* before : {"10.9.0.3", "10.9.0.4", "10.9.0.9", "10.9.0.17"}) use.given[*IpAddress::parse(before)] = kNow - Seconds(9000);
  const auto naive = [&](const Prefix& pool, uint64_t count) -> std::string {
    for (uint64_t i = 2; i + 1 < count; ++i)
      if (!use.given.contains(pool.address.plus(i))) return pool.address.plus(i).str();
    std::string oldest = "none";
    WallTime end = kNow;
    for (uint64_t i = 2; i + 1 < count; ++i)
      if (const WallTime at = use.given.at(pool.address.plus(i)); at + Seconds(3600) <= kNow && at < end)
        oldest = pool.address.plus(i).str(), end = at;
    return oldest;
  };
  const Prefix small = *Prefix::parse("10.9.0.0/29"), wide = *Prefix::parse("10.9.0.0/27");
  for (int i = 0; i < 80; ++i) {
    const bool first = i % 3 == 0;
    const std::string expected = naive(first ? small : wide, first ? 8 : 32);
    const auto got = choose_addresses({first ? small : wide}, use, kNow);
    ASSERT_EQ(got ? got->front().address.str() : "none", expected) << i;
    if (got) use.given[got->front().address] = kNow - Seconds(3000 + 97 * i);
  }
}

TEST(AddressPool, BothFamiliesAndIPv6NeverTwice) {
  AddressUse use;
  const std::vector<Prefix> pools = {*Prefix::parse("10.9.0.0/24"), *Prefix::parse("fd00:9::/125")};
  for (int i = 0; i < 6; ++i) {
    const auto got = choose_addresses(pools, use, kNow);
    ASSERT_TRUE(got) << i;
    EXPECT_TRUE(use.given.emplace(got->at(1).address, kNow - Seconds(1000000)).second);
  }
}

}  // namespace
}  // namespace jitwg::signer
