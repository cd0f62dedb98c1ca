// Session objects and what people type for them.
#include <gtest/gtest.h>

#include "broker/cli/describe.h"
#include "broker/cli/session_object.h"
#include "broker/cli/session_ref.h"

namespace jitwg::cli {
namespace {

constexpr const char* kActive = R"({
  "session":"019b0000-0000-7000-8000-0000fa12ab34","state":"active","close_reason":null,"person":"alice",
  "target":"db-prod","reason":"INC","ticket":null,"duration":5400,"login":"alice","gateway":"gw1",
  "jump_hosts":["jump1"],"address":["10.90.0.2/32"],"scope":["tcp 10.60.0.5:22"],"wg_public_key":"AA==",
  "serial":"1","requested_at":"2026-03-02T07:00:00Z","not_before":"2026-03-02T07:05:00Z",
  "not_after":"2026-03-02T08:35:00Z","incident":null,"break_glass":false,"evidence":null,"from_the_future":1,
  "approvals":[{"person":"carol","decision":"approve","at":"2026-03-02T07:04:00Z","comment":null}]})";

json::value changed(const std::function<void(json::object&)>& change) {
  json::value value = *parse_json(kActive, 4096);
  change(value.as_object());
  return value;
}

TEST(SessionObject, IsReadWhole) {
  const auto session = parse_session_object(*parse_json(kActive, 4096));
  ASSERT_TRUE(session) << session.error().render();
  EXPECT_EQ(session->state, State::active);
  EXPECT_EQ(session->not_after, *parse_time("2026-03-02T08:35:00Z"));
  EXPECT_EQ(session->approvals.at(0).person, "carol");
  EXPECT_TRUE(session->names.empty()) << "a broker that knows none yet";
  EXPECT_FALSE(session->is_ending());
  EXPECT_FALSE(refusal_of(*session));
}

TEST(SessionObject, JsonHasEveryKeyAndNoOther) {
  const auto session = parse_session_object(changed([](json::object& o) { o.erase("ticket"); }));
  ASSERT_TRUE(session);
  EXPECT_EQ(session->all.size(), 23u);
  EXPECT_TRUE(session->all.at("ticket").is_null());
  EXPECT_FALSE(session->all.contains("from_the_future"));
}

TEST(SessionObject, EvidenceIsToldInWords) {
  setenv("TZ", "UTC", 1);
  const auto told = [](const std::string& evidence) {
    const auto session = parse_session_object(changed([&](json::object& o) {
      o["state"] = "closed", o["close_reason"] = "revoked";
      o["evidence"] = json::object{{"gw1", *parse_json(evidence, 4096)}};
    }));
    const std::string text = describe_session(*session, {});
    const size_t at = text.find("gw1: ");
    return text.substr(at + 5, text.find('\n', at) - at - 5);
  };
  const std::string clean = R"({"at":"2026-03-02T08:00:00Z","result":"verified","peer":false,"elements":0,"flows":0)";
  EXPECT_EQ(told(clean + R"(,"last_handshake":"2026-03-02T07:59:00Z","rx":1234567,"tx":999})"),
            "nothing is left, verified 2026-03-02 08:00:00 UTC; last handshake 2026-03-02 07:59:00 UTC, "
            "1.2 MB from the person, 999 B to them");
  EXPECT_EQ(told(clean + R"(,"last_handshake":null,"rx":0,"tx":0})"),
            "nothing is left, verified 2026-03-02 08:00:00 UTC; no handshake ever, 0 B from the person, 0 B to them");
  EXPECT_EQ(told(clean + R"(,"last_handshake":null,"rx":null,"tx":null})"),
            "nothing is left, verified 2026-03-02 08:00:00 UTC; how it was used is not known");
  EXPECT_EQ(told(clean + "}"), "nothing is left, verified 2026-03-02 08:00:00 UTC");
  EXPECT_EQ(told("null"), "not yet");
  EXPECT_EQ(told(R"({"at":"2026-03-02T08:00:00Z","result":"written_off","by":"carol","reason":"burnt"})"),
            "written off 2026-03-02 08:00:00 UTC by carol: burnt");
  for (const char* odd : {R"({"result":"verified"})", R"({"at":7,"result":[]})", "[1]", "7"})
    EXPECT_EQ(told(odd), odd);
}

