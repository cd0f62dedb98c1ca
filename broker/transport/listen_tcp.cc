#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <cerrno>

#include "broker/base/address.h"
#include "broker/transport/server.h"

namespace jitwg::http {

Result<Fd> listen_tcp(const std::string& address) {
  const auto parsed = Endpoint::parse(address);
  if (!parsed)
    return fail(Code::bad_config, "listen \"" + address + "\" is no address and port",
                "write listen = [::]:7443, or one address with its port");
  const boost::asio::ip::tcp::endpoint endpoint(
      boost::asio::ip::make_address(parsed->address.str()), parsed->port);
  Fd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() && errno == EAFNOSUPPORT)
    return fail(Code::io, "listen " + address + ": this process may open no such socket",
                "under systemd: systemctl enable --now jitwgd-tls.socket");
  const int on = 1, off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);  // whatever the system's default
  constexpr int kBacklog = 4096;  // all nodes of a realm at once; the system caps it
  if (!fd.valid() || ::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0 ||
      ::listen(fd.get(), kBacklog) != 0)
    return fail_errno("listen " + address, errno);
  return fd;
}

}  // namespace jitwg::http
