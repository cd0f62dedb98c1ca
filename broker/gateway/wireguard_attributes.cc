#include "broker/gateway/wireguard_attributes.h"

#include <linux/wireguard.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sodium.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>

#include "broker/base/time.h"

namespace jitwg::wireguard {
namespace {

// A nest's length is 16 bits. Half of that leaves room for one more fragment of a peer.
constexpr size_t kMessageBytes = 64 * 1024, kFullBytes = 32 * 1024;
constexpr size_t kPrefixesInFragment = 64;

struct FreeMessage {
  void operator()(nl_msg* message) const {
    // It may have held a private key.
    sodium_memzero(nlmsg_data(nlmsg_hdr(message)),
                   static_cast<size_t>(nlmsg_datalen(nlmsg_hdr(message))));
    nlmsg_free(message);
  }
};
using Message = std::unique_ptr<nl_msg, FreeMessage>;

// Messages are sized so that everything fits.
void put(const Message& message, int type, const void* data, size_t size) {
  JITWG_CHECK(nla_put(message.get(), type, static_cast<int>(size), data) == 0);
}
template <typename Number>
void put_number(const Message& message, int type, Number number) {
  put(message, type, &number, sizeof number);
}
nlattr* begin_nest(const Message& message, int type) {
  nlattr* nest = nla_nest_start(message.get(), type);
  JITWG_CHECK(nest != nullptr);
  return nest;
}
void end_nest(const Message& message, nlattr* nest) { nla_nest_end(message.get(), nest); }

Message message_for(const std::string& interface) {
  Message message(nlmsg_alloc_size(kMessageBytes));
  JITWG_CHECK(message);
  put(message, WGDEVICE_A_IFNAME, interface.c_str(), interface.size() + 1);
  return message;
}

std::string attributes_of(const Message& message) {
  const nlmsghdr* header = nlmsg_hdr(message.get());
  return {static_cast<const char*>(nlmsg_data(header)), static_cast<size_t>(nlmsg_datalen(header))};
}

// Fills message after message with fragments of peers.
class ChangeWriter {
 public:
  explicit ChangeWriter(std::string interface) : interface_(std::move(interface)) {}

  void write(const PublicKey& key, uint32_t flags, const Prefix* prefixes, size_t count) {
    if (!message_) begin();
    nlattr* const peer = begin_nest(message_, 0);
    put(message_, WGPEER_A_PUBLIC_KEY, key.bytes().data(), key.bytes().size());
    if (flags != 0) put_number(message_, WGPEER_A_FLAGS, flags);
    nlattr* const all = begin_nest(message_, WGPEER_A_ALLOWEDIPS);
    for (const Prefix* prefix = prefixes; prefix != prefixes + count; ++prefix) {
      nlattr* const one = begin_nest(message_, 0);
      const uint16_t family = prefix->address.family == 4 ? AF_INET : AF_INET6;
      put_number(message_, WGALLOWEDIP_A_FAMILY, family);
      put(message_, WGALLOWEDIP_A_IPADDR, prefix->address.bytes.data(), prefix->address.size());
      put_number(message_, WGALLOWEDIP_A_CIDR_MASK, static_cast<uint8_t>(prefix->length));
      end_nest(message_, one);
    }
    end_nest(message_, all);
    end_nest(message_, peer);
    if (static_cast<size_t>(nlmsg_datalen(nlmsg_hdr(message_.get()))) > kFullBytes) finish();
  }

  std::vector<std::string> done() {
    finish();
    return std::move(messages_);
  }

 private:
  void begin() {
    message_ = message_for(interface_);
    peers_ = begin_nest(message_, WGDEVICE_A_PEERS);
  }
  void finish() {
    if (!message_) return;
    end_nest(message_, peers_);
    messages_.push_back(attributes_of(message_));
    message_.reset();
  }

  std::string interface_;
  Message message_;
  nlattr* peers_ = nullptr;
  std::vector<std::string> messages_;
};

// Attributes as the kernel nests them, read with the sizes checked.
class Attribute {
 public:
  explicit Attribute(nlattr* attribute) : attribute_(attribute) {}
  int type() const { return nla_type(attribute_); }
  std::string_view bytes() const {
    return {static_cast<const char*>(nla_data(attribute_)),
            static_cast<size_t>(nla_len(attribute_))};
  }
  char* data() const { return static_cast<char*>(nla_data(attribute_)); }
  template <typename Number>
  bool read(Number& out) const {
    if (bytes().size() != sizeof out) return false;
    std::memcpy(&out, bytes().data(), sizeof out);
    return true;
  }

