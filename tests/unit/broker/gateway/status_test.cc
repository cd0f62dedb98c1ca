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

wireguard::Interface two_peers() {
  wireguard::Interface interface;
  interface.peers = {{key(1), prefixes({"10.90.0.1"}), {}, kNow - Seconds(70), 10, 20},
                     {key(70), prefixes({"192.168.7.0/24"}), {}, {}}};
  return interface;
}

TEST(Status, EveryPeerTheKernelHoldsIsListed) {
  const auto rows = render_status(two_peers(), {grant(1), grant(2)});
  ASSERT_EQ(rows.size(), 2u);
  const auto expected = parse_json(
      R"({"session":")" + id(1).str() + R"(","public_key":")" + key(1).str() +
          R"(","address":["10.90.0.1/32"],"not_after":")" + render_time(kNow + Seconds(1800)) +
          R"(","person":"alice","target":"db-prod","last_handshake":")" +
          render_time(kNow - Seconds(70)) + R"(","rx":10,"tx":20})",
      4096);
  ASSERT_TRUE(expected);
  EXPECT_EQ(render_json(rows[0]), render_json(*expected));
  for (const char* unset : {"session", "not_after", "person", "target", "last_handshake"})
    EXPECT_TRUE(rows[1].at(unset).is_null()) << unset;
}

TEST(Status, TableSaysTheTimeLeftInWords) {
  const std::string text = render_status_table(two_peers(), {grant(1)}, kNow + Seconds(60));
  for (const char* word : {"alice", "db-prod", "10.90.0.1", "29m", "2m 10s ago", "10/20", "never"})
    EXPECT_NE(text.find(word), std::string::npos) << word << " in\n" << text;
  EXPECT_NE(render_status_table(two_peers(), {grant(1)}, kNow + Seconds(1800)).find("ended"),
            std::string::npos);
  EXPECT_EQ(render_status_table({}, {}, kNow), "no tunnels\n");
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
  const auto grants = load_grants(dir_, ca_.public_key(), "lab");
  ASSERT_TRUE(grants) << grants.error().render();
  ASSERT_EQ(grants->size(), 1u);
  EXPECT_EQ(grants->at(0).session, id(1));
  EXPECT_TRUE(load_grants(dir_, ca_.public_key(), "another realm")->empty());
}

TEST_F(GrantFiles, NoFolderYetHoldsNone) {
  EXPECT_TRUE(load_grants(dir_ + "/none", ca_.public_key(), "lab")->empty());
}

}  // namespace
}  // namespace jitwg::gateway
