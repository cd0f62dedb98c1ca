#include "broker/gateway/selftest_cases.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "broker/base/encoding.h"
#include "broker/gateway/selftest_packet.h"

namespace jitwg::gateway {
namespace {

constexpr uint16_t kClient = 40000, kNobody = 7;
constexpr uint16_t kSsh = 22, kSingle = 5432, kFirst = 1000, kLast = 1010, kOpen = 5353;

// One family's addresses.
struct Site {
  IpAddress people, inside, elsewhere;
  std::vector<uint8_t> errors;  // ICMP types that say what went wrong with a flow,
  uint8_t other_error;          // one that steers it (redirect), or means nothing,
  uint8_t other_query;          // and one that asks, other than echo

  IpAddress ending() const { return people.plus(1); }
  IpAddress staying() const { return people.plus(2); }
  IpAddress translated() const { return people.plus(3); }
  IpAddress gateway() const { return inside.plus(1); }
  IpAddress target() const { return inside.plus(2); }
  IpAddress jump_host() const { return inside.plus(4); }
  Prefix segment() const { return {inside.plus(0x100), inside.bits() - 8}; }
};

// The first that is in no pool.
IpAddress pick(const std::vector<const char*>& choice, int length, const std::vector<Prefix>& pools) {
  for (const char* text : choice) {
    const Prefix some{IpAddress::parse(text).value(), length};
    if (std::ranges::none_of(pools, [&](const Prefix& pool) { return pool.contains(some) || some.contains(pool); })) return some.address;
  }
  return IpAddress::parse(choice.front()).value();
}

IpAddress people_of(const std::vector<Prefix>& pools, int family, const char* otherwise) {
  const auto pool = std::ranges::find_if(pools, [&](const Prefix& p) { return p.address.family == family; });
  return pool == pools.end() ? IpAddress::parse(otherwise).value() : pool->address;
}

// But for people, addresses of documentation and benchmarking (RFC 5737, 2544, 3849).
Site site4(const std::vector<Prefix>& pools) {
  return {people_of(pools, 4, "192.0.2.0"), pick({"198.18.0.0", "198.19.0.0", "10.0.0.0"}, 16, pools),
          pick({"203.0.113.0", "198.51.100.0"}, 24, pools), {3, 11, 12}, 5, 13};
}
Site site6(const std::vector<Prefix>& pools) {
  return {people_of(pools, 6, "2001:db8:1::"), pick({"2001:db8:2::", "2001:db8:4::"}, 112, pools),
          pick({"2001:db8:3::", "2001:db8:5::"}, 120, pools), {1, 2, 3, 4}, 100, 139};
}

struct Flow {
  std::string name;
  ScopeEntry scope;
  IpAddress outside;  // an address that the scope does not have
  Probe request = {};
};

Probe turned(Probe probe) {
  std::swap(probe.from, probe.to);
  if (probe.protocol != Protocol::icmp) std::swap(probe.from_port, probe.to_port);
  probe.answer = !probe.answer;
  return probe;
}

Probe ongoing(Probe probe) {
  probe.first = false;
  return probe;
}

Flow flow_of(const Site& site, Protocol protocol, bool range) {
  const bool icmp = protocol == Protocol::icmp;
  const Prefix to = range ? site.segment() : Prefix::host(site.target());
  const auto port = [&](uint16_t of_range) -> uint16_t { return icmp ? 0 : range ? of_range : kSingle; };
  Flow flow{std::string(to.address.family == 4 ? "IPv4 " : "IPv6 ") + std::string(name(protocol)) + (range ? " segment" : " host"),
            {protocol, to, port(kFirst), port(kLast)},
            range ? to.address.plus(0x109) : to.address.plus(1)};
  flow.request = {protocol, site.ending(), range ? to.address.plus(9) : to.address, kClient, port(kFirst + 5)};
  return flow;
}

std::vector<Flow> flows_of(const Site& site) {
  std::vector<Flow> flows;
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::icmp})
    for (const bool range : {false, true}) flows.push_back(flow_of(site, protocol, range));
  return flows;
}

