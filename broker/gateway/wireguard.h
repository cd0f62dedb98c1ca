// A WireGuard interface as one value, and the two ways to reach one (the kernel's:
// wireguard_netlink.h; userspace: wireguard_uapi.h). Keys here are public; a private key passes
// through configure() only.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"
#include "broker/base/secret.h"

namespace jitwg::wireguard {

// A public X25519 key.
class PublicKey {
 public:
  // Base64 as in wg(8), one spelling. bad_key.
  static Result<PublicKey> parse(std::string_view base64);
  static Result<PublicKey> from_bytes(std::string_view bytes32);
  std::string str() const;  // base64
  const std::string& bytes() const { return bytes_; }
  auto operator<=>(const PublicKey&) const = default;

 private:
  explicit PublicKey(std::string bytes) : bytes_(std::move(bytes)) {}
  std::string bytes_;
};

using PrivateKey = Secret<32>;
// The content of a file as `wg genkey` writes it; `text` is wiped. bad_key.
Result<PrivateKey> parse_private_key(std::string& text);
PublicKey public_key_of(const PrivateKey& key);

struct Peer {
  PublicKey key;
  std::vector<Prefix> allowed_ips;  // sorted
  std::optional<Endpoint>
      endpoint;  // as last seen; unset too when it is no plain address (link-local with scope)
  std::optional<std::chrono::sys_seconds> last_handshake;
  uint64_t rx = 0;  // bytes from the peer
  uint64_t tx = 0;
  bool operator==(const Peer&) const = default;
};

struct Interface {
  std::optional<PublicKey> public_key;  // unset: it has no private key yet
  uint16_t listen_port = 0;
  std::vector<Peer> peers;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual Result<Interface> get() = 0;
  virtual Result<void> configure(const PrivateKey& key, uint16_t listen_port) = 0;
  // Removals first. Of many, a part may hold when it fails. Removing what is not there is fine. Of an added peer only key and allowed_ips
  // count; adding one that exists would alter it, so the caller has looked before.
  virtual Result<void> change(const std::vector<PublicKey>& remove,
                              const std::vector<Peer>& add) = 0;
};

}  // namespace jitwg::wireguard
