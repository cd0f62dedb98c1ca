// Link and routes of one interface, by rtnetlink (libnl-route).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"
#include "broker/os/fd.h"

namespace jitwg::gateway {

// What kind of link that is, as `ip -d link` names it ("wireguard", "tun"; "" for hardware). Unset:
// no such link.
Result<std::optional<std::string>> find_link_kind(const std::string& interface);
// Loads the kernel's module, if it has one.
Result<void> add_wireguard_link(const std::string& interface);
// Unset: with the MTU that it has.
Result<void> set_link_up(const std::string& interface, std::optional<int> mtu);
Result<void> add_address(const std::string& interface, const IpAddress& address);
// A route to each of `pools` in the main table. One that leads here already is fine; one that leads
// elsewhere is not touched, and is an error (bad_config).
Result<void> add_routes(const std::string& interface, const std::vector<Prefix>& pools);
// Readable when a link of this machine changes.
Result<Fd> watch_links();
// Takes all the news there is, without waiting. True: some of it was about `interface`, or news was lost.
bool take_link_news(const Fd& watch, const std::string& interface);
// Does the main table have it already?
Result<bool> has_route(const std::string& interface, const Prefix& pool);

}  // namespace jitwg::gateway
