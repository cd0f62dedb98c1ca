#include "broker/netfilter/codec.h"

#include <gtest/gtest.h>
#include <libnftnl/common.h>
#include <libnftnl/flowtable.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
// After it: they define the same.
#include <linux/netfilter.h>

namespace jitwg::netfilter {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

std::vector<const nlmsghdr*> messages(const std::string& batch) {
  std::vector<const nlmsghdr*> out;
  int left = static_cast<int>(batch.size());
  for (auto* m = reinterpret_cast<const nlmsghdr*>(batch.data()); mnl_nlmsg_ok(m, left);
       m = mnl_nlmsg_next(m, &left))
    out.push_back(m);
  EXPECT_EQ(left, 0);
  return out;
}

TEST(Key, FieldsArePaddedToFourBytes) {
  const std::string key = Key()
                              .address(ip("10.90.0.1"))
                              .address(ip("10.60.10.20"))
                              .protocol(IPPROTO_TCP)
                              .port(5432)
                              .bytes();
  EXPECT_EQ(key,
            std::string("\x0a\x5a\x00\x01\x0a\x3c\x0a\x14\x06\x00\x00\x00\x15\x38\x00\x00", 16));
  EXPECT_EQ(Key().address(ip("fd00::1")).address(ip("fd00::2")).protocol(6).port(1).bytes().size(),
            40u);
}

TEST(Codec, RoundTrip) {
  const std::string v4 =
      Key().address(ip("10.90.0.1")).address(ip("10.60.10.20")).protocol(6).port(22).bytes();
  const std::string v4_end =
      Key().address(ip("10.90.0.1")).address(ip("10.60.10.255")).protocol(6).port(443).bytes();
  const std::string v6 =
      Key().address(ip("fd00:90::1")).address(ip("fd00::2")).protocol(17).port(53).bytes();
  const std::vector<Element> elements = {
      {"scope4", v4, "", "0197f4a0-0000-7000-8000-000000000001", Millis(90 * 60 * 1000)},
      {"range4", v4, v4_end, "0197f4a0-0000-7000-8000-000000000002", Millis(1)},
      {"scope6", v6, "", "", Millis(10)},
  };
  // What is encoded for the kernel is decoded as if the kernel had said it: an element's attributes
  // are the same both ways. One message each, as the kernel numbers a list's elements otherwise
  // than libnftnl does.
  for (const Element& element : elements) {
    std::string batch;
    uint32_t sequence = 7;
    ASSERT_TRUE(append_change(batch, "jitwg", Change::add, std::span(&element, 1), sequence));
    EXPECT_EQ(sequence, 8u);
    const auto sent = messages(batch);
    ASSERT_EQ(sent.size(), 1u);
    const auto back = parse_elements(sent[0]);
    ASSERT_TRUE(back) << back.error().render();
    EXPECT_EQ(*back, std::vector<Element>{element});
  }
}

TEST(Codec, ManyElementsAreSplitIntoMessages) {
  // The largest kind of element, two sets: no message spans sets, none overflows its attribute.
  const std::string key =
      Key().address(ip("fd00:90::1")).address(ip("fd00::2")).protocol(6).port(22).bytes();
  std::vector<Element> elements(500, {"range6", key, key, std::string(127, 'x'), Millis(5000)});
  elements.resize(700, {"scope6", key, "", "x", Millis(5000)});
  std::string batch;
  uint32_t sequence = 10;
  ASSERT_TRUE(append_change(batch, "jitwg", Change::add, elements, sequence));
  EXPECT_EQ(messages(batch).size(), 4u);  // 200 + 200 + 100, 200
  EXPECT_EQ(sequence, 14u);
  for (const auto* message : messages(batch)) EXPECT_LT(message->nlmsg_len, 65536u);
}

TEST(Codec, NoElementWithoutAnEnd) {
  std::string batch;
  uint32_t sequence = 1;
  const std::string key = Key().uid(1000).bytes();
  for (const Millis remaining : {Millis(0), Millis(-1), kForever}) {
    const std::vector<Element> elements = {{"scope4", key, "", "x", remaining}};
    EXPECT_EQ(append_change(batch, "jitwg", Change::add, elements, sequence).error().code,
              Code::bad_value);
  }
  const std::vector<Element> keyless = {{"scope4", "", "", "x", Millis(5)}};
  EXPECT_FALSE(append_change(batch, "jitwg", Change::remove, keyless, sequence));
}

TEST(Codec, AFlowtableNamesItsDevices) {
  nftnl_flowtable* table = nftnl_flowtable_alloc();
  nftnl_flowtable_set_str(table, NFTNL_FLOWTABLE_TABLE, "t");
  nftnl_flowtable_set_str(table, NFTNL_FLOWTABLE_NAME, "f");
  nftnl_flowtable_set_u32(table, NFTNL_FLOWTABLE_HOOKNUM, 0);
  nftnl_flowtable_set_u32(table, NFTNL_FLOWTABLE_PRIO, 0);
  const char* devices[] = {"lan0", "jitwg0", nullptr};
  nftnl_flowtable_set_array(table, NFTNL_FLOWTABLE_DEVICES, devices);
  char buffer[4096];
  nlmsghdr* message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWFLOWTABLE, NFPROTO_INET, 0, 1);
  nftnl_flowtable_nlmsg_build_payload(message, table);
  nftnl_flowtable_free(table);
  message->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWFLOWTABLE;
  EXPECT_EQ(describe_flowtable(message, "jitwg0"), "flowtable f of table t");
  EXPECT_EQ(describe_flowtable(message, "lan0"), "flowtable f of table t");
  EXPECT_EQ(describe_flowtable(message, "jitwg"), "");
}

TEST(Codec, CommentTooLongIsRefused) {
  std::string batch;
  uint32_t sequence = 1;
  const std::vector<Element> elements = {
      {"s", Key().uid(1).bytes(), "", std::string(128, 'x'), Millis(5)}};
  EXPECT_EQ(append_change(batch, "jitwg", Change::add, elements, sequence).error().code,
            Code::bad_value);
}

}  // namespace
}  // namespace jitwg::netfilter
