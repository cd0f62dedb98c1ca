#include "broker/gateway/link.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <memory>

namespace jitwg::gateway {
namespace {

constexpr timeval kAnswerWithin{5, 0};

template <auto free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
using Socket = std::unique_ptr<nl_sock, Freed<nl_socket_free>>;
using Link = std::unique_ptr<rtnl_link, Freed<rtnl_link_put>>;
using LinkAddress = std::unique_ptr<rtnl_addr, Freed<rtnl_addr_put>>;
using Route = std::unique_ptr<rtnl_route, Freed<rtnl_route_put>>;
using Cache = std::unique_ptr<nl_cache, Freed<nl_cache_free>>;
using Address = std::unique_ptr<nl_addr, Freed<nl_addr_put>>;

tl::unexpected<Error> fail_netlink(const std::string& what, int error) {
  return fail(Code::system, what + ": " + nl_geterror(error), "run with CAP_NET_ADMIN");
}

Result<Socket> connect() {
  Socket socket(nl_socket_alloc());
  JITWG_CHECK(socket);
  if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0)
    return fail_netlink("rtnetlink socket", error);
  setsockopt(nl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  return socket;
}

// nullptr: no such link.
Result<Link> find_link(const Socket& socket, const std::string& interface) {
  rtnl_link* found = nullptr;
  const int error = rtnl_link_get_kernel(socket.get(), 0, interface.c_str(), &found);
  if (error == -NLE_OBJ_NOTFOUND || error == -NLE_NODEV) return Link();
  if (error < 0) return fail_netlink("link " + interface, error);
  return Link(found);
}

Result<Link> need_link(const Socket& socket, const std::string& interface) {
  JITWG_ASSIGN(Link link, find_link(socket, interface));
  if (!link) return fail(Code::io, "there is no interface " + interface);
  return link;
}

Address address_of(const Prefix& prefix) {
  const int family = prefix.address.family == 4 ? AF_INET : AF_INET6;
  Address address(nl_addr_build(family, prefix.address.bytes.data(), prefix.address.size()));
  JITWG_CHECK(address);
  nl_addr_set_prefixlen(address.get(), prefix.length);
  return address;
}

Result<bool> route_leads_to(const Socket& socket, const Prefix& prefix, int ifindex) {
  nl_cache* all = nullptr;
  const int family = prefix.address.family == 4 ? AF_INET : AF_INET6;
  if (const int error = rtnl_route_alloc_cache(socket.get(), family, 0, &all); error < 0)
    return fail_netlink("list of routes", error);
  const Cache cache(all);
  const Address wanted = address_of(prefix);
  for (nl_object* object = nl_cache_get_first(cache.get()); object != nullptr;
       object = nl_cache_get_next(object)) {
    auto* route = reinterpret_cast<rtnl_route*>(object);
    if (rtnl_route_get_table(route) != RT_TABLE_MAIN ||
        nl_addr_cmp(rtnl_route_get_dst(route), wanted.get()) != 0)
      continue;
    const rtnl_nexthop* hop = rtnl_route_nexthop_n(route, 0);
    if (hop != nullptr && rtnl_route_nh_get_ifindex(const_cast<rtnl_nexthop*>(hop)) == ifindex)
      return true;
  }
  return false;
}

}  // namespace

Result<std::optional<std::string>> find_link_kind(const std::string& interface) {
  JITWG_ASSIGN(const Socket socket, connect());
  JITWG_ASSIGN(const Link link, find_link(socket, interface));
  if (!link) return std::nullopt;
  const char* kind = rtnl_link_get_type(link.get());
  return kind != nullptr ? kind : "";
}

Result<void> add_wireguard_link(const std::string& interface) {
  JITWG_ASSIGN(const Socket socket, connect());
  const Link link(rtnl_link_alloc());
  JITWG_CHECK(link);
  rtnl_link_set_name(link.get(), interface.c_str());
  JITWG_CHECK(rtnl_link_set_type(link.get(), "wireguard") == 0);
  const int error = rtnl_link_add(socket.get(), link.get(), NLM_F_CREATE | NLM_F_EXCL);
  if (error < 0) return fail_netlink("new WireGuard interface " + interface, error);
  return {};
}

Result<void> set_link_up(const std::string& interface, std::optional<int> mtu) {
  JITWG_ASSIGN(const Socket socket, connect());
  JITWG_ASSIGN(const Link link, need_link(socket, interface));
  const unsigned now = rtnl_link_get_mtu(link.get());
  const auto wanted = static_cast<unsigned>(mtu.value_or(static_cast<int>(now)));
  if ((rtnl_link_get_flags(link.get()) & IFF_UP) && now == wanted) return {};
  const Link change(rtnl_link_alloc());
  JITWG_CHECK(change);
  rtnl_link_set_flags(change.get(), IFF_UP);
  if (now != wanted) rtnl_link_set_mtu(change.get(), wanted);
  if (const int error = rtnl_link_change(socket.get(), link.get(), change.get(), 0); error < 0)
    return fail_netlink("link " + interface + " up", error);
  return {};
}

Result<void> add_address(const std::string& interface, const IpAddress& address) {
  JITWG_ASSIGN(const Socket socket, connect());
  JITWG_ASSIGN(const Link link, need_link(socket, interface));
  const LinkAddress added(rtnl_addr_alloc());
  JITWG_CHECK(added);
  rtnl_addr_set_ifindex(added.get(), rtnl_link_get_ifindex(link.get()));
  rtnl_addr_set_local(added.get(), address_of(Prefix::host(address)).get());
  if (const int error = rtnl_addr_add(socket.get(), added.get(), 0); error < 0)
    return fail_netlink("address " + address.str() + " of " + interface, error);
  return {};
}

Result<void> add_routes(const std::string& interface, const std::vector<Prefix>& pools) {
  JITWG_ASSIGN(const Socket socket, connect());
  JITWG_ASSIGN(const Link link, need_link(socket, interface));
  const int ifindex = rtnl_link_get_ifindex(link.get());
  for (const Prefix& pool : pools) {
    const Route route(rtnl_route_alloc());
    JITWG_CHECK(route);
    rtnl_route_set_table(route.get(), RT_TABLE_MAIN);
    rtnl_route_set_scope(route.get(), RT_SCOPE_LINK);
    rtnl_route_set_dst(route.get(), address_of(pool).get());
    rtnl_nexthop* hop = rtnl_route_nh_alloc();  // the route owns it
    JITWG_CHECK(hop != nullptr);
    rtnl_route_nh_set_ifindex(hop, ifindex);
    rtnl_route_add_nexthop(route.get(), hop);
    const int error = rtnl_route_add(socket.get(), route.get(), NLM_F_EXCL);
    if (error >= 0) continue;
    if (error != -NLE_EXIST) return fail_netlink("route to pool " + pool.str(), error);
    JITWG_ASSIGN(const bool ours, route_leads_to(socket, pool, ifindex));
    if (!ours)
      return fail(Code::bad_config,
                  "a route to pool " + pool.str() + " leads elsewhere than " + interface,
                  "`ip route show " + pool.str() + "`; remove it, or choose another pool");
  }
  return {};
}

Result<Fd> watch_links() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("news of links", errno);
  return fd;
}

bool take_link_news(const Fd& watch, const std::string& interface) {
  alignas(nlmsghdr) char buffer[32 * 1024];
  bool changed = false;
  for (;;) {
    const ssize_t got = ::recv(watch.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno != EINTR && errno != ENOBUFS) return changed;
    changed |= got < 0 && errno == ENOBUFS;
    size_t left = got < 0 ? 0 : static_cast<size_t>(got);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      const nlattr* name = nlmsg_find_attr(message, sizeof(ifinfomsg), IFLA_IFNAME);
      changed |= name != nullptr && nla_strcmp(name, interface.c_str()) == 0;
    }
  }
}

Result<bool> has_route(const std::string& interface, const Prefix& pool) {
  JITWG_ASSIGN(const Socket socket, connect());
  JITWG_ASSIGN(const Link link, need_link(socket, interface));
  return route_leads_to(socket, pool, rtnl_link_get_ifindex(link.get()));
}

}  // namespace jitwg::gateway
