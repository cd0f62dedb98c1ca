// Where the broker is, and how it is known. A Unix socket is known by who may write the directory it lies in;
// https://HOST[:PORT] by its pinned key or by trust anchors. Nothing is trusted on first use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/os/config.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg::http {

struct BrokerAddress {
  std::string where;              // "unix:PATH" or "https://HOST[:PORT]"
  std::vector<std::string> pins;  // "sha256//BASE64" of its key (self_signed.h); one of them is enough
  std::string ca_file;  // PEM, instead of pins: its chain, the dates in it and HOST are checked
  std::shared_ptr<const ssh::PrivateKey> node_key;  // what a node proves itself by; people have none
};

// The keys `broker`, `broker-pin` and `broker-ca` of a node's configuration; bad_config, bad_argument.
Result<BrokerAddress> read_broker_address(const Config& config);

// `where`, taken apart.
struct Place {
  std::string socket;  // a path; empty: TLS to host and port
  std::string host;    // a name or a bare IP address
  uint16_t port = 0;
  bool host_is_address = false;
};
// bad_argument: no such form. bad_config: https without pins and anchors, with both, a pin that is none.
Result<Place> parse_broker_address(const BrokerAddress& address);

}  // namespace jitwg::http