 private:
  nlattr* attribute_;
};

// False as soon as `each` is, or when bytes are left that make no attribute.
bool for_each(char* data, size_t size, const std::function<bool(const Attribute&)>& each) {
  auto* next = reinterpret_cast<nlattr*>(data);
  int left = static_cast<int>(size);
  for (; nla_ok(next, left); next = nla_next(next, &left))
    if (!each(Attribute(next))) return false;
  return left == 0;
}
bool for_each(const Attribute& nest, const std::function<bool(const Attribute&)>& each) {
  return for_each(nest.data(), nest.bytes().size(), each);
}

bool read_address(std::string_view bytes, IpAddress& address) {
  if (bytes.size() != 4 && bytes.size() != 16) return false;
  address.family = bytes.size() == 4 ? 4 : 6;
  std::memcpy(address.bytes.data(), bytes.data(), bytes.size());
  return true;
}

bool read_endpoint(const Attribute& attribute, Peer& peer) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  Endpoint endpoint;
  if (attribute.read(v4) && v4.sin_family == AF_INET) {
    endpoint.port = ntohs(v4.sin_port);
    read_address({reinterpret_cast<const char*>(&v4.sin_addr), 4}, endpoint.address);
  } else if (attribute.read(v6) && v6.sin6_family == AF_INET6) {
    if (v6.sin6_scope_id != 0) return true;  // no plain address
    endpoint.port = ntohs(v6.sin6_port);
    read_address({reinterpret_cast<const char*>(&v6.sin6_addr), 16}, endpoint.address);
  } else {
    return false;
  }
  peer.endpoint = endpoint;
  return true;
}

bool read_allowed_ip(const Attribute& nest, Peer& peer) {
  Prefix prefix;
  uint8_t length = 255;
  bool has_address = false;
  const bool good = for_each(nest, [&](const Attribute& attribute) {
    if (attribute.type() == WGALLOWEDIP_A_CIDR_MASK) return attribute.read(length);
    if (attribute.type() != WGALLOWEDIP_A_IPADDR) return true;
    return has_address = read_address(attribute.bytes(), prefix.address);
  });
  if (!good || !has_address || length > prefix.address.bits()) return false;
  prefix.length = length;
  peer.allowed_ips.push_back(prefix);
  return true;
}

bool read_peer(const Attribute& nest, Interface& into) {
  Peer* peer = nullptr;
  return for_each(nest, [&](const Attribute& attribute) {
    if (attribute.type() == WGPEER_A_PUBLIC_KEY) {
      auto key = PublicKey::from_bytes(attribute.bytes());
      if (!key) return false;
      // The rest of the peer that the message before began.
      if (into.peers.empty() || into.peers.back().key != *key)
        into.peers.push_back({std::move(*key), {}, {}, {}});
      peer = &into.peers.back();
      return true;
    }
    if (peer == nullptr) return false;  // the key comes first
    switch (attribute.type()) {
      case WGPEER_A_ENDPOINT:
        return read_endpoint(attribute, *peer);
      case WGPEER_A_LAST_HANDSHAKE_TIME: {
        int64_t time[2] = {0, 0};  // struct __kernel_timespec
        if (!attribute.read(time)) return false;
        if (time[0] > 0) peer->last_handshake = WallTime(Seconds(time[0]));
        return true;
      }
      case WGPEER_A_RX_BYTES:
        return attribute.read(peer->rx);
      case WGPEER_A_TX_BYTES:
        return attribute.read(peer->tx);
      case WGPEER_A_ALLOWEDIPS:
        return for_each(attribute,
                        [&](const Attribute& one) { return read_allowed_ip(one, *peer); });
      default:
        return true;
    }
  });
}

bool read_device(std::string& attributes, Interface& into) {
  return for_each(attributes.data(), attributes.size(), [&](const Attribute& attribute) {
    switch (attribute.type()) {
      case WGDEVICE_A_PUBLIC_KEY: {
        auto key = PublicKey::from_bytes(attribute.bytes());
        if (key) into.public_key = std::move(*key);
        return key.has_value();
      }
      case WGDEVICE_A_LISTEN_PORT:
        return attribute.read(into.listen_port);
      case WGDEVICE_A_PEERS:
        return for_each(attribute, [&](const Attribute& peer) { return read_peer(peer, into); });
      default:
        return true;
    }
  });
}

}  // namespace

std::string render_get(const std::string& interface) {
  return attributes_of(message_for(interface));
}

std::string render_configure(const std::string& interface, const PrivateKey& key,
                             uint16_t listen_port) {
  const Message message = message_for(interface);
  put(message, WGDEVICE_A_PRIVATE_KEY, key.data(), key.size());
  put_number(message, WGDEVICE_A_LISTEN_PORT, listen_port);
  return attributes_of(message);
}

std::vector<std::string> render_change(const std::string& interface,
                                       const std::vector<PublicKey>& remove,
                                       const std::vector<Peer>& add) {
  ChangeWriter writer(interface);
  for (const PublicKey& key : remove) writer.write(key, WGPEER_F_REMOVE_ME, nullptr, 0);
  for (const Peer& peer : add) {
    const size_t all = peer.allowed_ips.size();
    for (size_t at = 0; at == 0 || at < all; at += kPrefixesInFragment)
      writer.write(peer.key, at == 0 ? WGPEER_F_REPLACE_ALLOWEDIPS : WGPEER_F_UPDATE_ONLY,
                   peer.allowed_ips.data() + at, std::min(kPrefixesInFragment, all - at));
  }
  return writer.done();
}

Result<void> read_get(std::string& attributes, Interface& into) {
  const bool good = read_device(attributes, into);
  sodium_memzero(attributes.data(), attributes.size());
  if (!good) return fail(Code::corrupt, "the kernel's WireGuard answers what cannot be read");
  return {};
}

}  // namespace jitwg::wireguard
