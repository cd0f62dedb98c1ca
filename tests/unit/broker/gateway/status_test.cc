#include "broker/gateway/status.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "broker/base/json.h"
#include "ssh-ca/format/document.h"
#include "tests/unit/broker/gateway/sample.h"

namespace jitwg::gateway {
namespace {

using namespace sample;

using State = StatusRow::State;

wireguard::Peer peer_of(const Grant& g) {
  return {*wireguard::PublicKey::parse(g.wg_public_key), g.address, Endpoint::parse("198.51.100.7:40000").value(),
          kNow - Seconds(70), 1'234'567, 999};
}

// Sessions 1 (open, used), 2 (closing), 3 (nothing of it in the kernel), 4 (over, its peer still there), 5 (over, and
// gone), 6 (brand new), 7 (elements gone, peer there), 8 (over just now), and three peers of nobody's.
class StatusTest : public testing::Test {
 protected:
  StatusTest() {
    for (const int n : {8, 6, 2, 1, 3, 7, 4, 5}) stored_.grants.push_back(make(n));
    stored_.closing = {id(2)};
    for (const int n : {1, 2, 4, 7, 8}) observed_.interface.peers.push_back(peer_of(make(n)));
    for (const Element& element : open_tunnel(make(1)).elements) observed_.elements.push_back(element);
    observed_.elements[0].packets = 7;
    observed_.interface.peers.push_back({key(70), prefixes({"192.168.7.0/24"}), {}, {}});
    observed_.interface.peers.push_back({key(71), prefixes({"10.90.200.1", "192.168.8.1"}), {}, {}});
    observed_.interface.peers.push_back({key(72), {}, {}, {}});
  }
  static Grant make(int n) {
    Grant g = grant(n);
    if (n == 4 || n == 5) g.not_after = kNow + Seconds(30);
    if (n == 8) g.not_after = kNow + Seconds(58);
    if (n == 6) g.not_before = kNow + Seconds(55);
    return g;
  }
  std::vector<StatusRow> rows() { return make_status(observed_, stored_, pools(), now_); }
  std::string table(size_t width = 0) { return render_status_table(rows(), now_, width); }

  Observed observed_;
  Stored stored_;
  WallTime now_ = kNow + Seconds(60);
};

TEST_F(StatusTest, EverySessionAndEveryPeerHasItsState) {
  std::vector<std::pair<State, std::string>> seen;
  for (const StatusRow& row : rows())
    seen.emplace_back(row.state, row.grant ? row.grant->session.str() : row.peer->key.str());
  std::vector<std::pair<State, std::string>> expected = {
      {State::open, id(1).str()},  {State::closing, id(2).str()}, {State::missing, id(3).str()},
      {State::ended, id(4).str()}, {State::opening, id(6).str()}, {State::missing, id(7).str()},
      {State::closing, id(8).str()}};
  std::map<std::string, State> others = {{key(70).str(), State::foreign}, {key(71).str(), State::unknown}, {key(72).str(), State::foreign}};
  for (const auto& [k, state] : others) expected.emplace_back(state, k);
  EXPECT_EQ(seen, expected);
}

TEST_F(StatusTest, OnlyWhatIsAsGrantedIsGood) {
  EXPECT_FALSE(is_as_granted(rows()));
  for (const State bad : {State::missing, State::ended, State::unknown})
    EXPECT_FALSE(is_as_granted({{bad}}));
  EXPECT_TRUE(is_as_granted({{State::open}, {State::opening}, {State::closing}, {State::foreign}}));
  EXPECT_TRUE(is_as_granted({}));
}

TEST_F(StatusTest, AForeignPeerWithASessionsKeyIsNotTheSessions) {
  stored_.grants = {grant(1)};
  observed_.interface.peers = {{key(1), prefixes({"192.168.7.0/24"}), {}, kNow, 5, 6}};
  const auto seen = rows();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].state, State::missing);
  EXPECT_EQ(seen[0].peer, nullptr);
  EXPECT_EQ(seen[1].state, State::foreign);
}

TEST_F(StatusTest, JsonTellsAllAndUnsetIsNull) {
  const auto all = rows();
  const json::array told = render_status(all, now_);
  ASSERT_EQ(told.size(), 10u);
  const auto expected = parse_json(
      R"({"state":"open","session":")" + id(1).str() + R"(","person":"alice","target":"db-prod","not_after":")" +
          render_time(kNow + Seconds(1800)) + R"(","time_left":1740,"address":["10.90.0.1/32","fd00:90::1/128"],"public_key":")" +
          key(1).str() + R"(","endpoint":"198.51.100.7:40000","first_packet":true,"last_handshake":")" +
          render_time(kNow - Seconds(70)) + R"(","rx":1234567,"tx":999})",
      4096);
  ASSERT_TRUE(expected);
  EXPECT_EQ(render_json(told[0]), render_json(*expected));
  for (const char* unset : {"endpoint", "first_packet", "last_handshake", "rx", "tx"}) EXPECT_TRUE(told[2].at(unset).is_null()) << unset;
  EXPECT_EQ(told[3].at("time_left"), json::value(0));
  for (const char* unset : {"session", "person", "target", "not_after", "time_left", "first_packet", "last_handshake"})
    EXPECT_TRUE(told[8].at(unset).is_null()) << unset;
}

