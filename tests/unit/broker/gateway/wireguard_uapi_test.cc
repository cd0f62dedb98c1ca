#include "broker/gateway/wireguard_uapi.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <utility>

#include "broker/base/encoding.h"
#include "broker/base/time.h"

namespace jitwg::wireguard {
namespace {

// RFC 7748 §6.1: Alice's pair.
constexpr const char* kPrivate = "77076d0a7318a57d3c16c17251b26645df4f1e1a4f5bd4f1d1f5e1f4e1e1e1e1";
const std::string kPeer(64, 'b');

const std::string kDump =
    std::string("private_key=") + kPrivate +
    "\nlisten_port=51820\nfwmark=0\n"
    "public_key=" +
    kPeer + "\npreshared_key=" + std::string(64, '0') +
    "\nprotocol_version=1\nendpoint=192.0.2.7:40000\nlast_handshake_time_sec=1800000000\n"
    "last_handshake_time_nsec=5\ntx_bytes=38333\nrx_bytes=2224\npersistent_keepalive_interval=0\n"
    "allowed_ip=fd00:90::1/128\nallowed_ip=10.90.0.1/32\n"
    "public_key=" +
    std::string(64, 'c') +
    "\nendpoint=[fe80::1%2]:51820\nlast_handshake_time_sec=0\nsomething_new=yes\n"
    "errno=0\n\n";

Result<Interface> parse(std::string text) { return parse_uapi_get(text); }

TEST(UapiGet, Dump) {
  const auto interface = parse(kDump);
  ASSERT_TRUE(interface) << interface.error().render();
  EXPECT_TRUE(interface->public_key);
  EXPECT_EQ(interface->listen_port, 51820);
  ASSERT_EQ(interface->peers.size(), 2u);
  const Peer& peer = interface->peers[0];
  EXPECT_EQ(hex_encode(peer.key.bytes()), kPeer);
  ASSERT_EQ(peer.allowed_ips.size(), 2u);
  EXPECT_EQ(peer.allowed_ips[0].str(), "10.90.0.1/32");  // sorted
  EXPECT_EQ(peer.endpoint->str(), "192.0.2.7:40000");
  EXPECT_EQ(peer.last_handshake->time_since_epoch(), Seconds(1800000000));
  EXPECT_EQ(peer.rx, 2224u);
  EXPECT_EQ(peer.tx, 38333u);
  EXPECT_FALSE(interface->peers[1].last_handshake);
  EXPECT_FALSE(interface->peers[1].endpoint);
}

TEST(UapiGet, FreshInterfaceHasNoKey) {
  const auto interface = parse("private_key=" + std::string(64, '0') + "\nerrno=0\n\n");
  ASSERT_TRUE(interface);
  EXPECT_FALSE(interface->public_key);
  EXPECT_TRUE(parse("errno=0\n\n"));
}

TEST(UapiGet, TheTextIsWiped) {
  std::string text = kDump;
  ASSERT_TRUE(parse_uapi_get(text));
  EXPECT_EQ(text, std::string(kDump.size(), '\0'));
}

TEST(UapiGet, EveryCutIsRefused) {
  for (size_t length = 0; length < kDump.size(); ++length)
    EXPECT_FALSE(parse(kDump.substr(0, length))) << "cut at " << length;
}

TEST(UapiGet, DamageIsRefusedAndNeverQuoted) {
  const auto damaged = [](const std::string& what, const std::string& with) {
    std::string text = kDump;
    text.replace(text.find(what), what.size(), with);
    const auto result = parse(text);
    EXPECT_FALSE(result) << with;
    return result ? std::string() : result.error().message;
  };
  EXPECT_EQ(damaged(kPrivate, std::string(kPrivate) + "0").find("7707"), std::string::npos);
  damaged("listen_port=51820", "listen_port=70000");
  damaged("listen_port=51820", "listen_port");
  damaged("allowed_ip=10.90.0.1/32", "allowed_ip=10.90.0.300/32");
  damaged("rx_bytes=2224", "rx_bytes=-1");
  damaged(kPeer, kPeer.substr(1));
  damaged("errno=0\n\n", "errno=0\n\nmore");
  damaged("errno=0", "errno=1");
}

TEST(UapiSet, Text) {
  const auto key = *PublicKey::from_bytes(std::string(32, '\xbb'));
  const auto prefix = *Prefix::parse("10.90.0.1");
  EXPECT_EQ(render_uapi_change(std::vector{key}, std::vector<Peer>{{key, {prefix}, {}, {}}}),
            "set=1\npublic_key=" + kPeer + "\nremove=true\npublic_key=" + kPeer +
                "\nreplace_allowed_ips=true\nallowed_ip=10.90.0.1/32\n\n");
}

TEST(UapiSet, Answer) {
  EXPECT_TRUE(parse_uapi_set("errno=0\n\n"));
  EXPECT_EQ(parse_uapi_set("errno=-22\n\n").error().code, Code::io);
  for (const char* bad : {"", "errno=0", "errno=0\n", "errno=\n\n", "ok\n\n", "errno=0x\n\n"})
    EXPECT_EQ(parse_uapi_set(bad).error().code, Code::corrupt) << bad;
}

// The other end of a socket pair: answers one question, in pieces, and keeps what was asked.
class FakeWireguard {
 public:
  explicit FakeWireguard(std::string answer) : answer_(std::move(answer)) {}
  ~FakeWireguard() {
    if (thread_.joinable()) thread_.join();
  }

