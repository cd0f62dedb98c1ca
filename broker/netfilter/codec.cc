#include "broker/netfilter/codec.h"

#include <libnftnl/batch.h>
#include <libnftnl/expr.h>
#include <libnftnl/flowtable.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace jitwg::netfilter {
namespace {

constexpr size_t kMessageBytes = 128 * 1024;
constexpr size_t kCommentBytes = 128;  // NFTNL_UDATA_COMMENT_MAXLEN of nft

struct SetDeleter {
  void operator()(nftnl_set* set) const { nftnl_set_free(set); }
};
struct UdataDeleter {
  void operator()(nftnl_udata_buf* buffer) const { nftnl_udata_buf_free(buffer); }
};
using SetPtr = std::unique_ptr<nftnl_set, SetDeleter>;
using UdataPtr = std::unique_ptr<nftnl_udata_buf, UdataDeleter>;

SetPtr make_set(const std::string& table, const std::string& name) {
  SetPtr set(nftnl_set_alloc());
  JITWG_CHECK(set);
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table.c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, name.c_str());
  return set;
}

Result<void> put(nftnl_set* set, const Element& element, Change change) {
  if (element.key.empty()) return fail(Code::bad_value, "a set element needs a key");
  nftnl_set_elem* item = nftnl_set_elem_alloc();
  JITWG_CHECK(item != nullptr);
  nftnl_set_elem_add(set, item);  // owns it from here on
  nftnl_set_elem_set(item, NFTNL_SET_ELEM_KEY, element.key.data(),
                     static_cast<uint32_t>(element.key.size()));
  if (!element.key_end.empty())
    nftnl_set_elem_set(item, NFTNL_SET_ELEM_KEY_END, element.key_end.data(),
                       static_cast<uint32_t>(element.key_end.size()));
  if (change == Change::remove) return {};

  // A timeout of 0 would mean for ever.
  if (element.remaining <= Millis(0) || element.remaining == kForever)
    return fail(Code::bad_value, "a set element needs an end");
  nftnl_set_elem_set_u64(item, NFTNL_SET_ELEM_TIMEOUT,
                         static_cast<uint64_t>(element.remaining.count()));
  if (element.comment.empty()) return {};
  if (element.comment.size() >= kCommentBytes) return fail(Code::bad_value, "comment too long");
  UdataPtr userdata(nftnl_udata_buf_alloc(kCommentBytes * 2));
  JITWG_CHECK(userdata);
  nftnl_udata_put_strz(userdata.get(), NFTNL_UDATA_SET_ELEM_COMMENT, element.comment.c_str());
  nftnl_set_elem_set(item, NFTNL_SET_ELEM_USERDATA, nftnl_udata_buf_data(userdata.get()),
                     nftnl_udata_buf_len(userdata.get()));
  return {};
}

std::string attribute(nftnl_set_elem* item, uint16_t which) {
  uint32_t length = 0;
  const void* data = nftnl_set_elem_get(item, which, &length);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), length);
}

int find_comment(const nftnl_udata* entry, void* out) {
  if (nftnl_udata_type(entry) != NFTNL_UDATA_SET_ELEM_COMMENT) return 0;
  const char* text = static_cast<const char*>(nftnl_udata_get(entry));
  *static_cast<std::string*>(out) = std::string(text, strnlen(text, nftnl_udata_len(entry)));
  return 0;
}

Element element_of(nftnl_set_elem* item, const std::string& set) {
  Element element;
  element.set = set;
  element.key = attribute(item, NFTNL_SET_ELEM_KEY);
  element.key_end = attribute(item, NFTNL_SET_ELEM_KEY_END);
  element.remaining = kForever;
  if (nftnl_set_elem_is_set(item, NFTNL_SET_ELEM_EXPIRATION))
    element.remaining = Millis(nftnl_set_elem_get_u64(item, NFTNL_SET_ELEM_EXPIRATION));
  else if (nftnl_set_elem_is_set(item, NFTNL_SET_ELEM_TIMEOUT))
    element.remaining = Millis(nftnl_set_elem_get_u64(item, NFTNL_SET_ELEM_TIMEOUT));
  if (nftnl_set_elem_is_set(item, NFTNL_SET_ELEM_EXPR)) {
    const auto* counter =
        static_cast<const nftnl_expr*>(nftnl_set_elem_get(item, NFTNL_SET_ELEM_EXPR, nullptr));
    const char* kind = counter ? nftnl_expr_get_str(counter, NFTNL_EXPR_NAME) : nullptr;
    if (kind != nullptr && std::strcmp(kind, "counter") == 0)
      element.packets = nftnl_expr_get_u64(counter, NFTNL_EXPR_CTR_PACKETS);
  }
  const std::string userdata = attribute(item, NFTNL_SET_ELEM_USERDATA);
  // Others' bytes: a record that does not parse leaves no comment, and so belongs to no session.
  if (!userdata.empty() &&
      nftnl_udata_parse(userdata.data(), static_cast<uint32_t>(userdata.size()), find_comment,
                        &element.comment) < 0)
    element.comment.clear();
  return element;
}

}  // namespace