TEST_F(StatusTest, TableSaysItInWords) {
  const std::string text = table();
  for (const char* word : {"alice", "db-prod", "10.90.0.1", "29m", "2m 10s ago", "1.2 MB", "999 B", "never", "198.51.100.7:40000",
                           "missing", "foreign", "ended", "yes", "no"})
    EXPECT_NE(text.find(word), std::string::npos) << word << " in\n" << text;
  EXPECT_EQ(render_status_table({}, kNow, 0), "no tunnels\n");
}

TEST_F(StatusTest, ATerminalsWidthIsKeptAsFarAsItGoes) {
  const auto widest = [&](const std::string& text) {
    size_t most = 0;
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) most = std::max(most, end - at);
    return most;
  };
  ASSERT_GT(widest(table()), 140u);
  for (const size_t width : {140u, 120u, 100u, 80u}) EXPECT_LE(widest(table(width)), width);
  EXPECT_EQ(table(1000), table());
  const std::string narrow = table(80);
  EXPECT_EQ(narrow.find(id(1).str()), std::string::npos) << narrow;
  for (const std::string& kept : {id(1).short_form(), std::string("29m"), std::string("999 B")})
    EXPECT_NE(narrow.find(kept), std::string::npos) << narrow;
  EXPECT_FALSE(table(10).empty());
}

TEST_F(StatusTest, TenThousandSessionsTakeNoTime) {
  observed_ = {}, stored_ = {};
  for (int n = 1; n <= 10'000; ++n) {
    Grant g = grant(1);
    g.session = id(n), g.wg_public_key = key(n).str();
    g.address = {Prefix::host(IpAddress::parse("10.90.0.0")->plus(static_cast<uint64_t>(n)))};
    stored_.grants.push_back(g);
    observed_.interface.peers.push_back(peer_of(g));
    for (const Element& element : open_tunnel(g).elements) observed_.elements.push_back(element);
  }
  const auto began = std::chrono::steady_clock::now();
  const auto all = rows();
  const std::string text = render_status_table(all, now_, 100) + render_json(render_status(all, now_));
  EXPECT_EQ(all.size(), 10'000u);
  EXPECT_TRUE(is_as_granted(all));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20)) << text.size();
}

class GrantFiles : public testing::Test {
 protected:
  GrantFiles() { std::filesystem::create_directories(dir_ + "/grants"); }
  ~GrantFiles() override { std::filesystem::remove_all(dir_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/grants/" + name) << text;
  }
  std::string signed_by(const ssh::PrivateKey& key, const Grant& g) {
    return render_json(render_document(ssh::sign(render_grant(g), kGrantNamespace, key)));
  }
  const std::string dir_ = testing::TempDir() + "jitwg-status-" + std::to_string(getpid());
  const ssh::PrivateKey ca_ = ssh::PrivateKey::generate();
};

TEST_F(GrantFiles, OnlyWhatTheCaSignedIsBelieved) {
  write(id(1).str() + ".json", signed_by(ca_, grant(1)));
  write(id(2).str() + ".json", signed_by(ssh::PrivateKey::generate(), grant(2)));
  write(id(3).str() + ".json", "{");
  const auto stored = load_stored(dir_, ca_.public_key(), "lab");
  ASSERT_TRUE(stored) << stored.error().render();
  ASSERT_EQ(stored->grants.size(), 1u);
  EXPECT_EQ(stored->grants[0].session, id(1));
  EXPECT_TRUE(stored->closing.empty());
  EXPECT_TRUE(load_stored(dir_, ca_.public_key(), "another realm")->grants.empty());
  std::filesystem::create_directories(dir_ + "/tombstones");
  std::ofstream(dir_ + "/tombstones/" + id(1).str() + ".json") << "{}";
  EXPECT_EQ(load_stored(dir_, ca_.public_key(), "lab")->closing, std::set{id(1)});
}

TEST_F(GrantFiles, NoFolderYetHoldsNone) {
  EXPECT_TRUE(load_stored(dir_ + "/none", ca_.public_key(), "lab")->grants.empty());
}

}  // namespace
}  // namespace jitwg::gateway
