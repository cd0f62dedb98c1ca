#include "broker/gateway/wireguard_netlink.h"

#include <linux/wireguard.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "broker/gateway/wireguard_attributes.h"

namespace jitwg::wireguard {
namespace {

constexpr timeval kAnswerWithin{5, 0};
constexpr size_t kMessageBytes = 64 * 1024;  // the kernel's own messages end at 32 KiB
constexpr int kDumpAttempts = 10;

struct Wiped {
  std::string& text;
  ~Wiped() { sodium_memzero(text.data(), text.size()); }
};

struct FreeSocket {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct Socket {
  std::unique_ptr<nl_sock, FreeSocket> handle;
  int family = 0;  // 0: the kernel has no WireGuard
};

Result<Socket> connect() {
  Socket socket{std::unique_ptr<nl_sock, FreeSocket>(nl_socket_alloc())};
  JITWG_CHECK(socket.handle);
  nl_sock* handle = socket.handle.get();
  if (const int error = genl_connect(handle); error < 0)
    return fail(Code::system, std::string("generic netlink: ") + nl_geterror(error));
  const int fd = nl_socket_get_fd(handle);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  const int family = genl_ctrl_resolve(handle, WG_GENL_NAME);
  if (family < 0 && family != -NLE_OBJ_NOTFOUND)
    return fail(Code::system, std::string("generic netlink: ") + nl_geterror(family));
  socket.family = std::max(family, 0);
  return socket;
}

// Not by libnl's own: a message of its would be one more copy of the private key.
Result<void> send(const Socket& socket, uint8_t command, int flags, const std::string& attributes) {
  nlmsghdr header{};
  header.nlmsg_type = static_cast<uint16_t>(socket.family);
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(GENL_HDRLEN) + attributes.size());
  genlmsghdr generic{command, WG_GENL_VERSION, 0};
  const std::array<iovec, 3> parts = {{
      {&header, sizeof header},
      {&generic, sizeof generic},
      {const_cast<char*>(attributes.data()), attributes.size()},
  }};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  if (::sendmsg(nl_socket_get_fd(socket.handle.get()), &message, 0) < 0)
    return fail_errno("question to the kernel's WireGuard", errno);
  return {};
}

enum class Step { more, finished, interrupted };

tl::unexpected<Error> refused(const std::string& interface, int error) {
  Error why = fail_errno("the kernel's WireGuard refuses " + interface, error).value();
  if (error == EPERM) why.hint = "run with CAP_NET_ADMIN";
  if (error == ENODEV) why.hint = "there is no such interface";
  return tl::unexpected(std::move(why));
}

Result<Step> take(const nlmsghdr* header, const std::string& interface, Interface* into) {
  if (header->nlmsg_flags & NLM_F_DUMP_INTR) return Step::interrupted;
  if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
    // Both begin with an errno; libnl 3.7 itself would overlook the one of NLMSG_DONE.
    int error = 0;
    if (nlmsg_datalen(header) < static_cast<int>(sizeof error))
      return fail(Code::corrupt, "the kernel's answer ends too early");
    std::memcpy(&error, nlmsg_data(header), sizeof error);
    if (error != 0) return refused(interface, std::abs(error));
    return Step::finished;
  }
  if (into == nullptr || header->nlmsg_type < NLMSG_MIN_TYPE) return Step::more;
  if (!genlmsg_valid_hdr(const_cast<nlmsghdr*>(header), 0))
    return fail(Code::corrupt, "the kernel's answer ends too early");
  auto* const generic = genlmsg_hdr(const_cast<nlmsghdr*>(header));
  std::string attributes(reinterpret_cast<const char*>(genlmsg_attrdata(generic, 0)),
                         static_cast<size_t>(genlmsg_attrlen(generic, 0)));
  JITWG_TRY(read_get(attributes, *into));
  return Step::more;
}

// Not by libnl's receive functions: those copy the private key, and wipe no copy.
Result<Step> receive(const Socket& socket, const std::string& interface, Interface* into) {
  std::string buffer(kMessageBytes, '\0');
  const Wiped wiped{buffer};
  bool interrupted = false;
  for (;;) {
    const ssize_t got =
        ::recv(nl_socket_get_fd(socket.handle.get()), buffer.data(), buffer.size(), MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("answer of the kernel's WireGuard", errno);
    if (static_cast<size_t>(got) > buffer.size())
      return fail(Code::too_large, "the kernel's answer is too long");
    auto* header = reinterpret_cast<nlmsghdr*>(buffer.data());
    int left = static_cast<int>(got);
    for (; nlmsg_ok(header, left); header = nlmsg_next(header, &left)) {
      JITWG_ASSIGN(const Step step, take(header, interface, into));
      if (step == Step::finished) return interrupted ? Step::interrupted : Step::finished;
      interrupted |= step == Step::interrupted;
      // The end of an interrupted dump carries the mark, too.
      if (interrupted && header->nlmsg_type == NLMSG_DONE) return Step::interrupted;
    }
  }
}

Result<Socket> connect_to_wireguard() {
  JITWG_ASSIGN(Socket socket, connect());
  if (socket.family == 0)
    return fail(Code::system, "this kernel has no WireGuard", "`modprobe wireguard` says why");
  return socket;
}

Result<void> set(const std::string& interface, const std::vector<std::string>& messages) {
  JITWG_ASSIGN(const Socket socket, connect_to_wireguard());
  for (const std::string& attributes : messages) {
    JITWG_TRY(send(socket, WG_CMD_SET_DEVICE, NLM_F_ACK, attributes));
    JITWG_TRY(receive(socket, interface, nullptr));
  }
  return {};
}

}  // namespace

Result<bool> kernel_has_wireguard() {
  JITWG_ASSIGN(const Socket socket, connect());
  return socket.family != 0;
}

Result<Interface> Netlink::get() {
  // A change while the dump goes on makes it inconsistent: the kernel says so, and one asks again.
  for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
    JITWG_ASSIGN(const Socket socket, connect_to_wireguard());
    JITWG_TRY(send(socket, WG_CMD_GET_DEVICE, NLM_F_DUMP, render_get(interface_)));
    Interface interface;
    JITWG_ASSIGN(const Step step, receive(socket, interface_, &interface));
    if (step == Step::interrupted) continue;
    for (Peer& peer : interface.peers) std::sort(peer.allowed_ips.begin(), peer.allowed_ips.end());
    return interface;
  }
  return fail(Code::timeout, interface_ + " changes faster than it can be read");
}

Result<void> Netlink::configure(const PrivateKey& key, uint16_t listen_port) {
  std::vector<std::string> messages = {render_configure(interface_, key, listen_port)};
  const Wiped wiped{messages[0]};
  return set(interface_, messages);
}

Result<void> Netlink::change(const std::vector<PublicKey>& remove, const std::vector<Peer>& add) {
  return set(interface_, render_change(interface_, remove, add));
}

}  // namespace jitwg::wireguard
