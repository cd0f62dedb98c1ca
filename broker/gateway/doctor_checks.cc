#include "broker/gateway/doctor_checks.h"

#include <algorithm>
#include <optional>

#include "broker/doctor/text.h"

namespace jitwg::gateway {
namespace {

using namespace doctor;

constexpr int kOverhead = 80;  // IPv6, UDP and WireGuard around a packet

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

std::string sysctl_line(const std::string& key, int value) {
  return "/etc/sysctl.d/jitwg.conf: " + key + " = " + std::to_string(value) +
         "; then sysctl --system";
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// Every brace that is opened is closed, but for those in quotes.
bool is_whole(std::string_view text) {
  int open = 0;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (!quoted) open += c == '{' ? 1 : c == '}' ? -1 : 0;
  }
  return open == 0;
}

// Chain by chain, its rules in order: "forward iifname …".
std::vector<std::string> sorted(std::vector<std::string> lines) {
  std::ranges::stable_sort(lines, {},
                           [](const std::string& line) { return line.substr(0, line.find(' ')); });
  return lines;
}

// What nft(8) commands of ours make, in the words of a listing.
std::vector<std::string> wanted_lines(std::string_view commands) {
  std::vector<std::string> made;
  for (const std::string& line : lines_of(commands))
    for (const std::string start : {"add chain inet jitwg ", "add rule inet jitwg "})
      if (line.starts_with(start)) made.push_back(line.substr(start.size()));
  // The one thing that nft prints otherwise than it reads it.
  for (std::string& line : made)
    for (size_t at; (at = line.find("ct original protocol")) != line.npos;) line.erase(at + 3, 9);
  return sorted(std::move(made));
}

std::vector<std::string> seen_lines(const Nftables& seen) {
  std::vector<std::string> lines;
  for (const Chain& chain : seen.chains) {
    if (chain.table != "inet jitwg") continue;
    lines.push_back(chain.name + (chain.hook.empty() ? "" : " { " + chain.hook + " }"));
    for (const std::string& rule : chain.rules) lines.push_back(chain.name + " " + rule);
  }
  return sorted(std::move(lines));
}

// For a packet that no other rule of the chain knows.
std::optional<std::string> how_it_drops(const Chain& chain) {
  if (contains(chain.hook, "policy drop")) return "drops by default";
  if (chain.rules.empty()) return std::nullopt;
  const std::string& last = chain.rules.back();
  for (const char* unconditional : {"drop", "reject", "counter drop", "counter reject", "log "})
    if (last.starts_with(unconditional) && (contains(last, "drop") || contains(last, "reject")))
      return "ends with \"" + last + "\"";
  return std::nullopt;
}

bool accepts(const Nftables& seen, const std::string& table,
             const std::vector<std::string>& marks) {
  for (const Chain& chain : seen.chains)
    for (const std::string& rule : chain.rules)
      if (chain.table == table && contains(rule, "accept"))
        for (const std::string& mark : marks)
          if (contains(rule, mark)) return true;
  return false;
}

}  // namespace

Nftables parse_nftables(std::string_view listing) {
  Nftables seen;
  std::string table, block, statement;
  int depth = 0;  // 1 in a table, 2 in a chain, set, flowtable …
  for (const std::string& whole : lines_of(listing)) {  // without "# handle N"
    const std::string line(trim(whole));
    if (line.empty()) continue;
    if (statement.empty() && line == "}") {
      --depth;
    } else if (statement.empty() && depth < 2 && line.ends_with("{")) {
      const size_t blank = line.find(' ');
      block = line.substr(0, blank);
      const std::string name(trim(line.substr(blank, line.size() - 1 - blank)));
      if (++depth == 1)
        table = name;
      else if (block == "chain")
        seen.chains.push_back({table, name, {}, {}});
      else if (block == "flowtable")
        seen.flowtables.push_back({table, name, {}});
    } else {
      // A rule with a long set goes on over several lines.
      statement += (statement.empty() ? "" : " ") + line;
      if (!is_whole(statement)) continue;
      if (depth == 2 && block == "flowtable") seen.flowtables.back().devices += statement + " ";
      if (depth == 2 && block == "chain" && statement.starts_with("type "))
        seen.chains.back().hook = statement;
      else if (depth == 2 && block == "chain")
        seen.chains.back().rules.push_back(statement);
      statement.clear();
    }
  }
  return seen;
}

Finding check_table(const Nftables& seen, std::string_view expected) {
  const std::vector<std::string> wanted = wanted_lines(expected), there = seen_lines(seen);
  if (wanted == there) return ok("nftables", "table inet jitwg is as it was made");
  const auto [missing, extra] = std::ranges::mismatch(wanted, there);
  return problem("nftables",
                 "table inet jitwg is not as it was made, from here on: " +
                     (extra == there.end() ? *missing : *extra),
                 "systemctl restart jitwg-gateway makes it anew; nft monitor shows who changes it");
}

Findings check_foreign_chains(const Nftables& seen, const std::string& interface,
                              const std::vector<Prefix>& pools, uint16_t port) {
  const std::string name = "\"" + interface + "\"", udp = "udp dport " + std::to_string(port);
  std::vector<std::string> tunnel = {name};
  for (const Prefix& pool : pools) tunnel.push_back(pool.str());
  Findings found;
  for (const Chain& chain : seen.chains) {
    const bool forward = contains(chain.hook, "hook forward "),
               input = contains(chain.hook, "hook input ");
    const auto drops = how_it_drops(chain);
    if (chain.table == "inet jitwg" || !(forward || input) || !drops) continue;
    if (accepts(seen, chain.table, forward ? tunnel : std::vector{std::to_string(port)})) continue;
    const std::string insert = "nft insert rule " + chain.table + " " + chain.name + " ";
    found.push_back(problem(
        "foreign_chains",
        "chain " + chain.name + " of table " + chain.table + " " + *drops +
            ", and no rule there knows " + (forward ? "the tunnel" : "WireGuard's port"),
        (forward ? insert + "oifname " + name + " accept; " + insert + "iifname " + name + " accept"
                 : insert + udp + " accept") +
            "; and so in the file that makes it (/etc/nftables.conf?)"));
  }
  if (found.empty()) found.push_back(ok("foreign_chains", "no other chain stands in the way"));
  return found;
}

Finding check_flowtables(const Nftables& seen, const std::string& interface) {
  for (const Flowtable& table : seen.flowtables) {
    std::string devices = table.devices;
    std::ranges::replace_if(
        devices,
        [](char c) {
          return contains(",\";", {&c, 1});
        },
        ' ');
    if (contains(devices, " " + interface + " "))
      return problem("flowtables",
                     "flowtable " + table.name + " of table " + table.table + " names " +
                         interface + ": its flows pass no chain, so nothing ends them",
                     "take " + interface + " out of its devices (/etc/nftables.conf?)");
  }
  return ok("flowtables", "none names " + interface);
}

Finding check_forwarding(const std::string& what, const std::string& key,
                         const std::string& value) {
  return check(value == "1", what, key + " = 1", key + " = " + value + ": nothing is forwarded",
               sysctl_line(key, 1));
}

Finding check_rp_filter(const std::map<std::string, int>& values) {
  const auto all = values.find("all");
  const int floor = all == values.end() ? 0 : all->second;
  for (const auto& [interface, value] : values) {
    if (std::max(floor, value) != 1) continue;
    const std::string key = "net.ipv4.conf." + (floor == 1 ? "all" : interface) + ".rp_filter";
    return warning("rp_filter", key + " = 1: what comes in by another way than out is dropped",
                   sysctl_line(key, 2));
  }
  return ok("rp_filter", "loose or off on every interface");
}

Finding check_mtu(const std::string& interface, int mtu, std::optional<int> configured,
                  const std::map<std::string, int>& others) {
  if (configured && mtu != *configured)
    return warning("mtu", interface + "'s MTU is " + std::to_string(mtu) + ", gateway.conf says " +
                              std::to_string(*configured),
                   "systemctl restart jitwg-gateway");
  for (const auto& [name, other] : others)
    if (mtu + kOverhead > other)
      return warning("mtu",
                     interface + "'s MTU is " + std::to_string(mtu) +
                         ": with WireGuard around it " + "too much for the " +
                         std::to_string(other) + " of " + name,
                     "ip link set " + interface + " mtu " + std::to_string(other - kOverhead) +
                         ", if tunnels come in by " + name + "; gateway.conf: mtu = " +
                         std::to_string(other - kOverhead) + " keeps it so");
  return ok("mtu", interface + " has " + std::to_string(mtu));
}

}  // namespace jitwg::gateway
