#include "broker/gateway/doctor_checks.h"

#include <algorithm>
#include <sstream>

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

// A packet that must pass others' chains, by what their rules may know of it.
struct Packet {
  std::string side;                // "iif" from the tunnel, "oif" the answers to it, "" WireGuard's own
  std::vector<std::string> marks;  // the interface's name, pools; WireGuard's port
};

struct Rule {
  std::vector<std::string> conditions;  // words; without counter and log
  std::string verdict, target;
};

Rule read_rule(const std::string& text) {
  Rule rule;
  bool logging = false;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word == "#" || word == "comment") break;
    if (word.starts_with('"') && (word.size() == 1 || !word.ends_with('"')))  // one with blanks
      for (std::string more; !word.ends_with('"') && words >> more;) word += " " + more;
    logging = logging || word == "log";
    if (word == "jump" || word == "goto") words >> rule.target;
    if (contains(" accept drop reject jump goto return notrack flow ", " " + word + " ")) {
      rule.verdict = word;
      break;
    }
    if (!logging && word != "counter") rule.conditions.push_back(word);
  }
  return rule;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += word + " ";
  return text;
}

// Does the rule name this packet, and not its opposite?
bool is_named(const std::string& conditions, const Packet& packet) {
  if (contains(conditions, "!=")) return false;
  for (const std::string& mark : packet.marks) {
    const size_t at = conditions.find(mark);
    if (at == conditions.npos) continue;
    if (packet.side.empty()) return contains(conditions, "dport");
    const auto last = [&](const std::string& word) { return conditions.rfind(word, at) + 1; };
    const bool from = packet.side == "iif";
    if (last(from ? "iif" : "oif") > last(from ? "oif" : "iif")) return true;
    if (contains(mark, "/") && last(from ? "saddr" : "daddr") > last(from ? "daddr" : "saddr")) return true;
  }
  return false;
}

enum class Fate { goes_on, passes, drops };

// What a chain does with the packet, and by which rule. Of rules that ask for what is not known here, those that drop are
// left out, and those that accept count when they name the packet: somebody thought of it.
Fate walk(const Nftables& seen, const Chain& chain, const Packet& packet, bool named, int depth, std::string& by) {
  for (const std::string& text : chain.rules) {
    const Rule rule = read_rule(text);
    const std::string conditions = joined(rule.conditions);
    const bool mark = is_named(conditions, packet), bare = conditions.empty();
    const bool answers = packet.side == "oif" && conditions.starts_with("ct state ") && contains(conditions, "established");
    if (contains(text, " vmap {")) {
      if (answers && contains(text, "established : accept")) return Fate::passes;
      continue;
    }
    const bool elsewhere = named && rule.conditions.size() == 2 && conditions.starts_with(packet.side == "iif" ? "oif" : "iif");
    if (rule.verdict == "accept" && (bare || mark || answers || elsewhere)) return Fate::passes;
    // What it asks for (established, TCP or UDP) is true of ours sooner or later, and then one direction passes no chain.
    const std::string& mark0 = packet.marks[0];
    if (rule.verdict == "flow" && !contains(conditions, packet.side + "name != " + mark0) &&
        !contains(conditions, packet.side + " != " + mark0)) {
      by = text;
      return Fate::drops;
    }
    if (!bare && !(mark && (rule.conditions.size() <= 3 || !rule.target.empty()))) continue;
    if (rule.verdict == "return") return Fate::goes_on;
    if (rule.verdict == "drop" || rule.verdict == "reject" || rule.verdict == "notrack") {
      by = text;
      return Fate::drops;
    }
    for (const Chain& next : seen.chains)
      if (next.table == chain.table && next.name == rule.target && depth < 16) {
        const Fate fate = walk(seen, next, packet, named || mark, depth + 1, by);
        if (fate != Fate::goes_on || rule.verdict == "goto") return fate;
      }
  }
  return Fate::goes_on;
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
  std::vector<std::string> marks = {name};
  for (const Prefix& pool : pools) marks.push_back(pool.str());
  Findings found;
  for (const Chain& chain : seen.chains) {
    const auto hooks = [&](const char* hook) { return contains(chain.hook, std::string("hook ") + hook + " "); };
    const bool early = hooks("prerouting"), forward = hooks("forward");
    if (chain.table == "inet jitwg" || !(early || forward || hooks("input"))) continue;
    std::vector<std::string> missing;
    std::string what, why;
    const auto ask = [&](const Packet& packet, const std::string& whom, const std::vector<std::string>& conditions) {
      std::string by;
      const Fate fate = walk(seen, chain, packet, false, 0, by);
      if (fate == Fate::passes || (fate == Fate::goes_on && !contains(chain.hook, "policy drop"))) return;
      if (why.empty()) why = fate == Fate::drops ? "has \"" + by + "\"" : "drops by default";
      what += (what.empty() ? "" : ", nor ") + whom;
      for (const std::string& condition : conditions) missing.push_back(condition + " accept");
    };
    if (!hooks("input")) {
      std::vector<std::string> answers = {"oifname " + name};  // not known before routing
      if (early) answers.clear();
      for (const Prefix& pool : pools)
        if (const std::string family = pool.address.family == 4 ? "ip" : "ip6";
            early && (chain.table.starts_with("inet ") || chain.table.starts_with(family + " ")))
          answers.push_back(family + " daddr " + pool.str());
      ask({"iif", marks}, "the tunnel", {"iifname " + name});
      ask({"oif", marks}, "the answers to it", answers);
    }
    if (!forward) ask({"", {std::to_string(port)}}, "WireGuard's port", {udp});
    if (what.empty()) continue;
    std::string remedy;
    for (const std::string& line : missing) remedy += "nft insert rule " + chain.table + " " + chain.name + " " + line + "; ";
    if (chain.table == "inet firewalld")
      remedy += "and for good: firewall-cmd --permanent --zone=trusted --add-interface=" + interface +
                "; firewall-cmd --permanent --add-port=" + std::to_string(port) + "/udp";
    else
      remedy += "and so in the file that makes it (/etc/nftables.conf?)";
    found.push_back(problem("foreign_chains",
                            "chain " + chain.name + " of table " + chain.table + " " + why + ", and no rule there knows " + what,
                            remedy));
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