TEST(SessionObject, UnknownWordsAreErrorsNotGuesses) {
  const auto code = [](const auto& change) {
    const auto session = parse_session_object(changed(change));
    return session ? "ok" : std::string(name(session.error().code));
  };
  EXPECT_EQ(code([](json::object& o) { o["state"] = "great"; }), "corrupt");
  EXPECT_EQ(code([](json::object& o) { o["close_reason"] = "whim"; }), "corrupt");
  EXPECT_EQ(code([](json::object& o) { o["session"] = "x"; }), "corrupt");
  EXPECT_EQ(code([](json::object& o) { o["not_after"] = "tomorrow"; }), "corrupt");
  EXPECT_EQ(code([](json::object& o) { o.erase("person"); }), "corrupt");
  EXPECT_EQ(code([](json::object& o) {
              o["approvals"].as_array()[0].as_object()["decision"] = "perhaps";
            }),
            "corrupt");
  EXPECT_EQ(code([](json::object& o) { o["names"] = json::object{{"a\nb", "10.0.0.1"}}; }), "corrupt");
  EXPECT_EQ(code([](json::object& o) { o["names"] = json::object{{"db1", "10.0.0.1"}}; }), "ok");
  EXPECT_FALSE(parse_session_object(json::array{}));
}

TEST(SessionObject, EndsCarryTheirExitCode) {
  const auto exit_of = [](const char* state, json::value reason) {
    const auto session = parse_session_object(changed([&](json::object& o) {
      o["state"] = state;
      o["close_reason"] = std::move(reason);
    }));
    return exit_code(kind(refusal_of(*session)->code));
  };
  EXPECT_EQ(exit_of("denied", nullptr), 3);
  EXPECT_EQ(exit_of("cancelled", nullptr), 4);
  EXPECT_EQ(exit_of("lapsed", nullptr), 4);
  EXPECT_EQ(exit_of("closing", "revoked"), 4);
  EXPECT_EQ(exit_of("closed", "lost_contact"), 4);
}

TEST(SessionObject, ADenialNamesWhoDenied) {
  const auto session = parse_session_object(changed([](json::object& o) {
    o["state"] = "denied";
    o["approvals"].as_array()[0].as_object()["decision"] = "deny";
    o["approvals"].as_array()[0].as_object()["comment"] = "use the replica";
  }));
  EXPECT_EQ(refusal_of(*session)->message, "carol denied it: use the replica");
}

const SessionId kOne = *SessionId::parse("019b0000-0000-7000-8000-0000fa12ab34");
const SessionId kTwo = *SessionId::parse("019b0000-0000-7000-8000-1111fa12ab34");

std::string resolved(std::string_view text, const std::vector<SessionId>& known) {
  const auto id = resolve_id(text, known);
  return id ? id->str() : std::string(name(id.error().code));
}

TEST(SessionRef, TakesTheWholeIdOrAUniqueEnd) {
  EXPECT_EQ(resolved(kOne.str(), {}), kOne.str());
  EXPECT_EQ(resolved("12ab34", {kOne}), kOne.str());
  EXPECT_EQ(resolved("0000fa12ab34", {kOne, kTwo}), kOne.str());
  EXPECT_EQ(resolved("12ab34", {kOne, kOne}), kOne.str()) << "the same session, told twice";
}

TEST(SessionRef, RefusesTheRest) {
  EXPECT_EQ(resolved("12ab34", {kOne, kTwo}), "ambiguous_id");
  EXPECT_EQ(resolve_id("12ab34", {kOne, kTwo}).error().hint, kOne.str() + ", " + kTwo.str());
  EXPECT_EQ(resolved("2ab34", {kOne}), "bad_argument") << "five characters";
  EXPECT_EQ(resolved("12AB34", {kOne}), "bad_argument");
  EXPECT_EQ(resolved("../../etc/passwd", {kOne}), "bad_argument");
  EXPECT_EQ(resolved("999999", {kOne}), "unknown_session");
  EXPECT_EQ(resolved("", {kOne}), "bad_argument");
}

}  // namespace
}  // namespace jitwg::cli
