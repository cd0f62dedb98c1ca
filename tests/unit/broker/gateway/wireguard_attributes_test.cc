#include "broker/gateway/wireguard_attributes.h"

#include <gtest/gtest.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "broker/base/time.h"

namespace jitwg::wireguard {
namespace {

PublicKey key_of(uint32_t number) {
  std::string bytes(32, '\x07');
  std::memcpy(bytes.data(), &number, sizeof number);
  return *PublicKey::from_bytes(bytes);
}

Prefix address_of(uint64_t number) {
  return Prefix::host(IpAddress::parse("10.90.0.0")->plus(number));
}

std::string attribute(uint16_t type, std::string_view value) {
  const uint16_t length = static_cast<uint16_t>(4 + value.size());
  std::string text(4, '\0');
  std::memcpy(text.data(), &length, 2);
  std::memcpy(text.data() + 2, &type, 2);
  text += value;
  text.resize((text.size() + 3) / 4 * 4, '\0');
  return text;
}
template <typename Number>
std::string plain(const Number& number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}
constexpr uint16_t kNest = 0x8000;

std::string allowed_ip(const Prefix& prefix) {
  const uint16_t family = prefix.address.family == 4 ? AF_INET : AF_INET6;
  return attribute(kNest,
                   attribute(WGALLOWEDIP_A_CIDR_MASK, plain(static_cast<uint8_t>(prefix.length))) +
                       attribute(WGALLOWEDIP_A_FAMILY, plain(family)) +
                       attribute(WGALLOWEDIP_A_IPADDR,
                                 {reinterpret_cast<const char*>(prefix.address.bytes.data()),
                                  prefix.address.size()}));
}

// As the kernel writes it (wg_get_device_dump): one peer with everything.
std::string dump() {
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_port = htons(40000);
  from.sin_addr.s_addr = htonl(0xC0000207);
  const int64_t handshake[2] = {1800000000, 5};
  const std::string peer =
      attribute(WGPEER_A_PUBLIC_KEY, key_of(1).bytes()) +
      attribute(WGPEER_A_PRESHARED_KEY, std::string(32, '\0')) +
      attribute(WGPEER_A_LAST_HANDSHAKE_TIME, plain(handshake)) +
      attribute(WGPEER_A_TX_BYTES, plain(uint64_t{38333})) +
      attribute(WGPEER_A_RX_BYTES, plain(uint64_t{2224})) +
      attribute(WGPEER_A_ENDPOINT, plain(from)) +
      attribute(kNest | WGPEER_A_ALLOWEDIPS,
                allowed_ip(*Prefix::parse("fd00:90::1")) + allowed_ip(address_of(1)));
  return attribute(WGDEVICE_A_LISTEN_PORT, plain(uint16_t{51820})) +
         attribute(WGDEVICE_A_FWMARK, plain(uint32_t{0})) +
         attribute(WGDEVICE_A_IFNAME, std::string("jitwg0\0", 7)) +
         attribute(WGDEVICE_A_PRIVATE_KEY, std::string(32, 's')) +
         attribute(WGDEVICE_A_PUBLIC_KEY, key_of(9).bytes()) +
         attribute(kNest | WGDEVICE_A_PEERS, attribute(kNest, peer));
}

Result<Interface> parse(std::string attributes) {
  Interface interface;
  if (auto read = read_get(attributes, interface); !read) return tl::unexpected(read.error());
  return interface;
}

TEST(KernelWireGuardDump, Everything) {
  const auto interface = parse(dump());
  ASSERT_TRUE(interface) << interface.error().render();
  EXPECT_EQ(interface->public_key, key_of(9));
  EXPECT_EQ(interface->listen_port, 51820);
  ASSERT_EQ(interface->peers.size(), 1u);
  const Peer& peer = interface->peers[0];
  EXPECT_EQ(peer.key, key_of(1));
  EXPECT_EQ(peer.endpoint->str(), "192.0.2.7:40000");
  EXPECT_EQ(peer.last_handshake->time_since_epoch(), Seconds(1800000000));
  EXPECT_EQ(peer.rx, 2224u);
  EXPECT_EQ(peer.tx, 38333u);
  ASSERT_EQ(peer.allowed_ips.size(), 2u);
  EXPECT_EQ(peer.allowed_ips[0].str(), "fd00:90::1/128");
}

TEST(KernelWireGuardDump, WithoutAKeyThereIsNone) {
  const auto interface = parse(attribute(WGDEVICE_A_LISTEN_PORT, plain(uint16_t{0})));
  ASSERT_TRUE(interface);
  EXPECT_FALSE(interface->public_key);
}

TEST(KernelWireGuardDump, TheBytesAreWiped) {
  std::string text = dump();
  Interface interface;
  ASSERT_TRUE(read_get(text, interface));
  EXPECT_EQ(text, std::string(text.size(), '\0'));
}

TEST(KernelWireGuardDump, APeerGoesOnInTheNextMessage) {
  const auto message = [](uint32_t key, uint64_t address) {
    return attribute(kNest | WGDEVICE_A_PEERS,
                     attribute(kNest, attribute(WGPEER_A_PUBLIC_KEY, key_of(key).bytes()) +
                                          attribute(kNest | WGPEER_A_ALLOWEDIPS,
                                                    allowed_ip(address_of(address)))));
  };
  Interface interface;
  for (std::string text : {message(1, 1), message(1, 2), message(2, 3)})
    ASSERT_TRUE(read_get(text, interface));
  ASSERT_EQ(interface.peers.size(), 2u);
  EXPECT_EQ(interface.peers[0].allowed_ips, (std::vector{address_of(1), address_of(2)}));
}

TEST(KernelWireGuardDump, EveryCutIsRefused) {
  const std::string whole = dump();
  // A cut between two attributes of the device leaves a shorter, good message.
  std::vector<size_t> seams = {0};
  for (size_t at = 0; at < whole.size();) {
    uint16_t length = 0;
    std::memcpy(&length, whole.data() + at, 2);
    seams.push_back(at += (length + 3u) / 4 * 4);
  }
  for (size_t length = 0; length < whole.size(); ++length) {
    const bool seam = std::find(seams.begin(), seams.end(), length) != seams.end();
    EXPECT_EQ(parse(whole.substr(0, length)).has_value(), seam) << "cut at " << length;
  }
}

TEST(KernelWireGuardDump, DamageIsRefused) {
  const auto peer = [](const std::string& attributes) {
    return parse(attribute(
        kNest | WGDEVICE_A_PEERS,
        attribute(kNest, attribute(WGPEER_A_PUBLIC_KEY, key_of(1).bytes()) + attributes)));
  };
  EXPECT_TRUE(peer(""));
  EXPECT_TRUE(peer(attribute(99, "something new")));
  EXPECT_FALSE(peer(attribute(WGPEER_A_RX_BYTES, plain(uint32_t{1}))));
  EXPECT_FALSE(peer(attribute(WGPEER_A_LAST_HANDSHAKE_TIME, plain(uint64_t{1}))));
  EXPECT_FALSE(peer(attribute(WGPEER_A_ENDPOINT, "xyz")));
  EXPECT_FALSE(peer(attribute(kNest | WGPEER_A_ALLOWEDIPS,
                              attribute(kNest, attribute(WGALLOWEDIP_A_IPADDR, "abcd")))));
  Prefix wide = address_of(1);
  wide.length = 33;
  EXPECT_FALSE(peer(attribute(kNest | WGPEER_A_ALLOWEDIPS, allowed_ip(wide))));
  EXPECT_FALSE(parse(attribute(WGDEVICE_A_PUBLIC_KEY, "short")));
  EXPECT_FALSE(parse(attribute(WGDEVICE_A_LISTEN_PORT, "abc")));
  const std::string no_key = attribute(WGPEER_A_RX_BYTES, plain(uint64_t{1}));
  EXPECT_FALSE(parse(attribute(kNest | WGDEVICE_A_PEERS, attribute(kNest, no_key))));
}

TEST(KernelWireGuardChange, ThousandsGoOverManyMessagesAndNoneIsLost) {
  std::vector<PublicKey> gone;
  std::vector<Peer> added;
  for (uint32_t n = 0; n < 5000; ++n) {
    gone.push_back(key_of(100'000 + n));
    added.push_back({key_of(n), {address_of(n)}, {}, {}});
  }
  added[7].allowed_ips.clear();
  for (uint32_t n = 0; n < 1000; ++n) added[7].allowed_ips.push_back(address_of(10'000 + n));
  const auto messages = render_change("jitwg0", gone, added);
  EXPECT_GT(messages.size(), 10u);
  Interface read;
  for (std::string message : messages) {
    EXPECT_LT(message.size(), 60'000u);
    ASSERT_TRUE(read_get(message, read));
  }
  ASSERT_EQ(read.peers.size(), gone.size() + added.size());
  for (size_t n = 0; n < gone.size(); ++n) ASSERT_EQ(read.peers[n].key, gone[n]);
  for (size_t n = 0; n < added.size(); ++n) {
    ASSERT_EQ(read.peers[gone.size() + n].key, added[n].key);
    ASSERT_EQ(read.peers[gone.size() + n].allowed_ips, added[n].allowed_ips);
  }
}

TEST(KernelWireGuardChange, NothingIsNoMessage) {
  EXPECT_TRUE(render_change("jitwg0", {}, {}).empty());
}

}  // namespace
}  // namespace jitwg::wireguard
