#include "broker/gateway/selftest.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <thread>

#include "broker/gateway/selftest_packet.h"
#include "broker/gateway/ruleset.h"
#include "broker/gateway/selftest_cases.h"
#include "broker/gateway/selftest_proof.h"
#include "broker/gateway/tunnel.h"
#include "broker/netfilter/table.h"
#include "broker/os/clock.h"

namespace jitwg::gateway {
namespace {

using netfilter::Table;
using std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(3);   // for what must arrive
constexpr auto kStragglers = std::chrono::milliseconds(20);
constexpr Millis kLong = std::chrono::minutes(10);
// An end by the kernel's clock alone; longer ones for a machine that is too slow to send in time.
constexpr Millis kEnds[] = {Millis(250), Millis(1000), Millis(5000)};
constexpr const char* kRemedy =
    "no gateway serves on these chains: install jitwg-gateway anew or another kernel, and report this with uname -r and nft --version";

std::string render(const Case::Arrival& arrival) {
  const char* sides[] = {"the tunnel", "the inside", "elsewhere", "the gateway's own socket"};
  return std::string("out of ") + sides[static_cast<size_t>(arrival.side)] + " from " + arrival.from.str() + " to " +
         arrival.to.str();
}

// In a socket nothing but the mark arrives. Unset: the kernel's own, as router solicitations.
std::optional<Sighting> sighting_of(const ScratchNetwork::Packet& packet) {
  auto seen = packet.side == Side::gateway ? Sighting{{}, {}, packet.bytes} : parse_sighting(packet.bytes);
  if (seen && !seen->mark.starts_with("jw")) seen.reset();
  return seen;
}

// The kernel takes an IPv6 address into use a little later than it says so.
Result<void> wait_for_address(const ScratchNetwork& network, const IpAddress& address) {
  const std::string mark = "is ready";
  const std::string knock = render(Probe{Protocol::udp, address.plus(1), address, kGatewayPort, kGatewayPort}, mark);
  for (const auto deadline = steady_clock::now() + kPatience; steady_clock::now() < deadline;) {
    JITWG_TRY(network.send(Side::inside, knock));
    for (const auto until = steady_clock::now() + kStragglers;;) {
      JITWG_ASSIGN(const ScratchNetwork::Packet packet, network.receive(until));
      if (packet.side == Side::gateway && packet.bytes == mark) return {};
      if (packet.bytes.empty()) break;
    }
  }
  return fail(Code::timeout, "address " + address.str() + " of the self-test is not taken into use", "try again");
}

using Arrivals = std::map<std::string, std::vector<Case::Arrival>>;  // by mark

bool is_as_wanted(const Case& wanted, const Arrivals& seen) {
  const auto found = seen.find(wanted.mark);
  if (!wanted.arrives || found == seen.end()) return !wanted.arrives && found == seen.end();
  return found->second == std::vector{*wanted.arrives};
}

doctor::Finding judge(const Case& wanted, const Arrivals& seen) {
  std::string came;
  if (const auto found = seen.find(wanted.mark); found != seen.end())
    for (const Case::Arrival& arrival : found->second) came += (came.empty() ? "came " : ", ") + render(arrival);
  const std::string should = wanted.arrives ? "must come " + render(*wanted.arrives) : "must be dropped";
  return doctor::check(is_as_wanted(wanted, seen), wanted.name, should + ", and does",
                       should + ", but " + (came.empty() ? "was dropped" : came), kRemedy);
}

class Stages {
 public:
  Stages(ScratchNetwork network, Table table) : network_(std::move(network)), table_(std::move(table)) {}

  Result<void> change(const Grant& grant, Millis remaining, bool add) {
    JITWG_ASSIGN(const Tunnel tunnel, make_tunnel(grant, remaining));
    return add ? table_.change({}, tunnel.elements) : table_.change(tunnel.elements, {});
  }