  Result<Fd> connect() {
    if (thread_.joinable()) {
      thread_.join();
      earlier.push_back(std::exchange(asked, {}));
    }
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    thread_ = std::thread([this, fd = Fd(ends[1])] {
      char byte = 0;
      while (!asked.ends_with("\n\n") && read(fd.get(), &byte, 1) == 1) asked.push_back(byte);
      for (size_t at = 0; at < answer_.size(); at += 7)
        if (send(fd.get(), answer_.data() + at, std::min<size_t>(7, answer_.size() - at),
                 MSG_NOSIGNAL) < 0)
          return;
    });
    return Fd(ends[0]);
  }
  std::string asked;
  std::vector<std::string> earlier;  // questions

 private:
  std::string answer_;
  std::thread thread_;
};

TEST(Uapi, AsksAndReadsAnAnswerInPieces) {
  FakeWireguard fake(kDump);
  Uapi uapi([&] { return fake.connect(); });
  const auto interface = uapi.get();
  ASSERT_TRUE(interface) << interface.error().render();
  EXPECT_EQ(interface->peers.size(), 2u);
  EXPECT_EQ(fake.asked, "get=1\n\n");
}

TEST(Uapi, ConfigureSendsKeyAndPort) {
  FakeWireguard fake("errno=0\n\n");
  Uapi uapi([&] { return fake.connect(); });
  std::string text = base64_encode(*hex_decode(kPrivate)) + "\n";
  const auto key = parse_private_key(text);
  ASSERT_TRUE(key);
  EXPECT_EQ(text, std::string(text.size(), '\0'));
  ASSERT_TRUE(uapi.configure(*key, 51820));
  EXPECT_EQ(fake.asked, std::string("set=1\nprivate_key=") + kPrivate + "\nlisten_port=51820\n\n");
}

TEST(Uapi, ManyPeersGoInPortionsRemovalsFirst) {
  FakeWireguard fake("errno=0\n\n");
  Uapi uapi([&] { return fake.connect(); });
  std::vector<PublicKey> remove;
  std::vector<Peer> add;
  for (uint32_t n = 0; n < 1200; ++n) {
    std::string bytes(32, '\x05');
    std::memcpy(bytes.data(), &n, sizeof n);
    const auto key = *PublicKey::from_bytes(bytes);
    n < 700 ? remove.push_back(key) : add.push_back({key, {}, {}, {}});
  }
  ASSERT_TRUE(uapi.change(remove, add));
  ASSERT_EQ(fake.earlier.size(), 2u);
  std::string all;
  for (const std::string& question : {fake.earlier[0], fake.earlier[1], fake.asked}) {
    EXPECT_TRUE(question.starts_with("set=1\n") && question.ends_with("\n\n"));
    size_t peers = 0;
    for (size_t at = 0; (at = question.find("public_key=", at)) != std::string::npos; ++at) ++peers;
    EXPECT_LE(peers, 500u);
    all += question.substr(6, question.size() - 7);
  }
  EXPECT_EQ("set=1\n" + all + "\n", render_uapi_change(remove, add));
  ASSERT_TRUE(uapi.change({}, {}));
  EXPECT_EQ(fake.earlier.size(), 2u) << "nothing is not asked";
}

TEST(Uapi, RefusalHalfAnswerAndNobodyThere) {
  FakeWireguard refuses("errno=1\n\n");
  EXPECT_FALSE(Uapi([&] {
                 return refuses.connect();
               }).change({*PublicKey::from_bytes(std::string(32, 'x'))}, {}));
  FakeWireguard dies("errno=");
  EXPECT_FALSE(Uapi([&] { return dies.connect(); }).get());
  EXPECT_EQ(connect_uapi("/nonexistent/jitwg9.sock").error().code, Code::io);
}

TEST(Keys, OnlyOneSpelling) {
  EXPECT_TRUE(PublicKey::parse(base64_encode(std::string(32, 'k'))));
  for (const char* bad : {"", "abc", "AAAA", "gHXkMVRJyRzRPZlG6Tjz0p5+VGcfLBPxNvK4c/SSBvc"})
    EXPECT_EQ(PublicKey::parse(bad).error().code, Code::bad_key) << bad;
  std::string short_text = "AAAA\n";
  EXPECT_EQ(parse_private_key(short_text).error().code, Code::bad_key);
}

}  // namespace
}  // namespace jitwg::wireguard
