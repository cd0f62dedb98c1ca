#include "broker/audit/event.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace jitwg {
namespace {

const SessionId kId = *SessionId::parse("01890a5d-ac96-774b-bcce-b302099a8057");

std::string field(const std::vector<std::string>& fields, const std::string& key) {
  for (const std::string& each : fields)
    if (each.starts_with(key + "=")) return each.substr(key.size() + 1);
  return "(missing)";
}

TEST(Event, EveryNameHasItsOwnWordAndMessageId) {
  std::set<std::string_view> words, ids;
  for (size_t i = 0; i < kEventNames; ++i) {
    const auto event = static_cast<EventName>(i);
    EXPECT_EQ(*parse_event_name(name(event)), event);
    EXPECT_EQ(message_id(event).size(), 32u);
    words.insert(name(event));
    ids.insert(message_id(event));
  }
  EXPECT_EQ(words.size(), kEventNames);
  EXPECT_EQ(ids.size(), kEventNames);
  EXPECT_FALSE(parse_event_name("session.teleported"));
}

TEST(Event, FieldsCarryTheSessionAndTheLineEndsInIt) {
  const auto fields = render_fields({.name = EventName::login_denied,
                                     .session = kId,
                                     .person = "alice",
                                     .target = "db-prod",
                                     .node = "jump1",
                                     .code = Code::wrong_address,
                                     .text = "from 192.0.2.1"},
                                    7);
  EXPECT_EQ(field(fields, "JITWG_EVENT"), "login.denied");
  EXPECT_EQ(field(fields, "JITWG_SESSION_ID"), kId.str());
  EXPECT_EQ(field(fields, "JITWG_PERSON"), "alice");
  EXPECT_EQ(field(fields, "JITWG_TARGET"), "db-prod");
  EXPECT_EQ(field(fields, "JITWG_NODE"), "jump1");
  EXPECT_EQ(field(fields, "JITWG_CODE"), "wrong_address");
  EXPECT_EQ(field(fields, "JITWG_SEQ"), "7");
  EXPECT_EQ(field(fields, "PRIORITY"), "4");
  EXPECT_EQ(field(fields, "MESSAGE_ID"), message_id(EventName::login_denied));
  EXPECT_EQ(field(fields, "MESSAGE"),
            "login.denied: from 192.0.2.1 person=alice target=db-prod node=jump1 "
            "code=wrong_address session=" +
                kId.str());
}

TEST(Event, WhatDoesNotApplyIsLeftOut) {
  const auto fields = render_fields({.name = EventName::policy_loaded}, 1);
  EXPECT_EQ(field(fields, "JITWG_SESSION_ID"), "(missing)");
  EXPECT_EQ(field(fields, "JITWG_PERSON"), "(missing)");
  EXPECT_EQ(field(fields, "JITWG_CODE"), "(missing)");
  EXPECT_EQ(field(fields, "MESSAGE"), "policy.loaded session=-");
}

TEST(Event, OthersWordsCannotForgeALineOrAField) {
  const auto fields = render_fields({.name = EventName::request_submitted,
                                     .session = kId,
                                     .person = "a\nJITWG_EVENT=x",
                                     .text = "b\nc\x1b[2J"},
                                    1);
  for (const std::string& each : fields)
    EXPECT_TRUE(std::none_of(each.begin(), each.end(), [](unsigned char c) { return c < 0x20; }))
        << each;
  EXPECT_TRUE(field(fields, "MESSAGE").ends_with(" session=" + kId.str()));
}

}  // namespace
}  // namespace jitwg
