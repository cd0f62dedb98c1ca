#include "broker/setup/trust_block.h"

#include <map>

#include "broker/base/encoding.h"
#include "broker/base/name.h"
#include "broker/transport/broker_address.h"

namespace jitwg::setup {
namespace {

constexpr std::string_view kBegin = "-----BEGIN JITWG TRUST-----";
constexpr std::string_view kEnd = "-----END JITWG TRUST-----";

tl::unexpected<Error> bad(std::string why) {
  return fail(Code::bad_value, "trust block: " + std::move(why), "paste all that `jitwgd init` prints, from BEGIN to END");
}

// Mail and terminals leave blanks and CRs at the ends of lines.
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t first = text.find_first_not_of(kBlank);
  return first == text.npos ? "" : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The lines between the marks.
Result<std::vector<std::string_view>> find_block(std::string_view text) {
  std::vector<std::string_view> lines;
  int blocks = 0;
  bool inside = false;
  while (!text.empty()) {
    const std::string_view line = trimmed(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    if (line == kBegin || line == kEnd) {
      if (inside == (line == kBegin)) return bad("BEGIN and END do not belong together");
      inside = line == kBegin;
      blocks += inside;
    } else if (inside && !line.empty()) {
      lines.push_back(line);
    }
  }
  if (blocks != 1 || inside) return bad(blocks > 1 ? "there are two" : inside ? "its END is missing" : "there is none");
  return lines;
}

}  // namespace

std::string render_trust(const TrustBlock& trust) {
  std::string text = std::string(kBegin) + "\nbroker = " + trust.broker + "\n";
  for (const std::string& pin : trust.pins) text += "broker-pin = " + pin + "\n";
  for (const std::string& key : trust.ca.lines()) text += "ca = " + key + "\n";
  return text + "realm = " + trust.realm + "\n" + std::string(kEnd) + "\n";
}

Result<TrustBlock> parse_trust(std::string_view text) {
  JITWG_ASSIGN(const auto lines, find_block(text));
  std::map<std::string, std::vector<std::string>, std::less<>> values;
  for (const std::string_view line : lines) {
    const size_t equals = line.find('=');
    const std::string key(trimmed(line.substr(0, equals)));
    if (equals == line.npos || (key != "broker" && key != "broker-pin" && key != "ca" && key != "realm"))
      return bad("\"" + escape_for_terminal(line) + "\" does not belong in it");
    values[key].emplace_back(trimmed(line.substr(equals + 1)));
  }
  for (const char* key : {"broker", "realm"})
    if (values[key].size() != 1) return bad(std::string(key) + (values[key].empty() ? " is missing" : " stands twice"));
  std::string keys;
  for (const std::string& key : values["ca"]) keys += key + "\n";
  auto ca = ssh::CaKeys::parse(keys);
  if (!ca) return within("trust block: ca", ca.error());
  TrustBlock trust{values["broker"].front(), values["broker-pin"], std::move(*ca), values["realm"].front()};
  if (const auto place = http::parse_broker_address({trust.broker, trust.pins, {}, {}}); !place)
    return within("trust block", place.error());
  if (!is_name(trust.realm)) return bad("the realm is no plain name");
  return trust;
}

}  // namespace jitwg::setup
