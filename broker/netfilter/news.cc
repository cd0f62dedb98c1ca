#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "broker/netfilter/table.h"

namespace jitwg::netfilter {
namespace {

// NFTA_TABLE_NAME has the same number in messages about chains, rules, sets and elements.
bool is_about(const nlmsghdr* message, const std::string& table) {
  const auto* header = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message));
  if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
      mnl_nlmsg_get_payload_len(message) < sizeof *header)
    return false;
  const int type = message->nlmsg_type & 0xff;  // flowtables: anybody's
  if (type == NFT_MSG_NEWFLOWTABLE || type == NFT_MSG_DELFLOWTABLE) return true;
  if (header->nfgen_family != NFPROTO_INET) return false;
  const auto compare = [](const nlattr* attribute, void* name) {
    const bool same = mnl_attr_get_type(attribute) == NFTA_TABLE_NAME &&
                      mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 &&
                      *static_cast<const std::string*>(name) == mnl_attr_get_str(attribute);
    return same ? MNL_CB_STOP : MNL_CB_OK;
  };
  std::string name = table;
  return mnl_attr_parse(message, sizeof *header, compare, &name) == MNL_CB_STOP;
}

}  // namespace

Result<Fd> Table::subscribe() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  const int group = NFNLGRP_NFTABLES;
  if (!fd.valid() ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
    return fail_errno("news of nftables", errno);
  return fd;
}

bool Table::take_news() {
  const uint32_t own_port = mnl_socket_get_portid(socket_.get());
  bool changed = false;
  for (;;) {
    const ssize_t got = ::recv(news_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && errno != EINTR && errno != ENOBUFS) return changed;
    changed |= got < 0 && errno == ENOBUFS;  // more than the socket holds: any of it may be ours
    int left = static_cast<int>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
         mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
      changed |= message->nlmsg_pid != own_port && is_about(message, name_);
  }
}

}  // namespace jitwg::netfilter
