#include "broker/cli/wg_quick.h"

#include <gtest/gtest.h>

#include "tests/unit/broker/cli/samples.h"

namespace jitwg::cli {
namespace {

TEST(WgQuick, WritesTheWholeFile) {
  const Sample sample;
  // 0xfa12ab34: table 0x40000000 | low 30 bits; 1772434800 s: metric 1 + (low 20 bits << 11 |
  // 0x334).
  EXPECT_EQ(
      render_wg_quick(sample.grant, "PRIVATE"),
      "# jitwg session 019b0000-0000-7000-8000-0000fa12ab34: alice reaches db-prod until "
      "2026-03-02T08:30:00Z.\n"
      "# Written from the signed grant; changes are lost.\n"
      "[Interface]\n"
      "PrivateKey = PRIVATE\n"
      "Address = 10.90.0.2/32, fd00:90::2/128\n"
      "Table = off\n"
      "PreUp = ip -4 rule del from 10.90.0.2 table 2048043828 2>/dev/null || true\n"
      "PreUp = ip -6 rule del from fd00:90::2 table 2048043828 2>/dev/null || true\n"
      "PostUp = ip -4 route add 10.60.0.5/32 dev jw-fa12ab34 src 10.90.0.2 table 2048043828\n"
      "PostUp = ip -4 route add 10.60.0.5/32 dev jw-fa12ab34 src 10.90.0.2 metric 699106101\n"
      "PostUp = ip -4 route add 10.60.10.20/32 dev jw-fa12ab34 src 10.90.0.2 table 2048043828\n"
      "PostUp = ip -4 route add 10.60.10.20/32 dev jw-fa12ab34 src 10.90.0.2 metric 699106101\n"
      "PostUp = ip -6 route add fd00:60::20/128 dev jw-fa12ab34 src fd00:90::2 table 2048043828\n"
      "PostUp = ip -6 route add fd00:60::20/128 dev jw-fa12ab34 src fd00:90::2 metric 699106101\n"
      "PostUp = ip -4 rule add from 10.90.0.2 table 2048043828\n"
      "PostUp = ip -6 rule add from fd00:90::2 table 2048043828\n"
      "PreDown = ss -K src fd00:90::2 >/dev/null 2>&1 || true\n"
      "PreDown = ip -6 rule del from fd00:90::2 table 2048043828 2>/dev/null || true\n"
      "PreDown = ss -K src 10.90.0.2 >/dev/null 2>&1 || true\n"
      "PreDown = ip -4 rule del from 10.90.0.2 table 2048043828 2>/dev/null || true\n"
      "PreDown = ip -4 route del 10.60.0.5/32 dev jw-fa12ab34 src 10.90.0.2 table 2048043828 "
      "2>/dev/null || true\n"
      "PreDown = ip -4 route del 10.60.0.5/32 dev jw-fa12ab34 src 10.90.0.2 metric 699106101 "
      "2>/dev/null || true\n"
      "PreDown = ip -4 route del 10.60.10.20/32 dev jw-fa12ab34 src 10.90.0.2 table 2048043828 "
      "2>/dev/null || true\n"
      "PreDown = ip -4 route del 10.60.10.20/32 dev jw-fa12ab34 src 10.90.0.2 metric 699106101 "
      "2>/dev/null || true\n"
      "PreDown = ip -6 route del fd00:60::20/128 dev jw-fa12ab34 src fd00:90::2 table 2048043828 "
      "2>/dev/null || true\n"
      "PreDown = ip -6 route del fd00:60::20/128 dev jw-fa12ab34 src fd00:90::2 metric 699106101 "
      "2>/dev/null || true\n"
      "\n"
      "[Peer]\n"
      "PublicKey = " +
          wg_key('\3') +
          "\n"
          "Endpoint = 192.0.2.10:51820\n"
          "AllowedIPs = 10.60.0.5/32, 10.60.10.20/32, fd00:60::20/128\n"
          "PersistentKeepalive = 25\n");
}

TEST(WgQuick, LeavesOutWhatTheTunnelHasNoAddressFor) {
  Sample sample;
  sample.grant.address = {*Prefix::parse("10.90.0.2/32")};
  const std::string text = render_wg_quick(sample.grant, "PRIVATE");
  EXPECT_EQ(text.find("fd00"), std::string::npos);
}

TEST(WgQuick, TheOlderSessionHasTheLowerMetric) {
  const Sample first;
  Sample second;
  second.grant.session = *SessionId::parse("019b0000-0000-7000-8000-000000000000");
  second.grant.not_before += Seconds(1);
  EXPECT_LT(route_metric(first.grant), route_metric(second.grant));
}

TEST(WgQuick, SessionsOfTheSameSecondStillDiffer) {
  const Sample first;
  Sample second;
  second.grant.session = *SessionId::parse("019b0000-0000-7000-8000-0000fa12ab35");
  EXPECT_NE(route_metric(first.grant), route_metric(second.grant));
  EXPECT_NE(routing_table(first.grant.session), routing_table(second.grant.session));
  EXPECT_NE(interface_name(first.grant.session), interface_name(second.grant.session));
}

}  // namespace
}  // namespace jitwg::cli