Result<void> append_change(std::string& batch, const std::string& table, Change change,
                           std::span<const Element> elements, uint32_t& sequence) {
  std::vector<char> buffer(kMessageBytes);
  while (!elements.empty()) {
    const std::string& name = elements.front().set;
    const auto same = std::find_if(elements.begin(), elements.end(),
                                   [&](const Element& e) { return e.set != name; });
    const size_t count =
        std::min(kElementsPerMessage, static_cast<size_t>(same - elements.begin()));
    const SetPtr set = make_set(table, name);
    for (const Element& element : elements.first(count)) JITWG_TRY(put(set.get(), element, change));

    // EXCL: an element that is there already must not pass for the one asked for.
    const bool add = change == Change::add;
    nlmsghdr* message = nftnl_nlmsg_build_hdr(
        buffer.data(), add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, NFPROTO_INET,
        static_cast<uint16_t>(NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0)), sequence++);
    nftnl_set_elems_nlmsg_build_payload(message, set.get());
    batch.append(buffer.data(), message->nlmsg_len);
    elements = elements.subspan(count);
  }
  return {};
}

void append_batch_begin(std::string& batch, uint32_t sequence) {
  char buffer[NLMSG_HDRLEN + 64];
  const nlmsghdr* message = nftnl_batch_begin(buffer, sequence);
  batch.append(buffer, message->nlmsg_len);
}

void append_batch_end(std::string& batch, uint32_t sequence) {
  char buffer[NLMSG_HDRLEN + 64];
  const nlmsghdr* message = nftnl_batch_end(buffer, sequence);
  batch.append(buffer, message->nlmsg_len);
}

std::string make_list_request(const std::string& table, const std::string& set, uint32_t sequence) {
  std::vector<char> buffer(4096);
  nlmsghdr* message =
      nftnl_nlmsg_build_hdr(buffer.data(), NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, sequence);
  nftnl_set_elems_nlmsg_build_payload(message, make_set(table, set).get());
  return {buffer.data(), message->nlmsg_len};
}

std::string make_flowtables_request(uint32_t sequence) {
  char buffer[NLMSG_HDRLEN + 64];
  const nlmsghdr* message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETFLOWTABLE, NFPROTO_UNSPEC, NLM_F_DUMP, sequence);
  return {buffer, message->nlmsg_len};
}

std::string describe_flowtable(const nlmsghdr* message, const std::string& interface) {
  const std::unique_ptr<nftnl_flowtable, decltype([](nftnl_flowtable* it) { nftnl_flowtable_free(it); })> it(
      nftnl_flowtable_alloc());
  JITWG_CHECK(it);
  if (nftnl_flowtable_nlmsg_parse(message, it.get()) < 0) return "a flowtable that cannot be read";
  const char* const* devices = nftnl_flowtable_get_array(it.get(), NFTNL_FLOWTABLE_DEVICES);
  for (; devices != nullptr && *devices != nullptr; ++devices)
    if (interface == *devices)
      return std::string("flowtable ") + nftnl_flowtable_get_str(it.get(), NFTNL_FLOWTABLE_NAME) + " of table " +
             nftnl_flowtable_get_str(it.get(), NFTNL_FLOWTABLE_TABLE);
  return "";
}

Result<std::vector<Element>> parse_elements(const nlmsghdr* message) {
  SetPtr set(nftnl_set_alloc());
  JITWG_CHECK(set);
  if (nftnl_set_elems_nlmsg_parse(message, set.get()) < 0)
    return fail(Code::corrupt, "the kernel's set listing cannot be read");
  const char* name = nftnl_set_get_str(set.get(), NFTNL_SET_NAME);
  if (name == nullptr) return fail(Code::corrupt, "the kernel's set listing names no set");

  struct Collected {
    std::vector<Element> elements;
    std::string set;
  } collected{{}, name};
  nftnl_set_elem_foreach(
      set.get(),
      [](nftnl_set_elem* item, void* out) {
        auto* into = static_cast<Collected*>(out);
        into->elements.push_back(element_of(item, into->set));
        return 0;
      },
      &collected);
  return std::move(collected.elements);
}

}  // namespace jitwg::netfilter