// Makes cases, each with a mark of its own.
class Writer {
 public:
  explicit Writer(Cases& cases, char stage) : cases_(cases), stage_(stage) {}
  void passes(const std::string& name, Side in, const Probe& probe, Side out) {
    add(name, in, render(probe, mark()), Case::Arrival{out, probe.from, probe.to});
  }
  void arrives(const std::string& name, Side in, const Probe& probe, Case::Arrival arrival) {
    add(name, in, render(probe, mark()), arrival);
  }
  void drops(const std::string& name, Side in, const Probe& probe) { add(name, in, render(probe, mark()), std::nullopt); }
  void error(const std::string& name, Side in, uint8_t type, const Probe& about, bool is_live) {
    const Side out = in == Side::tunnel ? Side::inside : Side::tunnel;
    const std::optional<Case::Arrival> arrival =
        is_live ? std::optional(Case::Arrival{out, about.to, about.from}) : std::nullopt;
    add(name, in, render_error(about.to, type, about, mark()), arrival);
  }
  void foreign_error(const std::string& name, const IpAddress& from, uint8_t type, const Probe& about) {
    add(name, Side::tunnel, render_error(from, type, about, mark()), std::nullopt);
  }

 private:
  std::string mark() const {
    char text[9];
    std::snprintf(text, sizeof text, "jw%c%05zu", stage_, cases_.size() % 100000);  // 8 bytes
    return text;
  }
  void add(const std::string& name, Side in, std::string packet, const std::optional<Case::Arrival>& arrival) {
    cases_.push_back({name, in, std::move(packet), mark(), arrival});
  }
  Cases& cases_;
  char stage_;
};

// Another session's, untouched: had the chains or the test stopped working, these would not arrive. Last, for packets
// do not overtake each other.
void add_control(Writer& write, const Site& site, const std::string& family) {
  const Probe request{Protocol::udp, site.staying(), site.target(), kClient, kOpen};
  write.passes(family + "another session goes on", Side::tunnel, request, Side::inside);
  write.passes(family + "another session's answer", Side::inside, turned(request), Side::tunnel);
}

void add_requests(Writer& write, const Site& site, const Flow& flow) {
  const Probe& request = flow.request;
  write.passes(flow.name + ": in scope", Side::tunnel, request, Side::inside);
  const auto changed = [&](auto change) {
    Probe other = request;
    change(other);
    return other;
  };
  write.drops(flow.name + ": with a route of its own", Side::tunnel, changed([](Probe& p) { p.routed = true; }));
  write.drops(flow.name + ": another address", Side::tunnel, changed([&](Probe& p) { p.to = flow.outside; }));
  write.drops(flow.name + ": another person", Side::tunnel, changed([&](Probe& p) { p.from = site.staying(); }));
  if (request.protocol == Protocol::icmp) {
    write.drops(flow.name + ": no echo", Side::tunnel, changed([&](Probe& p) { p.type = site.other_query; }));
    return;
  }
  write.drops(flow.name + ": another port", Side::tunnel, changed([](Probe& p) { p.to_port = kNobody; }));
  write.drops(flow.name + ": source port for port", Side::tunnel,
              changed([](Probe& p) { p.from_port = std::exchange(p.to_port, kNobody); }));
  // A SYN/ACK out of nothing: connection tracking calls it invalid.
  write.drops(flow.name + ": another port, of no flow", Side::tunnel,
              changed([](Probe& p) { p.to_port = kNobody, p.answer = true; }));
}

void add_answers(Writer& write, const Flow& flow) {
  const Probe answer = turned(flow.request);
  write.passes(flow.name + ": answer", Side::inside, answer, Side::tunnel);
  Probe unasked = answer;
  unasked.answer = false;
  if (answer.protocol == Protocol::icmp) {
    unasked.from_port = kNobody;
    write.drops(flow.name + ": asked back", Side::inside, unasked);
    unasked.answer = true;
  } else {
    unasked.to_port = kNobody;
  }
  write.drops(flow.name + ": not asked for", Side::inside, unasked);
}

