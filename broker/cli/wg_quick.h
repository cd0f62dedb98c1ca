// One session's tunnel as a wg-quick(8) file (DESIGN §4.5). Pure. wg-quick runs as root and
// evaluates hook lines with a shell, so every word in them is rendered from a typed value of the
// verified grant: nothing here is a free string.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/session/grant.h"

namespace jitwg::cli {

// "jw-" and the last eight hex digits of the ID: IFNAMSIZ allows 15.
std::string interface_name(const SessionId& id);

// The routing table of the source rule, from the ID as the interface name is: other people's
// sessions on the same machine need another one. Above 0x40000000, out of the way of numbers that
// people choose.
uint32_t routing_table(const SessionId& id);

// Of the routes in the main table. Grows with not_before, so that the oldest live session carries
// plain clients and the next takes over; the ID tells apart what opened in the same second. Wraps
// every twelve days.
uint32_t route_metric(const Grant& grant);

// What goes through the tunnel: scope and jump addresses, sorted, each once.
std::vector<Prefix> tunnel_destinations(const Grant& grant);

// `private_key` is base64. The text is a secret: mode 0600.
std::string render_wg_quick(const Grant& grant, std::string_view private_key);

}  // namespace jitwg::cli
