#include "broker/base/scope.h"

#include <algorithm>
#include <map>

#include "broker/base/limits.h"
#include "broker/base/number.h"

namespace jitwg {

std::string_view name(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp: return "tcp";
    case Protocol::udp: return "udp";
    case Protocol::icmp: return "icmp";
  }
  return "?";
}

namespace {

// A target's own, and its jump hosts'.
constexpr size_t kMostEntries = 4 * limits::kScopeEntries;

tl::unexpected<Error> too_many() {
  return fail(Code::too_large, "over " + std::to_string(kMostEntries) + " scope entries",
              "a prefix or a range of ports says it shorter");
}

Result<std::vector<Prefix>> parse_destination(std::string_view text) {
  if (const size_t dash = text.find('-'); dash != std::string_view::npos) {
    JITWG_ASSIGN(const IpAddress first, IpAddress::parse(text.substr(0, dash)));
    JITWG_ASSIGN(const IpAddress last, IpAddress::parse(text.substr(dash + 1)));
    return prefixes_of_range(first, last);
  }
  JITWG_ASSIGN(const Prefix prefix, Prefix::parse(text));
  return std::vector{prefix};
}

// What is left of `entry` outside of `wider`, which holds its destination.
std::vector<ScopeEntry> outside(const ScopeEntry& entry, const ScopeEntry& wider) {
  if (entry.last_port < wider.first_port || entry.first_port > wider.last_port) return {entry};
  std::vector<ScopeEntry> left;
  if (entry.first_port < wider.first_port) {
    left.push_back(entry);
    left.back().last_port = static_cast<uint16_t>(wider.first_port - 1);
  }
  if (entry.last_port > wider.last_port) {
    left.push_back(entry);
    left.back().first_port = static_cast<uint16_t>(wider.last_port + 1);
  }
  return left;
}

}  // namespace

Result<std::vector<ScopeEntry>> parse_scope_entry(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::bad_value,
                "scope entry \"" + std::string(text.substr(0, 80)) + "\": " + std::string(why),
                "write \"tcp 10.60.10.20:5432\", \"udp [fd00::1]:53\" or \"icmp 10.60.10.20\"");
  };
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return bad("no protocol");
  const std::string_view protocol = text.substr(0, space);
  std::string_view rest = text.substr(space + 1);
  ScopeEntry entry;
  if (protocol == "tcp") entry.protocol = Protocol::tcp;
  else if (protocol == "udp") entry.protocol = Protocol::udp;
  else if (protocol == "icmp") entry.protocol = Protocol::icmp;
  else return bad("the protocol is tcp, udp or icmp");

  std::string_view host = rest, ports;
  if (!rest.empty() && rest.front() == '[') {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return bad("no closing bracket");
    host = rest.substr(1, close - 1);
    ports = rest.substr(close + 1);
    if (host.find(':') == std::string_view::npos) return bad("brackets are for IPv6");
  } else if (const size_t colon = rest.find(':');
             colon != std::string_view::npos && rest.find(':', colon + 1) == std::string_view::npos) {
    host = rest.substr(0, colon);
    ports = rest.substr(colon);
  }
  const auto destinations = parse_destination(host);
  if (!destinations) {
    auto why = bad(destinations.error().message);
    if (!destinations.error().hint.empty()) why.value().hint = destinations.error().hint;
    return why;
  }
  std::vector<ScopeEntry> entries;
  const auto add = [&] {
    for (const Prefix& destination : *destinations) {
      entry.destination = destination;
      entries.push_back(entry);
    }
  };
  if (entry.protocol == Protocol::icmp) {
    if (!ports.empty()) return bad("icmp has no ports");
    add();
    return entries;
  }
  if (ports.size() < 2 || ports.front() != ':') return bad("no port");
  ports.remove_prefix(1);
  while (true) {
    const size_t comma = ports.find(',');
    const std::string_view item = ports.substr(0, comma);
    const size_t dash = item.find('-');
    const auto first = parse_number<uint16_t>(item.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_number<uint16_t>(item.substr(dash + 1));
    if (!first || !last || *first == 0 || *last < *first)
      return bad("\"" + std::string(item) + "\" is no port");
    entry.first_port = *first;
    entry.last_port = *last;
    add();
    if (entries.size() > kMostEntries) return too_many();
    if (comma == std::string_view::npos) break;
    ports.remove_prefix(comma + 1);
  }
  return entries;
}

Scope normalise(Scope scope) {
  std::sort(scope.begin(), scope.end());
  // Overlapping ports of one destination become one range.
  std::vector<ScopeEntry> merged;
  for (const ScopeEntry& entry : scope) {
    ScopeEntry* last = merged.empty() ? nullptr : &merged.back();
    if (last && last->protocol == entry.protocol && last->destination == entry.destination && entry.first_port <= last->last_port)
      last->last_port = std::max(last->last_port, entry.last_port);
    else
      merged.push_back(entry);
  }
  // Wider destinations first; one port of one host may stand beside them.
  std::stable_sort(merged.begin(), merged.end(),
                   [](const ScopeEntry& a, const ScopeEntry& b) { return a.destination.length < b.destination.length; });
  Scope apart;
  for (const ScopeEntry& entry : merged) {
    std::vector<ScopeEntry> pieces = {entry};
    if (!entry.is_single())
      for (const ScopeEntry& wider : apart) {
        if (wider.is_single() || wider.protocol != entry.protocol || !wider.destination.contains(entry.destination)) continue;
        std::vector<ScopeEntry> left;
        for (const ScopeEntry& piece : pieces)
          for (const ScopeEntry& part : outside(piece, wider)) left.push_back(part);
        pieces = std::move(left);
      }
    apart.insert(apart.end(), pieces.begin(), pieces.end());
  }
  std::sort(apart.begin(), apart.end());
  return apart;
}

Result<Scope> parse_scope(const std::vector<std::string>& texts) {
  Scope scope;
  for (const std::string& text : texts) {
    JITWG_ASSIGN(const auto entries, parse_scope_entry(text));
    scope.insert(scope.end(), entries.begin(), entries.end());
    if (scope.size() > kMostEntries) return too_many();
  }
  return normalise(std::move(scope));
}

std::vector<std::string> render_scope(const Scope& scope) {
  std::map<std::string, std::string> ports_of;  // "tcp 10.0.0.1" -> "22,443"
  for (const ScopeEntry& entry : normalise(scope)) {
    std::string key = std::string(name(entry.protocol)) + " ";
    const std::string host = entry.destination.str_short();
    const bool brackets = entry.destination.address.family == 6 && entry.protocol != Protocol::icmp;
    key += brackets ? "[" + host + "]" : host;
    std::string& ports = ports_of[key];
    if (entry.protocol == Protocol::icmp) continue;
    ports += ports.empty() ? ":" : ",";
    ports += std::to_string(entry.first_port);
    if (entry.last_port != entry.first_port) ports += "-" + std::to_string(entry.last_port);
  }
  std::vector<std::string> texts;
  for (const auto& [key, ports] : ports_of) texts.push_back(key + ports);
  std::sort(texts.begin(), texts.end());
  return texts;
}

}  // namespace jitwg
