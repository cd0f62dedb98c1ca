#include "broker/netfilter/watch.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "broker/netfilter/codec.h"

namespace jitwg::netfilter {
namespace {
constexpr size_t kReceiveBytes = 256 * 1024;
}

Result<Watch> Watch::open(std::string table, uint32_t own_port) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  const int group = NFNLGRP_NFTABLES;
  if (!fd.valid() ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
    return fail_errno("news of nftables", errno);
  return Watch(std::move(fd), std::move(table), own_port);
}

bool Watch::take() {
  std::vector<char> buffer(kReceiveBytes);
  bool changed = false;
  for (;;) {
    const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ENOBUFS) {  // more news than the socket holds: any of it may be ours
      changed = true;
      continue;
    }
    if (got <= 0) return changed;
    int left = static_cast<int>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
         mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
      changed |= message->nlmsg_pid != own_port_ && is_about(message, table_);
  }
}

}  // namespace jitwg::netfilter
