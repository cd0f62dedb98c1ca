#include "broker/session/grant.h"

#include "broker/base/encoding.h"
#include "broker/base/json.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"
#include "broker/base/number.h"

namespace jitwg {
namespace {

constexpr size_t kMaxGrantBytes = limits::kStatementBytes;

template <typename List, typename Render>
json::array array_of(const List& list, Render render) {
  json::array out;
  for (const auto& item : list) out.emplace_back(render(item));
  return out;
}

const SessionId kNoSession = *SessionId::parse("00000000-0000-7000-8000-000000000000");

bool is_hex64(std::string_view text) { return text.size() == 64 && hex_decode(text).has_value(); }

Result<void> check_wireguard_key(std::string_view base64) {
  const auto key = base64_decode(base64);
  if (!key || ssh::is_weak_x25519(*key)) return fail(Code::bad_key, "not a WireGuard public key");
  return {};
}

Result<GrantGateway> parse_gateway(const json::value& value) {
  JsonObject reader(value, "grant.gateway");
  GrantGateway g{reader.string("name"), reader.string("wireguard_key"), {}};
  g.endpoint = reader.take(Endpoint::parse(reader.string("endpoint")), {});
  JITWG_TRY(reader.finish());
  JITWG_TRY(check_wireguard_key(g.wireguard_key));
  if (!is_name(g.name)) return fail(Code::bad_value, "grant.gateway: a bad name");
  return g;
}

Result<GrantJumpHost> parse_jump_host(const json::value& value) {
  JsonObject reader(value, "grant.jump_hosts");
  GrantJumpHost j{reader.string("name"), {}, {}};
  for (const std::string& text : reader.strings("addresses"))
    j.addresses.push_back(reader.take(IpAddress::parse(text), {}));
  for (const std::string& text : reader.strings("host_keys")) {
    const auto key = ssh::PublicKey::parse(text);
    if (!key) reader.problem(key.error());
    else j.host_keys.push_back(key->str());
  }
  JITWG_TRY(reader.finish());
  if (!is_name(j.name) || j.addresses.empty() || j.host_keys.empty())
    return fail(Code::bad_value, "grant.jump_hosts: a name, an address or a host key is missing");
  return j;
}

// What must hold between the fields, whoever signed them.
Result<void> check(const Grant& g) {
  const bool ssh = !g.jump_hosts.empty();
  if (g.login.has_value() != ssh || g.certificate_sha256.has_value() != ssh || g.serial.has_value() != ssh)
    return fail(Code::bad_value, "grant: login, certificate and serial go with jump hosts");
  if (g.certificate_sha256 && !is_hex64(*g.certificate_sha256))
    return fail(Code::bad_value, "grant: certificate_sha256 is no SHA-256");
  if (g.serial && !parse_number<uint64_t>(*g.serial)) return fail(Code::bad_value, "grant: serial is no number");
  if (!is_name(g.person) || !is_name(g.target) || (g.login && !is_name(*g.login)))
    return fail(Code::bad_value, "grant: a bad name");
  if (!is_hex64(g.policy_sha256)) return fail(Code::bad_value, "grant: policy_sha256 is no SHA-256");
  if (g.address.empty()) return fail(Code::bad_value, "grant: no inner address");
  for (const Prefix& p : g.address)
    if (!p.is_host()) return fail(Code::bad_value, "grant: an inner address wider than one host");
  if (g.scope.empty()) return fail(Code::bad_value, "grant: empty scope");
  if (g.scope.size() > 2 * limits::kScopeEntries) return fail(Code::bad_value, "grant: scope over the limit");
  if (g.not_before >= g.not_after) return fail(Code::bad_value, "grant: it ends before it begins");
  JITWG_TRY(check_host_names(g.names, g.scope));
  return check_wireguard_key(g.wg_public_key);
}

}  // namespace

std::string render_grant(const Grant& g) {
  json::object o;
  o["type"] = "grant";
  o["v"] = 1;
  o["realm"] = g.realm;
  o["session"] = g.session.str();
  o["person"] = g.person;
  o["target"] = g.target;
  if (g.login) o["login"] = *g.login;
  o["wg_public_key"] = g.wg_public_key;
  o["address"] = array_of(g.address, [](const Prefix& p) { return json::string(p.str()); });
  o["scope"] = array_of(render_scope(g.scope), [](const std::string& s) { return json::string(s); });
  o["gateway"] = {{"name", g.gateway.name},
                  {"wireguard_key", g.gateway.wireguard_key},
                  {"endpoint", g.gateway.endpoint.str()}};
  o["jump_hosts"] = array_of(g.jump_hosts, [](const GrantJumpHost& j) {
    return json::object{{"name", j.name},
                        {"addresses", array_of(j.addresses, [](const IpAddress& a) { return json::string(a.str()); })},
                        {"host_keys", array_of(j.host_keys, [](const std::string& k) { return json::string(k); })}};
  });
  if (g.certificate_sha256) o["certificate_sha256"] = *g.certificate_sha256;
  if (g.serial) o["serial"] = *g.serial;
  o["not_before"] = render_time(g.not_before);
  o["not_after"] = render_time(g.not_after);
  o["policy_sha256"] = g.policy_sha256;
  if (g.incident) o["incident"] = g.incident->str();
  o["break_glass"] = g.break_glass;
  if (!g.names.empty()) o["names"] = render_host_names(g.names);
  if (g.nat) o["nat"] = true;
  return render_json(o);
}

Result<Grant> parse_grant(std::string_view body) {
  JITWG_ASSIGN(const json::value value, parse_json(body, kMaxGrantBytes));
  JsonObject reader(value, "grant");
  if (reader.string("type") != "grant") reader.problem({Code::unknown_type, "not a grant", {}});
  if (reader.integer("v") != 1) reader.problem({Code::unsupported_version, "a grant of another version", {}});
  Grant g{.realm = reader.string("realm"),
          .session = reader.take(SessionId::parse(reader.string("session")), kNoSession),
          .person = reader.string("person"),
          .target = reader.string("target"),
          .login = reader.optional_string("login"),
          .wg_public_key = reader.string("wg_public_key")};
  for (const std::string& text : reader.strings("address")) {
    if (text.find('/') == std::string::npos)
      reader.problem({Code::bad_value, "grant: an inner address without prefix length", {}});
    g.address.push_back(reader.take(Prefix::parse(text), {}));
  }
  g.scope = reader.take(parse_scope(reader.strings("scope")), {});
  if (const json::value* gateway = reader.value("gateway")) g.gateway = reader.take(parse_gateway(*gateway), {});
  if (const json::value* hosts = reader.value("jump_hosts")) {
    if (!hosts->is_array()) reader.problem({Code::bad_value, "grant: \"jump_hosts\" must be a list", {}});
    else
      for (const json::value& host : hosts->get_array())
        g.jump_hosts.push_back(reader.take(parse_jump_host(host), {}));
  }
  g.certificate_sha256 = reader.optional_string("certificate_sha256");
  g.serial = reader.optional_string("serial");
  g.not_before = reader.take(parse_time(reader.string("not_before")), {});
  g.not_after = reader.take(parse_time(reader.string("not_after")), {});
  g.policy_sha256 = reader.string("policy_sha256");
  if (const auto id = reader.optional_string("incident")) {
    if (auto incident = SessionId::parse(*id)) g.incident = std::move(*incident);
    else reader.problem(incident.error());
  }
  g.break_glass = reader.boolean("break_glass");
  if (const json::value* names = reader.optional_value("names")) g.names = reader.take(parse_host_names(*names), {});
  g.nat = reader.flag("nat");
  JITWG_TRY(reader.finish());
  JITWG_TRY(check(g));
  return g;
}

Result<Grant> verify_grant(const ssh::SignedDocument& document, const ssh::CaKeys& ca, std::string_view realm) {
  JITWG_ASSIGN(const ssh::SignedBy by, ssh::verify(document, kGrantNamespace));
  if (!ca.contains(by.key))
    return fail(Code::foreign_grant, "a grant signed by " + by.key.fingerprint() + ", which is not this realm's CA",
                "the CA here is " + ca.fingerprints());
  JITWG_ASSIGN(Grant grant, parse_grant(document.body));
  if (grant.realm != realm)
    return fail(Code::wrong_realm, "a grant of the realm \"" + escape_for_terminal(grant.realm) + "\", not \"" +
                                       std::string(realm) + "\"");
  return grant;
}

}  // namespace jitwg
