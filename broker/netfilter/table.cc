#include "broker/netfilter/table.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "broker/netfilter/codec.h"

namespace jitwg::netfilter {
namespace {

constexpr timeval kAnswerWithin{1, 0};         // an end that was lost is not sent again
constexpr int kListAttempts = 5;              // a dump interrupted by a change is asked for again
constexpr size_t kReceiveBytes = 256 * 1024;  // the kernel fills dumps up to 32 KiB a datagram
constexpr int kReceiveBuffer = 4 << 20;       // acknowledgements of one batch wait here

bool is_drift(int error_number) {
  return error_number == ENOENT || error_number == EEXIST || error_number == ENOTEMPTY;
}

tl::unexpected<Error> refusal(const std::string& what, int error_number) {
  if (error_number == ENFILE)
    return fail(Code::system, what + ": a set is full",
                "`nft list ruleset` shows what fills it");
  return fail(is_drift(error_number) ? Code::wrong_state : Code::system,
              what + ": " + std::strerror(error_number));
}

}  // namespace

void Table::Closer::operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
Table::Table(std::string name, mnl_socket* socket)
    : name_(std::move(name)), socket_(socket), buffer_(kReceiveBytes) {}
Table::Table(Table&&) noexcept = default;
Table& Table::operator=(Table&&) noexcept = default;
Table::~Table() = default;

Result<Table> Table::open(std::string name) {
  mnl_socket* socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
  if (socket == nullptr) return fail_errno("netlink socket for nftables", errno);
  Table table(std::move(name), socket);
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
    return fail_errno("netlink socket for nftables", errno);
  JITWG_ASSIGN(table.news_, subscribe());
  const int fd = mnl_socket_get_fd(socket);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  return table;
}

Result<void> Table::send(const std::string& bytes) {
  const int fd = mnl_socket_get_fd(socket_.get());
  // A batch is one datagram: the socket must be able to take it whole.
  int buffer = 0;
  socklen_t length = sizeof buffer;
  getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, &length);
  if (static_cast<size_t>(buffer) < bytes.size() + 4096) {
    buffer = static_cast<int>(bytes.size());  // the kernel doubles it
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) != 0)
      return fail_errno("netlink send buffer", errno);
  }
  while (mnl_socket_sendto(socket_.get(), bytes.data(), bytes.size()) < 0)
    if (errno != EINTR) return fail_errno("nftables request", errno);
  return {};
}

Result<void> Table::change(const std::vector<Element>& removals,
                           const std::vector<Element>& additions) {
  if (removals.empty() && additions.empty()) return {};
  const uint32_t first = sequence_;
  std::string batch;
  append_batch_begin(batch, sequence_++);
  JITWG_TRY(append_change(batch, name_, Change::remove, removals, sequence_));
  JITWG_TRY(append_change(batch, name_, Change::add, additions, sequence_));
  const uint32_t last = sequence_ - 1;
  append_batch_end(batch, sequence_++);
  JITWG_TRY(send(batch));

  // The kernel works a batch off inside sendto(): all its answers are queued by now. Committed is
  // what has the last message acknowledged and no message refused.
  const int fd = mnl_socket_get_fd(socket_.get());
  int refused = 0;
  bool acknowledged = false;
  for (;;) {
    const ssize_t got = recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got < 0) return fail_errno("nftables answer", errno);
    int left = static_cast<int>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
         mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      const bool ours = message->nlmsg_seq - first <= last - first;  // also across the wrap
      if (message->nlmsg_type != NLMSG_ERROR || !ours) continue;
      if (mnl_nlmsg_get_payload_len(message) < sizeof(nlmsgerr)) continue;
      const int code = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
      if (code == 0 && message->nlmsg_seq == last) acknowledged = true;
      // One real refusal outweighs any number of elements that merely drifted.
      if (code != 0 && (refused == 0 || is_drift(refused))) refused = -code;
    }
  }
  if (refused != 0) return refusal("nftables change of " + name_, refused);
  if (!acknowledged) return fail(Code::system, "nftables gave no answer to a change of " + name_);
  return {};
}

Result<std::vector<Element>> Table::list(const std::string& set) {
  for (int attempt = 0; attempt < kListAttempts; ++attempt) {
    bool interrupted = false;
    auto elements = list_once(set, interrupted);
    if (!interrupted) return elements;
  }
  return fail(Code::system, "the elements of " + set + " change too fast to be listed");
}

Result<std::vector<Element>> Table::list_once(const std::string& set, bool& interrupted) {
  const uint32_t sequence = sequence_++;
  std::vector<Element> elements;
  JITWG_TRY(dump("list of set " + set, make_list_request(name_, set, sequence), sequence, interrupted,
                 [&](const nlmsghdr* message) -> Result<void> {
                   JITWG_ASSIGN(std::vector<Element> some, parse_elements(message));
                   elements.insert(elements.end(), std::make_move_iterator(some.begin()),
                                   std::make_move_iterator(some.end()));
                   return {};
                 }));
  return elements;
}

Result<std::string> Table::find_flowtable(const std::string& interface) {
  for (int attempt = 0; attempt < kListAttempts; ++attempt) {
    bool interrupted = false;
    const uint32_t sequence = sequence_++;
    std::string found;
    JITWG_TRY(dump("list of flowtables", make_flowtables_request(sequence), sequence, interrupted,
                   [&](const nlmsghdr* message) -> Result<void> {
                     if (const std::string one = describe_flowtable(message, interface); found.empty()) found = one;
                     return {};
                   }));
    if (!interrupted) return found;
  }
  return fail(Code::system, "flowtables change too fast to be listed");
}

Result<void> Table::dump(const std::string& what, const std::string& request, uint32_t sequence, bool& interrupted,
                         const std::function<Result<void>(const nlmsghdr*)>& take) {
  JITWG_TRY(send(request));
  for (;;) {
    const ssize_t got = recv(mnl_socket_get_fd(socket_.get()), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(what, errno);
    int left = static_cast<int>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
         mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence) continue;  // left over from an earlier, failed exchange
      if (message->nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
      if (message->nlmsg_type == NLMSG_DONE) return {};
      if (message->nlmsg_type == NLMSG_ERROR) {
        const auto* answer = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
        return refusal(what, -answer->error);
      }
      JITWG_TRY(take(message));
    }
  }
}

}  // namespace jitwg::netfilter
