// What both ways to a WireGuard interface promise (wireguard.h), on the real thing: the kernel's
// own and wireguard-go, each in this process's own network namespace.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "broker/gateway/link.h"
#include "broker/gateway/wireguard_netlink.h"
#include "broker/gateway/wireguard_uapi.h"

namespace jitwg::wireguard {
namespace {

constexpr const char* kGo = "/usr/bin/wireguard-go";

PrivateKey private_key(uint8_t number) {
  PrivateKey key;
  std::memset(key.data(), number, key.size());
  return key;
}

PublicKey peer_key(uint32_t number) {
  std::string bytes(32, '\x05');
  std::memcpy(bytes.data(), &number, sizeof number);
  return *PublicKey::from_bytes(bytes);
}

Peer peer(uint32_t number) {
  return {peer_key(number),
          {Prefix::host(IpAddress::parse("10.90.0.0")->plus(number)),
           Prefix::host(IpAddress::parse("fd00:90::")->plus(number))},
          {},
          {}};
}

std::vector<Peer> sorted(std::vector<Peer> peers) {
  std::sort(peers.begin(), peers.end(), [](const Peer& a, const Peer& b) { return a.key < b.key; });
  return peers;
}

class WireGuard : public testing::TestWithParam<const char*> {
 protected:
  // Interfaces live in one namespace for the whole run: a thread of the process cannot go back.
  static void SetUpTestSuite() {
    JITWG_CHECK(sodium_init() >= 0);
    separate_ = geteuid() == 0 && unshare(CLONE_NEWNET) == 0;
  }

  void SetUp() override {
    if (!separate_) GTEST_SKIP() << "needs root and network namespaces";
    name_ = "jwc" + std::to_string(getpid());
    std::string(GetParam()) == "kernel" ? make_in_kernel() : make_in_userspace();
  }

  void TearDown() override {
    transport_.reset();
    if (go_ > 0) {
      kill(go_, SIGTERM);
      waitpid(go_, nullptr, 0);
    } else if (made_) {
      EXPECT_EQ(system(("ip link delete " + name_).c_str()), 0);
    }
  }

  void make_in_kernel() {
    const auto has = kernel_has_wireguard();
    ASSERT_TRUE(has) << has.error().render();
    if (!*has) GTEST_SKIP() << "this kernel has no WireGuard";
    const auto added = gateway::add_wireguard_link(name_);
    ASSERT_TRUE(added) << added.error().render();
    made_ = true;
    EXPECT_EQ(**gateway::find_link_kind(name_), "wireguard");
    transport_ = std::make_unique<Netlink>(name_);
  }

  void make_in_userspace() {
    if (access(kGo, X_OK) != 0) GTEST_SKIP() << kGo << " is not installed";
    if (access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/net/tun";
    go_ = fork();
    ASSERT_GE(go_, 0);
    if (go_ == 0) {
      dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      execl(kGo, kGo, "-f", name_.c_str(), nullptr);
      _exit(127);
    }
    const std::string path = uapi_socket_path(name_);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!connect_uapi(path)) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << path << " does not appear";
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    transport_ = std::make_unique<Uapi>(Uapi::at(name_));
  }

  std::vector<Peer> peers() {
    auto interface = transport_->get();
    EXPECT_TRUE(interface) << interface.error().render();
    return interface ? sorted(interface->peers) : std::vector<Peer>();
  }

  void change(const std::vector<PublicKey>& remove, const std::vector<Peer>& add) {
    const auto changed = transport_->change(remove, add);
    ASSERT_TRUE(changed) << changed.error().render();
  }

