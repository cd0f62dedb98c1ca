#include "broker/session/address_pool.h"

#include <optional>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"

namespace jitwg {
namespace {

// IPv4: the lowest never given; then the one whose end is longest ago. Network and broadcast address are left out.
std::optional<IpAddress> choose_v4(const Prefix& pool, const AddressUse& use, WallTime now) {
  const uint64_t count = uint64_t{1} << (32 - pool.length);
  // `given` is sorted, so the first gap in it is the lowest address never given.
  uint64_t& offset = use.gapless.try_emplace(pool.address, 2).first->second;
  for (auto it = use.given.lower_bound(pool.address.plus(offset)); it != use.given.end() && it->first == pool.address.plus(offset); ++it)
    ++offset;
  if (offset + 1 < count) return pool.address.plus(offset);
  std::optional<IpAddress> oldest;
  WallTime oldest_end{};
  for (auto it = use.given.lower_bound(pool.address.plus(2)); it != use.given.end() && pool.contains(it->first); ++it)
    if (it->second + limits::kAddressRest <= now && (!oldest || it->second < oldest_end)) {
      oldest = it->first;
      oldest_end = it->second;
    }
  return oldest;
}

// IPv6: random in the lower 62 bits, so "never twice" needs no counter that could be lost.
std::optional<IpAddress> choose_v6(const Prefix& pool, const AddressUse& use) {
  const int host_bits = pool.address.bits() - pool.length;
  for (int attempt = 0; attempt < 64; ++attempt) {
    uint64_t offset = 0;
    for (const char c : random_bytes(8)) offset = offset << 8 | static_cast<uint8_t>(c);
    offset &= (uint64_t{1} << std::min(host_bits, 62)) - 1;
    const IpAddress address = pool.address.plus(offset);
    if (offset >= 2 && !use.given.contains(address)) return address;
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<Prefix>> choose_addresses(const std::vector<Prefix>& pools, const AddressUse& use, WallTime now) {
  std::vector<Prefix> chosen;
  for (const Prefix& pool : pools) {
    const auto address = pool.address.family == 4 ? choose_v4(pool, use, now) : choose_v6(pool, use);
    if (!address)
      return fail(Code::pool_exhausted, "no free address in " + pool.str(),
                  "addresses rest 1 h after their session; enlarge the pool");
    chosen.push_back(Prefix::host(*address));
  }
  return chosen;
}

}  // namespace jitwg
