#include "broker/transport/broker_address.h"

#include <algorithm>

#include "broker/base/address.h"
#include "broker/base/encoding.h"
#include "broker/base/number.h"

namespace jitwg::http {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kHttps = "https://";
constexpr std::string_view kPin = "sha256//";
constexpr uint16_t kDefaultPort = 7443;

tl::unexpected<Error> no_address(const std::string& where) {
  return fail(Code::bad_argument, "\"" + where + "\" is no address of a broker",
              "use unix:PATH or https://HOST[:PORT]");
}

bool is_host_name(std::string_view text) {
  const auto fits = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  };
  return !text.empty() && std::ranges::all_of(text, fits);
}

Result<void> check_trust(const BrokerAddress& address) {
  if (address.pins.empty() == address.ca_file.empty())
    return fail(Code::bad_config,
                address.pins.empty() ? "nothing says how to know " + address.where
                                     : "both \"broker-pin\" and \"broker-ca\" are set",
                "give either its key's fingerprint, \"broker-pin = sha256//…\" as `jitwgd init` prints it, "
                "or a file of trusted certificates, \"broker-ca = FILE\"");
  constexpr size_t kDigestBytes = 32;
  for (const std::string& pin : address.pins) {
    const auto digest = base64_decode(pin.substr(std::min(pin.size(), kPin.size())));
    if (!pin.starts_with(kPin) || !digest || digest->size() != kDigestBytes)
      return fail(Code::bad_config, "broker-pin \"" + escape_for_terminal(pin) + "\" is no pin",
                  "`jitwgd init` prints the line: broker-pin = sha256//…");
  }
  return {};
}

}  // namespace

Result<BrokerAddress> read_broker_address(const Config& config) {
  BrokerAddress address{config.get("broker"), config.all("broker-pin"), config.get("broker-ca"), {}};
  JITWG_TRY(parse_broker_address(address));
  return address;
}

Result<Place> parse_broker_address(const BrokerAddress& address) {
  const std::string_view where = address.where;
  Place place;
  if (where.starts_with(kUnix)) {
    place.socket = where.substr(kUnix.size());
    if (place.socket.empty()) return no_address(address.where);
    return place;
  }
  if (!where.starts_with(kHttps)) return no_address(address.where);
  std::string_view host = where.substr(kHttps.size());
  place.port = kDefaultPort;
  if (const size_t colon = host.rfind(':'); colon != host.npos && !host.ends_with(']')) {
    const auto port = parse_number<uint16_t>(host.substr(colon + 1));
    if (!port || *port == 0) return no_address(address.where);
    place.port = *port;
    host = host.substr(0, colon);
  }
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(host);
  place.host_is_address = ip.has_value();
  // Brackets are for IPv6, and IPv6 needs them (RFC 3986 §3.2.2).
  if (bracketed != (ip && ip->family == 6)) return no_address(address.where);
  if (!ip && !is_host_name(host)) return no_address(address.where);
  place.host = host;
  JITWG_TRY(check_trust(address));
  return place;
}

}  // namespace jitwg::http
