#include "broker/gateway/selftest_network.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "broker/gateway/link.h"

namespace jitwg::gateway {
namespace {

constexpr const char* kTun = "/dev/net/tun";

// Not write_file(): a sysctl is written in place.
Result<void> set_sysctl(const std::string& key, const std::string& value) {
  const std::string path = "/proc/sys/net/" + key;
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), value.data(), value.size()) < 0) {
    Error why = fail_errno(path, errno).value();
    return fail(why.code, why.message, "the self-test needs CAP_NET_ADMIN, and /proc/sys writable in its own network namespace");
  }
  return {};
}

}  // namespace

Result<ScratchNetwork::Device> ScratchNetwork::make_device(const std::string& name) {
  Device device{Fd(::open(kTun, O_RDWR | O_CLOEXEC | O_NONBLOCK)), {}};
  if (!device.fd.valid()) {
    Error why = fail_errno(kTun, errno).value();
    return fail(why.code, why.message, "modprobe tun; a container must be given the device");
  }
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  if (::ioctl(device.fd.get(), TUNSETIFF, &request) != 0) return fail_errno("TUN device " + name, errno);
  device.name = request.ifr_name;
  JITWG_TRY(set_link_up(device.name, std::nullopt));
  return device;
}

// A socket of IPv6 hears both.
Result<ScratchNetwork::Device> ScratchNetwork::make_service(bool ipv6) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(kGatewayPort);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(kGatewayPort);
  const auto* address = ipv6 ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
  Device device{Fd(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), "the gateway"};
  const int off = 0;
  if (!device.fd.valid() || (ipv6 && ::setsockopt(device.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) ||
      ::bind(device.fd.get(), address, ipv6 ? sizeof v6 : sizeof v4) != 0)
    return fail_errno("UDP socket of the self-test", errno);
  return device;
}

Result<ScratchNetwork> ScratchNetwork::enter(const std::string& tunnel, bool ipv6) {
  if (::unshare(CLONE_NEWNET) != 0) {
    Error why = fail_errno("network namespace for the self-test", errno).value();
    return fail(why.code, why.message, "run it as root: it needs CAP_SYS_ADMIN and CAP_NET_ADMIN");
  }
  JITWG_TRY(set_sysctl("ipv4/ip_forward", "1"));
  JITWG_TRY(set_sysctl("ipv4/icmp_ratelimit", "0"));
  for (const char* of : {"all", "default"}) JITWG_TRY(set_sysctl(std::string("ipv4/conf/") + of + "/rp_filter", "0"));
  if (ipv6) {
    for (const char* of : {"all", "default"}) JITWG_TRY(set_sysctl(std::string("ipv6/conf/") + of + "/disable_ipv6", "0"));
    JITWG_TRY(set_sysctl("ipv6/conf/all/forwarding", "1"));
    JITWG_TRY(set_sysctl("ipv6/icmp/ratelimit", "0"));
  }
  JITWG_TRY(set_link_up("lo", std::nullopt));
  ScratchNetwork network;
  for (const Side side : {Side::tunnel, Side::inside, Side::elsewhere}) {
    JITWG_ASSIGN(network.devices_[static_cast<size_t>(side)], make_device(side == Side::tunnel ? tunnel : "jw-test%d"));
  }
  JITWG_ASSIGN(network.devices_[static_cast<size_t>(Side::gateway)], make_service(ipv6));
  return network;
}

Result<void> ScratchNetwork::route(Side side, const Prefix& prefix) const {
  return add_routes(devices_[static_cast<size_t>(side)].name, {prefix});
}

Result<void> ScratchNetwork::add_address(Side side, const IpAddress& address) const {
  return gateway::add_address(devices_[static_cast<size_t>(side)].name, address);
}

Result<void> ScratchNetwork::send(Side side, const std::string& packet) const {
  const Device& device = devices_[static_cast<size_t>(side)];
  if (::write(device.fd.get(), packet.data(), packet.size()) < 0) return fail_errno("packet into " + device.name, errno);
  return {};
}

Result<ScratchNetwork::Packet> ScratchNetwork::receive(std::chrono::steady_clock::time_point until) const {
  std::array<pollfd, std::tuple_size_v<decltype(devices_)>> waiting{};
  for (size_t i = 0; i < waiting.size(); ++i) waiting[i] = {devices_[i].fd.get(), POLLIN, 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const int ready = ::poll(waiting.data(), waiting.size(), std::max(0, static_cast<int>(left.count())));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail_errno("wait for packets", errno);
    if (ready == 0) return Packet{};
    for (size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      std::string bytes(2048, '\0');
      const ssize_t size = ::read(devices_[i].fd.get(), bytes.data(), bytes.size());
      if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (size < 0) return fail_errno("packet out of " + devices_[i].name, errno);
      bytes.resize(static_cast<size_t>(size));
      return Packet{static_cast<Side>(i), std::move(bytes)};
    }
  }
}

}  // namespace jitwg::gateway