void add_errors(Writer& write, const Site& site, const Flow& flow, bool is_live) {
  const Probe request = ongoing(flow.request), answer = ongoing(turned(flow.request));
  for (const uint8_t type : site.errors) {
    const std::string what = flow.name + ": ICMP error " + std::to_string(type);
    write.error(what + " from inside", Side::inside, type, request, is_live);
    write.error(what + " from the tunnel", Side::tunnel, type, answer, is_live);
  }
  const std::string what = flow.name + ": ICMP type " + std::to_string(site.other_error);
  write.error(what + " from inside", Side::inside, site.other_error, request, false);
  write.error(what + " from the tunnel", Side::tunnel, site.other_error, answer, false);
  write.foreign_error(flow.name + ": ICMP error from another person", site.staying(), site.errors[0], answer);
}

void add_ongoing(Writer& write, const Flow& flow, bool is_live) {
  const Probe request = ongoing(flow.request), answer = turned(request);
  if (is_live) {
    write.passes(flow.name + ": established", Side::tunnel, request, Side::inside);
    write.passes(flow.name + ": answer of an established one", Side::inside, answer, Side::tunnel);
  } else {
    write.drops(flow.name + ": established, and over", Side::tunnel, request);
    write.drops(flow.name + ": answer of one that is over", Side::inside, answer);
  }
}

// What the gateway itself says into the tunnel: about live flows alone.
void add_hop_limit(Writer& write, const Site& site, const Flow& flow, bool is_live) {
  Probe late = flow.request;
  late.hops = 1;
  if (is_live)
    write.arrives(flow.name + ": hop limit exceeded", Side::tunnel, late, {Side::tunnel, site.gateway(), site.ending()});
  else
    write.drops(flow.name + ": hop limit exceeded, and over", Side::tunnel, late);
  late.to = flow.outside;
  write.drops(flow.name + ": hop limit exceeded, another address", Side::tunnel, late);
}

// Everything but a session's scope.
void add_borders(Writer& write, const Site& site, const std::string& family) {
  const auto tcp = [](const IpAddress& from, const IpAddress& to, uint16_t port) {
    return Probe{Protocol::tcp, from, to, kClient, port};
  };
  Probe knock{Protocol::udp, site.ending(), site.gateway(), kClient, kGatewayPort};
  write.drops(family + "the gateway itself", Side::tunnel, knock);
  knock.from = site.elsewhere.plus(1);
  write.drops(family + "the gateway itself, from nobody's address", Side::tunnel, knock);
  const Probe ping{Protocol::icmp, site.target(), site.gateway(), kClient, 0};
  write.arrives(family + "the gateway answers others", Side::inside, ping, {Side::inside, site.gateway(), site.target()});
  write.drops(family + "from one person to another, even in scope", Side::tunnel, tcp(site.ending(), site.staying(), kSsh));
  knock.from = site.target();
  write.arrives(family + "others reach the gateway", Side::inside, knock, {Side::gateway, {}, {}});
  write.passes(family + "others' traffic", Side::inside, tcp(site.target(), site.elsewhere.plus(1), kSsh), Side::elsewhere);
  write.drops(family + "a tunnel without a session", Side::tunnel, tcp(site.people, site.target(), kSingle));
  write.drops(family + "a way out past the scope", Side::tunnel, tcp(site.ending(), site.elsewhere.plus(1), kSingle));
}

// A pool's first address, which nobody has, and whose route leads elsewhere.
void add_pool(Writer& write, const Site& site, const Prefix& pool) {
  Probe probe{Protocol::udp, pool.address, site.gateway(), kClient, kGatewayPort};
  write.drops("pool " + pool.str() + ": to the gateway by another way", Side::inside, probe);
  probe.to = site.elsewhere.plus(1);
  write.drops("pool " + pool.str() + ": from another way", Side::inside, probe);
  probe.from = site.target(), probe.to = pool.address;
  write.drops("pool " + pool.str() + ": to another way", Side::inside, probe);
}

