// Userspace WireGuard (wireguard-go, boringtun) through its configuration socket
// /var/run/wireguard/<interface>.sock: https://www.wireguard.com/xplatform/. One connection an
// operation; an answer is waited for at most 5 s.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/gateway/wireguard.h"
#include "broker/os/fd.h"

namespace jitwg::wireguard {

std::string uapi_socket_path(const std::string& interface);

// The answer to "get=1", to its errno line and the empty line after it. Keys that are not known are
// skipped, as the protocol wants. corrupt: anything else; io: an errno other than 0. `text` may
// hold the private key: it is wiped.
Result<Interface> parse_uapi_get(std::string& text);
// io: an errno other than 0, or no answer.
Result<void> parse_uapi_set(std::string_view text);
std::string render_uapi_change(std::span<const PublicKey> remove, std::span<const Peer> add);

class Uapi final : public Transport {
 public:
  // `connect` yields a connected stream socket for one operation.
  explicit Uapi(std::function<Result<Fd>()> connect) : connect_(std::move(connect)) {}
  static Uapi at(const std::string& interface);

  Result<Interface> get() override;
  Result<void> configure(const PrivateKey& key, uint16_t listen_port) override;
  Result<void> change(const std::vector<PublicKey>& remove, const std::vector<Peer>& add) override;

 private:
  Result<std::string> ask(std::string_view question);
  std::function<Result<Fd>()> connect_;
};

// unavailable kinds are `io`: no such interface, nobody listens.
Result<Fd> connect_uapi(const std::string& path);

}  // namespace jitwg::wireguard
