#include "broker/base/scope.h"

#include <algorithm>
#include <map>

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
  const auto destination = Prefix::parse(host);
  if (!destination) return bad(destination.error().message);
  entry.destination = *destination;

  if (entry.protocol == Protocol::icmp) {
    if (!ports.empty()) return bad("icmp has no ports");
    return std::vector{entry};
  }
  if (ports.size() < 2 || ports.front() != ':') return bad("no port");
  ports.remove_prefix(1);
  std::vector<ScopeEntry> entries;
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
    entries.push_back(entry);
    if (comma == std::string_view::npos) break;
    ports.remove_prefix(comma + 1);
  }
  return entries;
}

Scope normalise(Scope scope) {
  std::sort(scope.begin(), scope.end());
  scope.erase(std::unique(scope.begin(), scope.end()), scope.end());
  return scope;
}

Result<Scope> parse_scope(const std::vector<std::string>& texts) {
  Scope scope;
  for (const std::string& text : texts) {
    JITWG_ASSIGN(const auto entries, parse_scope_entry(text));
    scope.insert(scope.end(), entries.begin(), entries.end());
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
