#include "broker/gateway/conntrack.h"

#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

namespace jitwg::gateway {
namespace {

constexpr timeval kAnswerWithin{1, 0};

struct HandleDeleter {
  void operator()(nfct_handle* handle) const { nfct_close(handle); }
};
struct EntryDeleter {
  void operator()(nf_conntrack* entry) const { nfct_destroy(entry); }
};
using Handle = std::unique_ptr<nfct_handle, HandleDeleter>;
using Entry = std::unique_ptr<nf_conntrack, EntryDeleter>;

Result<Handle> open_conntrack() {
  Handle handle(nfct_open(CONNTRACK, 0));
  if (!handle) return fail_errno("netlink socket for conntrack", errno);
  setsockopt(nfct_fd(handle.get()), SOL_SOCKET, SO_RCVTIMEO, &kAnswerWithin, sizeof kAnswerWithin);
  return handle;
}

struct Search {
  const std::vector<Prefix>& pools;
  const std::set<IpAddress>& live;
  std::map<IpAddress, size_t> counts;
  std::vector<Entry> found;
};

std::optional<IpAddress> read_address(const nf_conntrack* entry, nf_conntrack_attr four,
                                      nf_conntrack_attr six) {
  const bool is_six = nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO) == AF_INET6;
  const void* bytes = nfct_get_attr(entry, is_six ? six : four);
  if (bytes == nullptr) return std::nullopt;
  IpAddress address;
  address.family = is_six ? 6 : 4;
  std::memcpy(address.bytes.data(), bytes, address.size());
  return address;
}

bool is_dead(const Search& search, const IpAddress& address) {
  const auto inside = [&](const Prefix& pool) { return pool.contains(address); };
  return !search.live.contains(address) &&
         std::any_of(search.pools.begin(), search.pools.end(), inside);
}

int on_entry(nf_conntrack_msg_type, nf_conntrack* entry, void* data) {
  auto* search = static_cast<Search*>(data);
  for (const auto& address : {read_address(entry, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC),
                              read_address(entry, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST)}) {
    if (!address || !is_dead(*search, *address)) continue;
    ++search->counts[*address];
    if (Entry copy{nfct_clone(entry)}) search->found.push_back(std::move(copy));
    break;
  }
  return NFCT_CB_CONTINUE;
}

Result<Search> list(const std::vector<Prefix>& pools, const std::set<IpAddress>& live) {
  JITWG_ASSIGN(const Handle handle, open_conntrack());
  Search search{pools, live, {}, {}};
  nfct_callback_register(handle.get(), NFCT_T_ALL, on_entry, &search);
  const uint32_t family = AF_UNSPEC;
  if (nfct_query(handle.get(), NFCT_Q_DUMP, &family) < 0)
    return fail_errno("list of conntrack entries", errno);
  return search;
}

}  // namespace

Result<std::map<IpAddress, size_t>> cut_flows(const std::vector<Prefix>& pools,
                                              const std::set<IpAddress>& live) {
  JITWG_ASSIGN(const Search before, list(pools, live));
  if (before.found.empty()) return before.counts;
  JITWG_ASSIGN(const Handle handle, open_conntrack());
  for (const Entry& entry : before.found)
    // ENOENT: it ended by itself meanwhile.
    if (nfct_query(handle.get(), NFCT_Q_DESTROY, entry.get()) < 0 && errno != ENOENT)
      return fail_errno("end of a conntrack entry", errno);
  JITWG_ASSIGN(const Search after, list(pools, live));
  return after.counts;
}

}  // namespace jitwg::gateway
