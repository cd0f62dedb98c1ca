#include <gtest/gtest.h>

#include <set>

#include "broker/base/encoding.h"
#include "policy/statement.h"

namespace jitwg {
namespace {

const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");

struct People {
  ssh::PrivateKey alice = ssh::PrivateKey::generate(), bob = ssh::PrivateKey::generate(), stranger = ssh::PrivateKey::generate();
  ssh::AllowedSigners signers = *ssh::AllowedSigners::parse("alice namespaces=\"jitwg\" " + alice.public_key().str() +
                                                            "\nbob namespaces=\"jitwg\" " + bob.public_key().str() + "\n");
};

RequestStatement request() {
  return {{"lab-1", "alice", kNow, std::string(32, 'a')}, SessionId::make(kNow), "db-prod", "INC-4711 replica lag", Seconds(5400),
          base64_encode(std::string(1, '\x09') + std::string(31, '\0')), ssh::PrivateKey::generate().public_key(),
          std::string(64, 'b'), "T-1", std::nullopt};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Statement, EveryKindComesBackAsItWas) {
  const RequestStatement r = request();
  const StatementHead head{"lab-1", "carol", kNow, std::string(32, 'c')};
  const Access access{*parse_scope({"tcp 10.60.10.20:5432"}), "alice", {"gw1"}, {"jump1"}, {{"db1", *IpAddress::parse("10.60.10.20")}}, true};
  using enum Subject::Kind;
  const std::string id = r.session.str();
  std::vector<Statement> every = {
      r, DecisionStatement{head, r.session, std::string(64, 'd'), Choice::deny, access, Seconds(60), "no"},
      IncidentOpenStatement{head, r.session, {"db-prod", "label:prod"}, "down", kNow + Seconds(600)},
      IncidentExtendStatement{head, r.session, kNow + Seconds(900), "still down"}, IncidentCloseStatement{head, r.session, "up"},
      IncidentReviewStatement{head, r.session, "all well"}, BreakGlassStatement{head, r.session, std::string(64, 'd'), access, "no broker"},
      WriteOffStatement{head, r.session, "gw1", "burnt"}, LoginStatement{head, std::string(64, 'e'), Seconds(60)}};
  for (const Subject& what : {Subject{session, id}, Subject{person, "bob"}, Subject{target, "db"}, Subject{node, "gw1"}, Subject{incident, id}, Subject{}}) {
    every.push_back(RevokeStatement{head, what, "done"});
    if (what.kind == session || what.kind == incident) continue;
    every.push_back(LockStatement{head, what, "stolen"});
    every.push_back(UnlockStatement{head, what, "found"});
  }
  std::set<std::string_view> kinds;
  for (const Statement& s : every) {
    kinds.insert(type_of(s));
    const auto back = parse_statement(render_statement(s));
    ASSERT_TRUE(back) << back.error().render();
    EXPECT_EQ(*back, s);
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<Statement>);
}

TEST(Statement, SubjectsAndIncidentsAreOneThing) {
  using enum Subject::Kind;
  const StatementHead head{"lab-1", "carol", kNow, std::string(32, 'c')};
  const auto code = [](const std::string& body) {
    const auto s = parse_statement(body);
    return s ? std::string_view("ok") : name(s.error().code);
  };
  const std::string lock = render_statement(LockStatement{head, {person, "bob"}, "stolen"});
  EXPECT_EQ(code(lock), "ok");
  EXPECT_EQ(code(replaced(lock, "\"person\":\"bob\",", "")), "bad_value");
  EXPECT_EQ(code(replaced(lock, "\"person\":\"bob\",", "\"person\":\"bob\",\"target\":\"db\",")), "bad_value");
  EXPECT_EQ(code(replaced(lock, "\"person\":\"bob\",", "\"all\":false,")), "bad_value");
  EXPECT_EQ(code(replaced(lock, "\"person\":\"bob\",", "\"all\":true,")), "ok");
  EXPECT_EQ(code(replaced(lock, "\"bob\"", "\"b\u006fb\"")), "ok");
  EXPECT_EQ(code(replaced(lock, "\"bob\"", "\"bob,eve\"")), "bad_value");
  EXPECT_EQ(code(replaced(lock, "\"bob\"", "\"b\u043eb\"")), "bad_value");  // a Cyrillic o
  EXPECT_EQ(code(replaced(lock, "\"person\":\"bob\"", "\"session\":\"019b0000-0000-7000-8000-000000000001\"")), "bad_value");
  const std::string open = render_statement(IncidentOpenStatement{head, SessionId::make(kNow), {"db", "label:prod"}, "down", kNow + Seconds(600)});
  EXPECT_EQ(code(open), "ok");
  EXPECT_EQ(code(replaced(open, "[\"db\",\"label:prod\"]", "[]")), "bad_value");
  EXPECT_EQ(code(replaced(open, "[\"db\",\"label:prod\"]", "[\"label:prod\",\"db\"]")), "bad_value");
  EXPECT_EQ(code(replaced(open, "[\"db\",\"label:prod\"]", "[\"db\",\"db\"]")), "bad_value");
  EXPECT_EQ(code(replaced(open, "label:prod", "label:")), "bad_value");
  EXPECT_EQ(code(replaced(open, "\"until\":\"" + render_time(kNow + Seconds(600)), "\"until\":\"" + render_time(kNow))), "bad_value");
}

TEST(Statement, DamagedOnesAreRefusedByName) {
  const std::string good = render_statement(request());
  const auto code = [](const std::string& body) {
    const auto s = parse_statement(body);
    return s ? std::string_view("ok") : name(s.error().code);
  };
  ASSERT_EQ(code(good), "ok");
  EXPECT_EQ(code(replaced(good, "\"v\":1", "\"v\":2")), "unsupported_version");
  EXPECT_EQ(code(replaced(good, "\"request\"", "\"grant\"")), "unknown_type");
  EXPECT_EQ(code(replaced(good, "\"v\":1", "\"v\":1,\"v\":1")), "duplicate_key");
  EXPECT_EQ(code(replaced(good, "\"v\":1", "\"v\":1,\"x\":1")), "unknown_key");
  EXPECT_EQ(code(replaced(good, "\"ticket\":\"T-1\"", "\"ticket\":null")), "bad_value");
  EXPECT_EQ(code(replaced(good, "5400", "5400.0")), "bad_json");
  EXPECT_EQ(code(replaced(good, "5400", "9")), "bad_value");
  EXPECT_EQ(code(replaced(good, "5400", "-1")), "bad_value");
  EXPECT_EQ(code(replaced(good, "INC-4711 replica lag", "a\\u000ab")), "bad_value");
  EXPECT_EQ(code(replaced(good, "INC-4711 replica lag", "  ")), "bad_value");
  EXPECT_EQ(code(replaced(good, "INC-4711 replica lag", std::string(1001, 'x'))), "bad_value");
  EXPECT_EQ(code(replaced(good, "INC-4711 replica lag", std::string(17000, 'x'))), "too_large");
  EXPECT_EQ(code(replaced(good, "\"alice\"", "\"alice,bob\"")), "bad_value");
  EXPECT_EQ(code(replaced(good, "\"alice\"", "\"аlice\"")), "bad_value");  // a Cyrillic letter
  EXPECT_EQ(code(replaced(good, "db-prod", "db\\u0000prod")), "bad_value");
  EXPECT_EQ(code(replaced(good, "10:00:00Z", "10:00:00+00:00")), "bad_time");
  EXPECT_EQ(code(replaced(good, request().wg_public_key, base64_encode(std::string(32, '\0')))), "bad_key");
  EXPECT_EQ(code("[]"), "bad_value");
  EXPECT_EQ(code(""), "bad_json");
}

TEST(Statement, CountsOnlyFromThePersonItNames) {
  const People people;
  const std::string body = render_statement(request());
  const auto code = [&](const ssh::SignedDocument& d, WallTime now = kNow) {
    const auto v = verify_statement(d, people.signers, "lab-1", now);
    return v ? std::string_view("ok") : name(v.error().code);
  };
  EXPECT_EQ(code(ssh::sign(body, "jitwg", people.alice)), "ok");
  EXPECT_EQ(code(ssh::sign(body, "jitwg", people.bob)), "wrong_key");
  EXPECT_EQ(code(ssh::sign(body, "jitwg", people.stranger)), "unknown_person");
  EXPECT_EQ(code(ssh::sign(body, "file", people.alice)), "wrong_namespace");
  EXPECT_EQ(code(ssh::sign(replaced(body, "lab-1", "lab-2"), "jitwg", people.alice)), "wrong_realm");
  EXPECT_EQ(code(ssh::sign(body, "jitwg", people.alice), kNow - Seconds(301)), "clock");
  auto altered = ssh::sign(body, "jitwg", people.alice);
  altered.body = replaced(altered.body, "5400", "5401");
  EXPECT_EQ(code(altered), "bad_signature");
  auto cut = ssh::sign(body, "jitwg", people.alice);
  cut.signature.resize(cut.signature.size() / 2);
  EXPECT_EQ(code(cut), "bad_signature_format");
}

TEST(Documents, KeepTheirBytes) {
  const ssh::SignedDocument d{"{ \"odd\" :\n1 }", "sig"};
  EXPECT_EQ(*parse_document(render_document(d), "doc"), d);
}

}  // namespace
}  // namespace jitwg