  static inline bool separate_ = false;
  std::string name_;
  pid_t go_ = 0;
  bool made_ = false;
  std::unique_ptr<Transport> transport_;
};

TEST_P(WireGuard, FreshHasNoKeyAndNoPeer) {
  const auto interface = transport_->get();
  ASSERT_TRUE(interface) << interface.error().render();
  EXPECT_FALSE(interface->public_key);
  EXPECT_TRUE(interface->peers.empty());
}

TEST_P(WireGuard, KeyAndPort) {
  ASSERT_TRUE(transport_->configure(private_key(3), 51999));
  auto interface = transport_->get();
  ASSERT_TRUE(interface);
  EXPECT_EQ(interface->public_key, public_key_of(private_key(3)));
  EXPECT_EQ(interface->listen_port, 51999);
  ASSERT_TRUE(transport_->configure(private_key(4), 51998));
  interface = transport_->get();
  EXPECT_EQ(interface->public_key, public_key_of(private_key(4)));
  EXPECT_EQ(interface->listen_port, 51998);
}

TEST_P(WireGuard, PeersComeAndGo) {
  ASSERT_TRUE(transport_->configure(private_key(3), 51999));
  change({}, {peer(1), peer(2)});
  EXPECT_EQ(peers(), sorted({peer(1), peer(2)}));
  change({peer_key(1)}, {peer(3)});
  EXPECT_EQ(peers(), sorted({peer(2), peer(3)}));
  // A new key leaves the peers.
  ASSERT_TRUE(transport_->configure(private_key(4), 51999));
  EXPECT_EQ(peers(), sorted({peer(2), peer(3)}));
}

TEST_P(WireGuard, RemovingWhatIsNotThereIsFine) {
  change({peer_key(1)}, {});
  change({}, {});
  EXPECT_TRUE(peers().empty());
}

TEST_P(WireGuard, RemovalsComeFirst) {
  change({}, {peer(1)});
  Peer again = peer(1);
  again.allowed_ips = peer(9).allowed_ips;
  change({peer_key(1)}, {again});
  EXPECT_EQ(peers(), std::vector{again});
  // An address passes to another peer in one change.
  Peer other = peer(2);
  other.allowed_ips = peer(9).allowed_ips;
  change({peer_key(1)}, {other});
  EXPECT_EQ(peers(), std::vector{other});
}

TEST_P(WireGuard, PrefixesWiderThanAHostAndManyOfThem) {
  Peer wide{peer_key(1), {*Prefix::parse("10.64.0.0/10"), *Prefix::parse("fd00:64::/32")}, {}, {}};
  Peer many{peer_key(2), {}, {}, {}};
  for (uint64_t n = 0; n < 1500; ++n)
    many.allowed_ips.push_back(Prefix::host(IpAddress::parse("172.16.0.0")->plus(n)));
  change({}, {wide, many});
  EXPECT_EQ(peers(), sorted({wide, many}));
}

TEST_P(WireGuard, ThousandsOfPeers) {
  std::vector<Peer> all;
  std::vector<PublicKey> keys;
  for (uint32_t n = 1; n <= 3000; ++n) {
    all.push_back(peer(n));
    keys.push_back(peer_key(n));
  }
  change({}, all);
  EXPECT_EQ(peers(), sorted(all));
  change(keys, {peer(5000)});
  EXPECT_EQ(peers(), std::vector{peer(5000)});
}

TEST_P(WireGuard, TenThousandPeersOneGoesAllGo) {
  std::vector<Peer> all;
  std::vector<PublicKey> keys;
  for (uint32_t n = 1; n <= 10'000; ++n) {
    all.push_back(peer(n));
    keys.push_back(peer_key(n));
  }
  change({}, all);
  EXPECT_EQ(peers(), sorted(all));  // a dump over many messages
  change({peer_key(7000)}, {});
  std::erase_if(all, [](const Peer& one) { return one.key == peer_key(7000); });
  EXPECT_EQ(peers(), sorted(all));
  change(keys, {});
  EXPECT_TRUE(peers().empty());
}

// What we never set is never lost: of the interface its mark, of foreign peers preshared key,
// endpoint and keepalive.
TEST_P(WireGuard, WhatOthersSetStays) {
  if (system("wg --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "SKIPPED: wg is not installed";
  ASSERT_TRUE(transport_->configure(private_key(3), 51999));
  const std::string foreign = peer_key(70).str(), psk = testing::TempDir() + name_ + ".psk";
  ASSERT_EQ(system(("umask 077; wg genpsk > " + psk + "; wg set " + name_ + " fwmark 0x51 peer " + foreign +
                    " preshared-key " + psk + " endpoint 192.0.2.9:4000 persistent-keepalive 25 allowed-ips 0.0.0.0/0")
                       .c_str()),
            0);
  const auto shown = [&] {
    const std::string file = testing::TempDir() + name_ + ".dump";
    EXPECT_EQ(system(("wg showconf " + name_ + " > " + file).c_str()), 0);
    std::ifstream in(file);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const size_t at = text.find(foreign);
    return (at == std::string::npos ? "gone" : text.substr(at, text.find("[Peer]", at) - at)) +
           (text.find("FwMark = 0x51") == std::string::npos ? "no mark" : "");
  };
  const std::string before = shown();
  ASSERT_NE(before.find("PresharedKey"), std::string::npos) << before;
  change({}, {peer(1), peer(2)});
  change({peer_key(1)}, {peer(3)});
  ASSERT_TRUE(transport_->configure(private_key(4), 51998));
  change({peer_key(2), peer_key(3)}, {});
  EXPECT_EQ(shown(), before);
  EXPECT_EQ(peers(), (std::vector<Peer>{{peer_key(70), {*Prefix::parse("0.0.0.0/0")}, Endpoint::parse("192.0.2.9:4000").value(), {}}}));
  EXPECT_EQ(system(("wg set " + name_ + " peer " + foreign + " remove; rm " + psk).c_str()), 0);
}

TEST_P(WireGuard, TheEndpointIsTheOneLastSeen) {
  if (system("wg --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "SKIPPED: wg is not installed";
  change({}, {peer(1)});
  EXPECT_FALSE(peers().at(0).endpoint);
  for (const char* endpoint : {"192.0.2.9:4000", "[2001:db8::9]:4001"}) {
    ASSERT_EQ(system(("wg set " + name_ + " peer " + peer_key(1).str() + " endpoint " + endpoint).c_str()), 0);
    EXPECT_EQ(peers().at(0).endpoint->str(), endpoint);
    EXPECT_EQ(peers().at(0).allowed_ips, peer(1).allowed_ips);
  }
}

TEST_P(WireGuard, NoInterfaceIsAnErrorThatNamesIt) {
  const std::unique_ptr<Transport> none =
      std::string(GetParam()) == "kernel"
          ? std::unique_ptr<Transport>(std::make_unique<Netlink>("jwnone"))
          : std::make_unique<Uapi>(Uapi::at("jwnone"));
  const auto interface = none->get();
  ASSERT_FALSE(interface);
  EXPECT_NE(interface.error().message.find("jwnone"), std::string::npos);
  EXPECT_FALSE(none->configure(private_key(1), 51820));
  EXPECT_FALSE(none->change({}, {peer(1)}));
}

INSTANTIATE_TEST_SUITE_P(Over, WireGuard, testing::Values("kernel", "userspace"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace jitwg::wireguard
