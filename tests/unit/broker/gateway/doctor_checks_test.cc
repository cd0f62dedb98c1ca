#include "broker/gateway/doctor_checks.h"

#include <gtest/gtest.h>

#include <fstream>

#include "broker/gateway/ruleset.h"

namespace jitwg::gateway {
namespace {

using Level = doctor::Finding::Level;

const std::vector<Prefix> kPools = {Prefix::parse("10.90.0.0/16").value()};

doctor::Finding foreign(const std::string& listing) {
  return check_foreign_chains(parse_nftables(listing), "jitwg0", kPools, 51820).front();
}

std::string forward_chain(const std::string& policy, const std::string& rules) {
  return "table ip filter { # handle 3\n\tchain FORWARD { # handle 1\n\t\ttype filter hook forward "
         "priority filter; policy " +
         policy + ";\n" + rules + "\t}\n}\n";
}

TEST(ParseNftables, ChainsRulesAndFlowtables) {
  const Nftables seen = parse_nftables(
      "table inet a {\n"
      "\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n\n"
      "\tflowtable f {\n\t\thook ingress priority filter\n\t\tdevices = { \"eth0\", jitwg0 "
      "}\n\t}\n\n"
      "\tchain one {\n\t\ttype filter hook forward priority filter - 10; policy accept;\n"
      "\t\ticmp type { echo-request,\n\t\t\t    echo-reply } drop # handle 7\n"
      "\t\tcounter comment \"an { open brace\"\n\t\tcounter drop\n\t}\n\n\tchain two {\n\t}\n}\n"
      "table ip b {\n\tchain one {\n\t\taccept\n\t}\n}\n");
  ASSERT_EQ(seen.chains.size(), 3u);
  EXPECT_EQ(seen.chains[0].table, "inet a");
  EXPECT_EQ(seen.chains[0].hook, "type filter hook forward priority filter - 10; policy accept;");
  EXPECT_EQ(seen.chains[0].rules,
            (std::vector<std::string>{"icmp type { echo-request, echo-reply } drop",
                                      "counter comment \"an { open brace\"", "counter drop"}));
  EXPECT_EQ(seen.chains[1].name, "two");
  EXPECT_EQ(seen.chains[2].table, "ip b");
  ASSERT_EQ(seen.flowtables.size(), 1u);
  EXPECT_EQ(check_flowtables(seen, "jitwg0").level, Level::problem);
  EXPECT_EQ(check_flowtables(seen, "eth0").level, Level::problem);
  EXPECT_EQ(check_flowtables(seen, "jitwg").level, Level::ok);
}

TEST(ForeignChains, DropByDefaultUnlessTheTunnelIsKnownThere) {
  EXPECT_EQ(foreign("").level, Level::ok);
  EXPECT_EQ(foreign(forward_chain("accept", "")).level, Level::ok);
  EXPECT_EQ(foreign(forward_chain("accept", "\t\tct state invalid drop\n\t\taccept\n")).level,
            Level::ok);
  const auto drops = foreign(forward_chain("drop", "\t\tct state established accept\n"));
  EXPECT_EQ(drops.level, Level::problem);
  EXPECT_EQ(drops.what, "foreign_chains");
  EXPECT_NE(drops.remedy.find("nft insert rule ip filter FORWARD iifname \"jitwg0\" accept"),
            std::string::npos);
  const std::string answers = "\t\tct state { established, related } accept\n";
  EXPECT_EQ(foreign(forward_chain("drop", answers + "\t\tiifname \"jitwg0\" accept\n")).level, Level::ok);
  EXPECT_EQ(foreign(forward_chain("drop", answers + "\t\tip saddr 10.90.0.0/16 accept\n")).level, Level::ok);
  EXPECT_EQ(foreign(forward_chain("drop", answers + "\t\tiifname { \"eth1\", \"jitwg0\" } tcp dport 5432 accept\n")).level,
            Level::ok);
  EXPECT_EQ(foreign(forward_chain("drop", "\t\tct state vmap { invalid : drop, established : accept }\n"
                                          "\t\tiifname \"jitwg0\" oifname \"eth1\" accept\n")).level,
            Level::ok);
  // Half of it is not enough, and the remedy is the other half.
  for (const std::string one : {"iif", "oif"}) {
    const auto half = foreign(forward_chain("drop", "\t\t" + one + "name \"jitwg0\" accept\n"));
    EXPECT_EQ(half.level, Level::problem);
    EXPECT_EQ(half.remedy.find("FORWARD " + one + "name"), std::string::npos) << half.remedy;
    EXPECT_NE(half.remedy.find(one == "iif" ? "FORWARD oifname \"jitwg0\" accept" : "FORWARD iifname \"jitwg0\" accept"),
              std::string::npos) << half.remedy;
  }
  EXPECT_EQ(foreign(forward_chain("drop", answers + "\t\tiifname != \"jitwg0\" accept\n")).level, Level::problem);
  EXPECT_EQ(foreign(forward_chain("drop", "\t\tiifname \"jitwg0\" counter drop\n")).level,
            Level::problem);
  EXPECT_EQ(
      foreign(forward_chain("accept",
                            "\t\tct state new accept\n\t\treject with icmpx admin-prohibited\n"))
          .level,
      Level::problem);
  EXPECT_EQ(foreign(forward_chain("accept", "\t\tlog prefix \"no: \" drop\n")).level,
            Level::problem);
}

TEST(ForeignChains, InputMustLetWireGuardsPortIn) {
  const std::string head =
      "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy "
      "drop;\n";
  const auto shut = foreign(head + "\t\ttcp dport 22 accept\n\t}\n}\n");
  EXPECT_EQ(shut.level, Level::problem);
  EXPECT_NE(shut.remedy.find("nft insert rule inet filter input udp dport 51820 accept"),
            std::string::npos);
  EXPECT_EQ(foreign(head + "\t\tudp dport { 53, 51820 } accept\n\t}\n}\n").level, Level::ok);
}

TEST(ForeignChains, JumpsAreFollowed) {
  const auto judge = [](const std::string& zones, const std::string& target) {
    return foreign("table inet x {\n\tchain f {\n\t\ttype filter hook forward priority 10; policy accept;\n"
                   "\t\tct state { established, related } accept\n\t\tjump zones\n\t\treject with icmpx admin-prohibited\n\t}\n"
                   "\tchain zones {\n\t\t" + zones + "\n\t\tgoto other\n\t}\n\tchain other {\n\t\tdrop\n\t}\n"
                   "\tchain mine {\n\t\t" + target + "\n\t}\n}\n").level;
  };
  EXPECT_EQ(judge("iifname \"jitwg0\" goto mine", "accept"), Level::ok);
  EXPECT_EQ(judge("iifname \"jitwg0\" goto mine", "oifname \"eth1\" accept"), Level::ok);
  EXPECT_EQ(judge("iifname \"jitwg0\" goto mine", "tcp dport 22 accept"), Level::problem);
  EXPECT_EQ(judge("iifname \"jitwg0\" goto mine", "drop"), Level::problem);
  EXPECT_EQ(judge("iifname \"eth1\" goto mine", "accept"), Level::problem);
  EXPECT_EQ(judge("goto mine", "counter accept"), Level::ok);
  EXPECT_EQ(judge("jump mine", "counter return"), Level::problem);
  EXPECT_EQ(judge("jump mine", "jump mine"), Level::problem) << "and it ends";
}

TEST(ForeignChains, AFlowtableElsewhereTakesTheAnswersPastAllChains) {
  const std::string offload = "\t\tip protocol { tcp, udp } flow add @fast\n";
  const auto found = foreign(forward_chain("accept", offload));
  EXPECT_EQ(found.level, Level::problem);
  EXPECT_NE(found.text.find("flow add @fast"), std::string::npos) << found.text;
  EXPECT_NE(found.remedy.find("FORWARD iifname \"jitwg0\" accept; nft insert rule ip filter FORWARD oifname \"jitwg0\" accept"),
            std::string::npos) << found.remedy;
  EXPECT_EQ(foreign(forward_chain("accept", "\t\tiifname \"jitwg0\" accept\n\t\toifname \"jitwg0\" accept\n" + offload)).level,
            Level::ok);
  EXPECT_EQ(foreign(forward_chain("accept", "\t\tiifname != \"jitwg0\" oifname != \"jitwg0\" flow add @fast\n")).level,
            Level::ok);
  EXPECT_EQ(foreign(forward_chain("accept", "\t\toifname != \"jitwg0\" flow add @fast\n")).level, Level::problem);
}

std::string file(const std::string& name) {
  std::ifstream in(std::string(JITWG_SOURCE_DIR) + "/tests/support/firewalls/" + name);
  return {std::istreambuf_iterator<char>(in), {}};
}

// As they really are, on Debian 12.
TEST(ForeignChains, FirewalldKnowsTheTunnelInATrustedZoneOnly) {
  const auto found = check_foreign_chains(parse_nftables(file("firewalld-public.nft")), "jitwg0", kPools, 51820);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NE(found[0].text.find("filter_INPUT"), std::string::npos) << found[0].text;
  EXPECT_NE(found[1].text.find("filter_FORWARD"), std::string::npos) << found[1].text;
  EXPECT_NE(found[1].text.find("knows the tunnel"), std::string::npos) << found[1].text;
  EXPECT_EQ(found[1].text.find("answers"), std::string::npos) << found[1].text;
  EXPECT_NE(found[1].remedy.find("firewall-cmd --permanent --zone=trusted --add-interface=jitwg0"), std::string::npos);
  const auto trusted = check_foreign_chains(parse_nftables(file("firewalld-trusted.nft")), "jitwg0", kPools, 51820);
  ASSERT_EQ(trusted.size(), 1u);
  EXPECT_NE(trusted[0].text.find("WireGuard's port"), std::string::npos) << trusted[0].text;
}

TEST(ForeignChains, UntrackedFlowsGetNoAnswers) {
  const auto raw = [](const std::string& rules) {
    return foreign("table ip raw {\n\tchain PRE {\n\t\ttype filter hook prerouting priority raw; policy accept;\n\t\t" +
                   rules + "\n\t}\n}\n");
  };
  EXPECT_EQ(raw("udp dport 53 notrack").level, Level::ok);
  EXPECT_EQ(raw("iifname \"jitwg0\" accept\n\t\tip daddr 10.90.0.0/16 accept\n\t\tudp dport 51820 accept\n\t\tnotrack").level,
            Level::ok);
  const auto all = raw("counter notrack");
  EXPECT_EQ(all.level, Level::problem);
  EXPECT_NE(all.text.find("counter notrack"), std::string::npos) << all.text;
  EXPECT_NE(all.remedy.find("nft insert rule ip raw PRE iifname \"jitwg0\" accept; nft insert rule ip raw PRE ip daddr "
                            "10.90.0.0/16 accept"), std::string::npos) << all.remedy;
}

// As nft would print what the gateway loads.
std::string as_listed(std::string commands) {
  std::map<std::string, std::string> chains;
  std::string listing = "table inet jitwg {\n";
  for (size_t start = 0, end; (end = commands.find('\n', start)) != commands.npos;
       start = end + 1) {
    std::string line = commands.substr(start, end - start);
    const bool chain = line.starts_with("add chain inet jitwg ");
    if (!chain && !line.starts_with("add rule inet jitwg ")) continue;
    line = line.substr(chain ? 21 : 20);
    const size_t blank = line.find(' ');
    std::string rest = blank == line.npos ? "" : line.substr(blank + 1);
    if (chain && !rest.empty()) rest = rest.substr(2, rest.size() - 4);
    for (size_t at; (at = rest.find("ct original protocol")) != rest.npos;)
      rest.replace(at, 20, "ct protocol");
    std::string& text = chains[line.substr(0, blank)];
    if (!rest.empty()) text += "\t\t" + rest + "\n";
  }
  for (const auto& [name, text] : chains) listing += "\tchain " + name + " {\n" + text + "\t}\n";
  return listing + "}\n";
}

TEST(CheckTable, EveryRuleInItsPlaceAndNoOther) {
  const std::string ruleset = render_ruleset("jitwg0", kPools).value();
  const std::string listing = as_listed(ruleset);
  const auto check = [&](const std::string& text) {
    return check_table(parse_nftables(text), ruleset);
  };
  EXPECT_EQ(check(listing), doctor::ok("nftables", "table inet jitwg is as it was made"));
  EXPECT_EQ(check("").level, Level::problem);

  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = listing;
    const size_t at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const auto& text :
       {replaced("\t\tcounter drop\n", ""), replaced("\t\tcounter drop\n", "\t\tcounter accept\n"),
        replaced("\t\tcounter drop\n", "\t\tcounter drop\n\t\taccept\n"),
        replaced("hook forward priority filter - 10", "hook forward priority filter + 10"),
        replaced("\tchain errors {\n", "\tchain mistakes {\n")})
    EXPECT_EQ(check(text).level, Level::problem);
}

TEST(CheckForwarding, OnlyOneIsOn) {
  EXPECT_EQ(check_forwarding("ip_forward", "net.ipv4.ip_forward", "1").level, Level::ok);
  EXPECT_EQ(check_forwarding("ip_forward", "net.ipv4.ip_forward", "0").level, Level::problem);
  EXPECT_EQ(check_forwarding("ip_forward", "net.ipv4.ip_forward", "").level, Level::problem);
}

TEST(CheckRpFilter, TheStricterOfAllAndTheInterfaceCounts) {
  EXPECT_EQ(check_rp_filter({{"all", 2}, {"eth0", 1}}).level, Level::ok);
  EXPECT_EQ(check_rp_filter({{"all", 0}, {"eth0", 0}}).level, Level::ok);
  const auto all = check_rp_filter({{"all", 1}, {"eth0", 0}});
  EXPECT_EQ(all.level, Level::warning);
  EXPECT_NE(all.remedy.find("net.ipv4.conf.all.rp_filter = 2"), std::string::npos);
  EXPECT_NE(
      check_rp_filter({{"all", 0}, {"eth1", 1}}).remedy.find("net.ipv4.conf.eth1.rp_filter = 2"),
      std::string::npos);
}

TEST(CheckMtu, LeavesRoomForWireGuard) {
  EXPECT_EQ(check_mtu("jitwg0", 1420, {}, {{"eth0", 1500}}).level, Level::ok);
  EXPECT_EQ(check_mtu("jitwg0", 1420, {}, {{"eth0", 1500}, {"wan0", 1492}}).level, Level::warning);
  EXPECT_EQ(check_mtu("jitwg0", 1500, {}, {{"eth0", 1500}}).level, Level::warning);
  EXPECT_EQ(check_mtu("jitwg0", 1380, 1380, {{"eth0", 1500}}).level, Level::ok);
  const auto other = check_mtu("jitwg0", 1420, 1380, {{"eth0", 1500}});
  EXPECT_EQ(other.level, Level::warning);
  EXPECT_NE(other.text.find("gateway.conf says 1380"), std::string::npos);
}

}  // namespace
}  // namespace jitwg::gateway
