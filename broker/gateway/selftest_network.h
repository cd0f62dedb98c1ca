// A network namespace of this thread's own, with a TUN device for each side of a gateway. Needs CAP_SYS_ADMIN,
// CAP_NET_ADMIN and /dev/net/tun. The thread stays in it for good; when its sockets, this and the thread are gone, so
// is the namespace with all that is in it.
#pragma once

#include <array>
#include <chrono>
#include <string>

#include "broker/base/address.h"
#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg::gateway {

enum class Side { tunnel, inside, elsewhere, gateway };  // the last: UDP port kGatewayPort of the gateway itself
inline constexpr uint16_t kGatewayPort = 40009;  // above 1024: no capability for it

class ScratchNetwork {
 public:
  // Forwards between the sides. `tunnel`: name of that side's device.
  static Result<ScratchNetwork> enter(const std::string& tunnel, bool ipv6);
  Result<void> route(Side side, const Prefix& prefix) const;
  Result<void> add_address(Side side, const IpAddress& address) const;

  // As if it came in there.
  Result<void> send(Side side, const std::string& packet) const;
  struct Packet {
    Side side = Side::tunnel;
    std::string bytes;  // gateway: the payload; empty: nothing came out in time
  };
  Result<Packet> receive(std::chrono::steady_clock::time_point until) const;

 private:
  struct Device {
    Fd fd;
    std::string name;
  };
  static Result<Device> make_device(const std::string& name);
  static Result<Device> make_service(bool ipv6);
  std::array<Device, 4> devices_;  // by side
};

}  // namespace jitwg::gateway
