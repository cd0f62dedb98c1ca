// Elements as netlink messages (nfnetlink, NFT_MSG_*SETELEM), through libnftnl. No socket: bytes
// in, bytes out.
#pragma once

#include <libmnl/libmnl.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "broker/base/error.h"
#include "broker/netfilter/element.h"

namespace jitwg::netfilter {

enum class Change { add, remove };

// Appends messages for `elements` to `batch`, at most kElementsPerMessage each, numbered from
// `sequence` on (which is moved past them). Every message asks for an acknowledgement. bad_value:
// an element without key or timeout.
Result<void> append_change(std::string& batch, const std::string& table, Change change,
                           std::span<const Element> elements, uint32_t& sequence);

// One attribute list holds 64 KiB; the largest element (IPv6 interval with comment) takes about 250
// bytes.
constexpr size_t kElementsPerMessage = 200;

void append_batch_begin(std::string& batch, uint32_t sequence);
void append_batch_end(std::string& batch, uint32_t sequence);

// Asks for all elements of one set.
std::string make_list_request(const std::string& table, const std::string& set, uint32_t sequence);
// Asks for all flowtables of all families.
std::string make_flowtables_request(uint32_t sequence);
// Of one NFT_MSG_NEWFLOWTABLE message: "flowtable f of table inet t" if it names `interface`, or cannot be read; else "".
std::string describe_flowtable(const nlmsghdr* message, const std::string& interface);
// The elements of one NFT_MSG_NEWSETELEM message. corrupt: not such a message.
Result<std::vector<Element>> parse_elements(const nlmsghdr* message);

}  // namespace jitwg::netfilter