  // Sends all, and waits for what must arrive. What is dropped is so by then: packets do not overtake each other, and the
  // last of a stage arrives.
  Result<void> run(const Cases& cases) {
    Arrivals seen;
    std::set<std::string> awaited;
    for (const Case& each : cases) {
      if (each.arrives) awaited.insert(each.mark);
      JITWG_TRY(network_.send(each.side, each.packet));
    }
    for (auto until = steady_clock::now() + kPatience;;) {
      JITWG_ASSIGN(const ScratchNetwork::Packet packet, network_.receive(until));
      if (packet.bytes.empty()) break;
      const auto sighting = sighting_of(packet);
      if (!sighting) continue;
      seen[sighting->mark].push_back({packet.side, sighting->from, sighting->to});
      if (awaited.erase(sighting->mark) > 0 && awaited.empty()) until = steady_clock::now() + kStragglers;
    }
    for (const Case& each : cases) findings.push_back(judge(each, seen));
    return {};
  }

  bool failed() const { return doctor::has_problem(findings); }
  doctor::Findings findings;

 private:
  ScratchNetwork network_;
  Table table_;
};

// The kernel ends the elements, nobody else.
Result<void> run_until_end(Stages& stages, const SelfTestPlan& plan) {
  for (const Millis end : kEnds) {
    const auto until = steady_clock::now() + end;
    JITWG_TRY(stages.change(plan.grants[0], end, true));
    const size_t before = stages.findings.size();
    JITWG_TRY(stages.run(plan.again));
    const bool in_time = steady_clock::now() < until;
    std::this_thread::sleep_until(until + kStragglers);
    if (in_time || end == std::end(kEnds)[-1]) return stages.failed() ? Result<void>() : stages.run(plan.over);
    stages.findings.resize(before);
  }
  return {};
}

}  // namespace

Result<doctor::Findings> run_selftest(const std::string& ruleset, const std::string& interface, const std::vector<Prefix>& pools,
                                      bool ipv6) {
  const SelfTestPlan plan = plan_selftest(pools, ipv6);
  JITWG_ASSIGN(ScratchNetwork network, ScratchNetwork::enter(interface, ipv6));
  for (const IpAddress& address : plan.gateway) JITWG_TRY(network.add_address(Side::inside, address));
  for (const auto& [side, prefix] : plan.routes) JITWG_TRY(network.route(side, prefix));
  for (const IpAddress& address : plan.gateway) JITWG_TRY(wait_for_address(network, address));
  // As the daemon starts.
  JITWG_TRY(netfilter::load_ruleset(ruleset));
  JITWG_ASSIGN(Table table, Table::open(kTable));

  Stages stages(std::move(network), std::move(table));
  for (const Grant& grant : plan.grants) JITWG_TRY(stages.change(grant, kLong, true));
  for (const Cases* cases : {&plan.requests, &plan.answers}) {
    JITWG_TRY(stages.run(*cases));
    if (stages.failed()) return std::move(stages.findings);
  }
  JITWG_TRY(stages.change(plan.grants[0], kLong, false));
  JITWG_TRY(stages.run(plan.over));
  if (!stages.failed()) JITWG_TRY(run_until_end(stages, plan));
  return std::move(stages.findings);
}

Result<void> selftest(const InterfaceSettings& settings, const std::string& runtime_dir, bool as_json) {
  JITWG_TRY(remove_proof(runtime_dir));
  const bool ipv6 = ::access("/proc/sys/net/ipv6", F_OK) == 0;
  if (!ipv6)
    for (const Prefix& pool : settings.pools)
      if (pool.address.family == 6)
        return fail(Code::bad_config, "pool " + pool.str() + " cannot be served: this kernel has no IPv6",
                    "boot without ipv6.disable=1, or take the pool out of gateway.conf");
  JITWG_ASSIGN(const std::string ruleset, render_ruleset(settings.name, settings.pools));
  JITWG_ASSIGN(doctor::Findings findings, run_selftest(ruleset, settings.name, settings.pools, ipv6));
  const size_t count = findings.size();
  if (!doctor::has_problem(findings)) JITWG_TRY(store_proof(runtime_dir, ruleset, SystemClock().now()));
  if (as_json) return doctor::tell(findings, true);
  std::erase_if(findings, [](const auto& finding) { return finding.level == doctor::Finding::Level::ok; });
  std::printf("self-test: %zu packets, %zu as they must not be%s\n", count, findings.size(),
              ipv6 ? "" : "; IPv6 left out: this kernel has none, and no pool needs it");
  return findings.empty() ? Result<void>() : doctor::tell(findings, false);
}

}  // namespace jitwg::gateway
