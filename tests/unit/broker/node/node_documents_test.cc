#include "broker/node/node_documents.h"

#include <gtest/gtest.h>

#include "broker/node/watch_stream.h"

namespace jitwg::node {
namespace {

const WallTime kNow = *parse_time("2026-03-02T10:00:00Z");
const SessionId kSession = *SessionId::parse("0198f2a0-0000-7000-8000-00000000000a");
const NodeHead kHead{"lab", "gw1", kNow, "00112233445566778899aabbccddeeff"};

const ssh::PrivateKey& node_key() {
  static const ssh::PrivateKey key = ssh::PrivateKey::generate();
  return key;
}
Result<ssh::PublicKey> keys(std::string_view node) {
  if (node == "gw1") return node_key().public_key();
  return fail(Code::wrong_node, "no such node");
}
ssh::SignedDocument sign(std::string body, const ssh::PrivateKey& key = node_key(),
                         std::string_view ns = kNodeNamespace) {
  return ssh::sign(std::move(body), ns, key);
}
Code watch_failure(const ssh::SignedDocument& document, std::string_view realm = "lab") {
  const auto result = verify_watch(document, realm, keys);
  return result ? Code::bug : result.error().code;
}

TEST(Watch, RoundTripsThroughItsSignature) {
  const Watch watch{kHead, 17};
  const auto back = verify_watch(sign(render_watch(watch)), "lab", keys);
  ASSERT_TRUE(back) << back.error().render();
  EXPECT_EQ(*back, watch);
}

TEST(Watch, IsTakenOnlyFromTheNodeItNames) {
  const std::string body = render_watch({kHead, 1});
  EXPECT_EQ(watch_failure(sign(body, ssh::PrivateKey::generate())), Code::wrong_key);
  EXPECT_EQ(watch_failure(sign(body, node_key(), "jitwg")), Code::wrong_namespace);
  EXPECT_EQ(watch_failure(sign(body), "other"), Code::wrong_realm);
  NodeHead stranger = kHead;
  stranger.node = "gw9";
  EXPECT_EQ(watch_failure(sign(render_watch({stranger, 1}))), Code::wrong_node);
  auto altered = sign(body);
  altered.body = render_watch({kHead, 2});
  EXPECT_EQ(watch_failure(altered), Code::bad_signature);
}

TEST(Watch, AReportIsNoWatch) {
  EXPECT_EQ(watch_failure(sign(render_report({kHead, kSession, {}}))), Code::unknown_type);
}

TEST(Watch, OddBodiesAreRefused) {
  const std::string good = render_watch({kHead, 1});
  ASSERT_TRUE(parse_watch(good));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string body = good;
    body.replace(body.find(from), from.size(), to);
    return parse_watch(body).has_value();
  };
  EXPECT_FALSE(with("\"v\":1", "\"v\":2"));
  EXPECT_FALSE(with("\"revision\":1", "\"revision\":-1"));
  EXPECT_FALSE(with("\"revision\":1", "\"revision\":1,\"more\":1"));
  EXPECT_FALSE(with("gw1", "g w1"));
  EXPECT_FALSE(with("00112233", "0011223"));
  EXPECT_FALSE(with("00112233", "0011223G"));
  EXPECT_FALSE(with("Z\"", "\""));
}

TEST(Report, EachStateRoundTrips) {
  const json::value evidence = {{"peer", false}, {"elements", 0}, {"flows", 0}};
  for (const Finding& finding :
       {Finding{Reported::open, {}, nullptr}, Finding{Reported::closed, {}, evidence},
        Finding{Reported::refused, Code::wrong_node, nullptr}}) {
    const Report report{kHead, kSession, finding};
    const auto back = verify_report(sign(render_report(report)), "lab", keys);
    ASSERT_TRUE(back) << back.error().render();
    EXPECT_EQ(*back, report);
  }
}

TEST(Report, ClosedNeedsEvidenceAndRefusedAReason) {
  const std::string open = render_report({kHead, kSession, {}});
  const auto as = [&](const std::string& state) {
    std::string body = open;
    const std::string from = "\"state\":\"open\"";
    body.replace(body.find(from), from.size(), "\"state\":" + state);
    return parse_report(body).has_value();
  };
  EXPECT_TRUE(as("\"open\""));
  EXPECT_FALSE(as("\"closed\""));
  EXPECT_FALSE(as("\"closed\",\"evidence\":null"));
  EXPECT_TRUE(as("\"closed\",\"evidence\":{}"));
  EXPECT_FALSE(as("\"refused\""));
  EXPECT_FALSE(as("\"refused\",\"reason\":\"because\""));
  EXPECT_FALSE(as("\"open\",\"evidence\":{}"));
  EXPECT_FALSE(as("\"gone\""));
}

TEST(Evidence, OnlyNothingLeftProvesClosed) {
  EXPECT_TRUE(proves_closed(Role::gateway, {{"flows", 0}, {"peer", false}, {"elements", 0}}));
  EXPECT_TRUE(proves_closed(Role::jump_host, {{"processes", 0}}));
  EXPECT_FALSE(proves_closed(Role::gateway, {{"flows", 0}, {"peer", true}, {"elements", 0}}));
  EXPECT_FALSE(proves_closed(Role::gateway, {{"flows", 1}, {"peer", false}, {"elements", 0}}));
  EXPECT_FALSE(proves_closed(Role::gateway, {{"peer", false}, {"elements", 0}}));
  EXPECT_FALSE(proves_closed(Role::gateway, {{"processes", 0}}));
  EXPECT_FALSE(proves_closed(Role::jump_host, {{"processes", 1}}));
  EXPECT_FALSE(proves_closed(Role::jump_host, nullptr));
  EXPECT_FALSE(proves_closed(Role::jump_host, json::object{}));
}

TEST(Evidence, HowTheTunnelWasUsedIsToldWholeOrNotAtAll) {
  const auto with = [](json::object usage) {
    usage.insert({{"peer", false}, {"elements", 0}, {"flows", 0}});
    return proves_closed(Role::gateway, usage);
  };
  EXPECT_TRUE(with({{"rx", 7}, {"tx", 0}, {"last_handshake", "2026-03-02T10:00:00Z"}}));
  EXPECT_TRUE(with({{"rx", nullptr}, {"tx", nullptr}, {"last_handshake", nullptr}}));
  EXPECT_FALSE(with({{"rx", 7}, {"tx", 0}}));
  EXPECT_FALSE(with({{"tx", 0}, {"last_handshake", nullptr}}));
  EXPECT_FALSE(with({{"rx", 7}, {"tx", 0}, {"last_handshake", nullptr}, {"more", 0}}));
  EXPECT_FALSE(with({{"rx", -1}, {"tx", 0}, {"last_handshake", nullptr}}));
  EXPECT_FALSE(with({{"rx", "7"}, {"tx", 0}, {"last_handshake", nullptr}}));
  EXPECT_FALSE(with({{"rx", 7}, {"tx", true}, {"last_handshake", nullptr}}));
  EXPECT_FALSE(with({{"rx", 7}, {"tx", 0}, {"last_handshake", "yesterday"}}));
  EXPECT_FALSE(with({{"rx", 7}, {"tx", 0}, {"last_handshake", 1}}));
  EXPECT_FALSE(proves_closed(Role::jump_host, {{"processes", 0}, {"rx", 7}, {"tx", 0}, {"last_handshake", nullptr}}));
  EXPECT_FALSE(proves_closed(Role::gateway, {{"peer", true}, {"elements", 0}, {"flows", 0}, {"rx", 7}, {"tx", 0}, {"last_handshake", nullptr}}));
}

TEST(WatchStream, UpdatesRoundTrip) {
  const Entry open{kSession, ssh::SignedDocument{"body", "signature"}, CloseReason::failed};
  const Entry closed{kSession, std::nullopt, CloseReason::revoked};
  for (const Update& update :
       {Update{Update::Kind::heartbeat, 3, kNow, {}}, Update{Update::Kind::snapshot, 4, kNow, {}},
        Update{Update::Kind::snapshot, 5, kNow, {open, closed}},
        Update{Update::Kind::set, 6, kNow, {closed}}}) {
    const auto back = parse_update(render_update(update));
    ASSERT_TRUE(back) << back.error().render();
    EXPECT_EQ(*back, update);
  }
}

TEST(WatchStream, OddLinesAreRefused) {
  const std::string now = "\"now\":\"2026-03-02T10:00:00Z\"";
  const std::string id = "\"session\":\"" + kSession.str() + "\"";
  ASSERT_TRUE(parse_update("{\"revision\":1," + now + "}"));
  for (const std::string& line : std::vector<std::string>{
           "", "{}", "{\"revision\":1}", "{\"revision\":1," + now + ",\"more\":1}",
           "{\"revision\":1," + now + ",\"snapshot\":[],\"set\":[]}",
           "{\"revision\":1," + now + ",\"set\":{}}",
           "{\"revision\":1," + now + ",\"set\":[{" + id + ",\"want\":\"open\"}]}",
           "{\"revision\":1," + now + ",\"set\":[{" + id + ",\"want\":\"closed\"}]}",
           "{\"revision\":1," + now + ",\"set\":[{" + id +
               ",\"want\":\"closed\",\"reason\":\"bored\"}]}",
           "{\"revision\":1," + now + ",\"set\":[{" + id +
               ",\"want\":\"ajar\",\"reason\":\"failed\"}]}",
           "{\"revision\":1," + now +
               ",\"set\":[{\"session\":\"x\",\"want\":\"closed\",\"reason\":\"failed\"}]}"})
    EXPECT_FALSE(parse_update(line)) << line;
}

}  // namespace
}  // namespace jitwg::node