Probe translated(const Site& site, const IpAddress& from) { return {Protocol::tcp, from, site.target(), kClient, kSingle}; }
Probe to_jump_host(const Site& site) { return {Protocol::tcp, site.translated(), site.jump_host(), kClient, kSsh}; }

void add_translation(Writer& write, const Site& site, const std::string& family) {
  write.arrives(family + "nat: the target sees the gateway", Side::tunnel, translated(site, site.translated()),
                {Side::inside, site.gateway(), site.target()});
  write.passes(family + "nat: the jump host sees the person", Side::tunnel, to_jump_host(site), Side::inside);
}

void add_translated_answers(Writer& write, const Site& site, const std::string& family) {
  write.arrives(family + "nat: answer", Side::inside, turned(translated(site, site.gateway())),
                {Side::tunnel, site.target(), site.translated()});
  write.passes(family + "nat: the jump host's answer", Side::inside, turned(to_jump_host(site)), Side::tunnel);
}

Grant grant_of(int number) {
  const std::string id = "00000000-0000-7000-8000-00000000000" + std::to_string(number);
  const std::string key = base64_encode(std::string(32, static_cast<char>(number)));
  return {{}, SessionId::parse(id).value(), {}, {}, {}, key, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
}

}  // namespace

SelfTestPlan plan_selftest(const std::vector<Prefix>& pools, bool ipv6) {
  std::vector<Site> sites = {site4(pools)};
  if (ipv6) sites.push_back(site6(pools));
  SelfTestPlan plan{{grant_of(1), grant_of(2), grant_of(3)}, {}, {}, {}, {}, {}, {}};
  Grant &ending = plan.grants[0], &staying = plan.grants[1], &nat = plan.grants[2];
  nat.nat = true;
  nat.jump_hosts = {{"jump", {}, {}}};
  Writer requests(plan.requests, 'r'), answers(plan.answers, 'a'), again(plan.again, 'g'), over(plan.over, 'o');
  for (const Site& site : sites) {
    const std::string family = site.people.family == 4 ? "IPv4 " : "IPv6 ";
    plan.routes.insert(plan.routes.end(), {{Side::tunnel, {site.people, site.people.bits() - 2}},
                                           {Side::inside, {site.inside, site.inside.bits() - 16}},
                                           {Side::elsewhere, {site.elsewhere, site.elsewhere.bits() - 8}}});
    plan.gateway.push_back(site.gateway());
    ending.address.push_back(Prefix::host(site.ending()));
    staying.address.push_back(Prefix::host(site.staying()));
    nat.address.push_back(Prefix::host(site.translated()));
    ending.scope.push_back({Protocol::tcp, Prefix::host(site.staying()), kSsh, kSsh});
    staying.scope.push_back({Protocol::udp, Prefix::host(site.target()), kOpen, kOpen});
    nat.scope.push_back({Protocol::tcp, Prefix::host(site.target()), kSingle, kSingle});
    nat.scope.push_back({Protocol::tcp, Prefix::host(site.jump_host()), kSsh, kSsh});
    nat.jump_hosts[0].addresses.push_back(site.jump_host());
    const std::vector<Flow> flows = flows_of(site);
    add_hop_limit(answers, site, flows[0], true);
    add_hop_limit(over, site, flows[0], false);
    for (const Flow& flow : flows) {
      ending.scope.push_back(flow.scope);
      add_requests(requests, site, flow);
      add_answers(answers, flow);
      add_errors(answers, site, flow, true);
      add_ongoing(again, flow, true);
      add_ongoing(over, flow, false);
      add_errors(over, site, flow, false);
    }
    add_borders(requests, site, family);
    for (const Prefix& pool : pools) {
      if (pool.address.family != site.people.family) continue;
      plan.routes.push_back({Side::elsewhere, Prefix::host(pool.address)});
      add_pool(requests, site, pool);
    }
    add_translation(requests, site, family);
    add_translated_answers(answers, site, family);
    for (Writer* write : {&requests, &answers, &again, &over}) add_control(*write, site, family);
  }
  return plan;
}

}  // namespace jitwg::gateway
