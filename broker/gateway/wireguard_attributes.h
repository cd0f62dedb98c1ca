// What the kernel's WireGuard and we say to each other, without the sending: the attributes of
// generic netlink messages (linux/wireguard.h), as bytes. Pure.
#pragma once

#include <string>
#include <vector>

#include "broker/gateway/wireguard.h"

namespace jitwg::wireguard {

std::string render_get(const std::string& interface);
// Holds the private key: the caller wipes it.
std::string render_configure(const std::string& interface, const PrivateKey& key,
                             uint16_t listen_port);
// Of several messages, in the order in which to send them: the kernel takes only so much in one. It
// applies them one by one, not as a whole.
std::vector<std::string> render_change(const std::string& interface,
                                       const std::vector<PublicKey>& remove,
                                       const std::vector<Peer>& add);
// Adds what one message of the answer says: peers, and even one peer's allowed IPs, go over many.
// Allowed IPs stay in the kernel's order. corrupt. `attributes` may hold the private key: it is
// wiped.
Result<void> read_get(std::string& attributes, Interface& into);

}  // namespace jitwg::wireguard
