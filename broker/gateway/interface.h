// Makes the WireGuard interface ready to serve, or adopts the one that is there.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/gateway/wireguard.h"

namespace jitwg::gateway {

enum class TransportChoice { automatic, kernel, userspace };

struct InterfaceSettings {
  std::string name;      // "jitwg0"
  std::string key_file;  // private key, as `wg genkey` writes it
  uint16_t listen_port = 51820;
  std::optional<int> mtu;     // unset: what it has, 1420 when it is made
  std::vector<Prefix> pools;  // routed to the interface
  std::string
      wireguard_go;  // started only if there is no such interface yet, and the kernel makes none
  // automatic: the interface that is there; to make one, the kernel where it has WireGuard.
  TransportChoice transport = TransportChoice::automatic;
};

struct ReadyInterface {
  std::unique_ptr<wireguard::Transport> transport;
  wireguard::PublicKey public_key;  // of `key_file`
};

// How to reach an interface that exists, of whatever kind. io: there is none.
Result<std::unique_ptr<wireguard::Transport>> find_transport(const std::string& interface);

// A reason not to begin at all, found without touching anything: no key, or others' peers on the
// interface with another key or port.
Result<void> check_interface(const InterfaceSettings& settings);

// Name, key, port, MTU, link and routes as in `settings`; what is so already is left alone. An interface
// that is made goes on running when this process ends, so that sessions outlive a restart. Needs
// CAP_NET_ADMIN; making one without the kernel's WireGuard also /dev/net/tun. bad_config: the
// interface is not of the chosen transport, serves others' peers with another key or port, or the
// port is in use.
Result<ReadyInterface> prepare_interface(const InterfaceSettings& settings);

// The last part of it, link and routes: who sets a link down takes its routes away.
Result<void> set_up_link(const InterfaceSettings& settings);

}  // namespace jitwg::gateway
