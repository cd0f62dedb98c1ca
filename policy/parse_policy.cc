#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"
#include "policy/check_policy.h"
#include "policy/policy.h"
#include "policy/toml_reader.h"

namespace jitwg {
namespace {

const std::set<std::string> kSshExtras = {"pty", "forward", "ide", "agent", "x11"};
const std::set<std::string> kRights = {"incident_open", "incident_close", "revoke", "lock", "nodes", "audit_read"};

std::optional<ssh::PublicKey> key_of(TomlTable& t, std::string_view key) {
  return t.parsed<ssh::PublicKey>(key, ssh::PublicKey::parse);
}

// A list of strings, each put through a parser; absent: empty.
template <typename T>
std::vector<T> list_of(TomlTable& t, std::string_view key, Result<T> (*parse)(std::string_view)) {
  std::vector<T> values;
  for (const std::string& text : t.strings(key, false)) {
    auto value = parse(text);
    if (value) values.push_back(std::move(*value));
    else t.problem(key, value.error().message, value.error().hint);
  }
  return values;
}

std::string wireguard_key_of(TomlTable& t, std::string_view key) {
  const std::string text = t.string(key);
  const auto bytes = base64_decode(text);
  if (!text.empty() && (!bytes || ssh::is_weak_x25519(*bytes)))
    t.problem(key, "\"" + text + "\" is no WireGuard public key", "wg pubkey < private.key prints it");
  return text;
}

std::vector<Member> members_of(TomlTable& t, std::string_view key) {
  std::vector<Member> members;
  for (const std::string& text : t.strings(key)) {
    const size_t colon = text.find(':');
    const std::string kind = text.substr(0, colon), rest = colon == std::string::npos ? "" : text.substr(colon + 1);
    if (!is_name(rest) || (kind != "group" && kind != "oncall" && kind != "person")) {
      t.problem(key, "\"" + text + "\" names nobody", "write group:NAME, oncall:NAME or person:NAME");
      continue;
    }
    members.push_back({kind == "group" ? Member::Kind::group : kind == "oncall" ? Member::Kind::oncall : Member::Kind::person, rest});
  }
  return members;
}

std::vector<TargetSelector> targets_of(TomlTable& t) {
  std::vector<TargetSelector> selectors;
  for (const std::string& text : t.strings("targets")) {
    const bool label = text.starts_with("label:");
    selectors.push_back({label, label ? text.substr(6) : text});
  }
  if (selectors.empty()) t.problem("targets", "no targets");
  return selectors;
}

// Every child of `[name]` that is a table, by its name.
template <typename Read>
void each_table(const toml::table& root, const std::string& name, TomlErrors& errors, Read read) {
  const toml::node* node = root.get(name);
  if (!node) return;
  const toml::table* outer = node->as_table();
  if (!outer) return errors.add(*node, "\"" + name + "\" must be tables like [" + name + ".NAME]");
  for (const auto& [key, value] : *outer) {
    const std::string child(key.str());
    if (!value.is_table()) errors.add(value, "[" + name + "." + child + "] must be a table");
    else if (!is_name(child)) errors.add(value, "\"" + child + "\" is no plain name", "letters, digits and ._@-");
    else {
      TomlTable t(*value.as_table(), name + "." + child, errors);
      read(child, t);
      t.finish();
    }
  }
}

// Every element of `[[name]]`.
template <typename Read>
void each_element(const toml::table& root, const std::string& name, TomlErrors& errors, Read read) {
  const toml::node* node = root.get(name);
  if (!node) return;
  const toml::array* array = node->as_array();
  if (!array) return errors.add(*node, "write [[" + name + "]]");
  for (const toml::node& element : *array) {
    if (!element.is_table()) return errors.add(element, "write [[" + name + "]]");
    TomlTable t(*element.as_table(), name, errors);
    read(t);
    t.finish();
  }
}

using PeopleByName = std::map<std::string, std::set<std::string>>;

std::set<std::string> people_of(TomlTable& t, std::string_view key) {
  std::set<std::string> people;
  for (const std::string& person : t.strings(key)) {
    if (!is_name(person)) t.problem(key, "\"" + person + "\" is no plain name");
    people.insert(person);
  }
  return people;
}

// { file = "…", max_age = "26h" }
void read_list(Policy& p, const toml::table& table, bool oncall, const std::string& name, TomlErrors& errors) {
  SyncedList list{.oncall = oncall, .name = name};
  TomlTable t(table, list.title(), errors);
  list.path = t.string("file");
  if (escape_for_terminal(list.path) != list.path) t.problem("file", "the path holds control characters");
  list.max_age = t.duration("max_age", Seconds{0});
  if (list.max_age == Seconds{0}) t.problem("max_age", "\"max_age\" is missing", "how old the file may be before it counts as empty: \"26h\"");
  t.finish();
  p.lists.push_back(std::move(list));
}

void read_people(const toml::table& root, const std::string& name, TomlErrors& errors, Policy& p, PeopleByName& into) {
  const toml::node* node = root.get(name);
  if (!node) return;
  if (!node->is_table()) return errors.add(*node, "write [" + name + "]");
  TomlTable t(*node->as_table(), name, errors);
  for (const auto& [key, value] : *node->as_table()) {
    auto& people = into[std::string(key.str())];
    if (!is_name(key.str())) errors.add(value, "\"" + std::string(key.str()) + "\" is no plain name", "letters, digits and ._@-");
    if (const toml::table* file = value.as_table()) read_list(p, *file, name == "oncall", std::string(key.str()), errors);
    else people = people_of(t, key.str());
  }
}

void read_gateway(Policy& p, const std::vector<Prefix>& default_pools, const std::string& name, TomlTable& t) {
  const auto endpoint = t.parsed<Endpoint>("endpoint", Endpoint::parse);
  const std::string wireguard_key = wireguard_key_of(t, "wireguard_key");
  const auto node_key = key_of(t, "node_key");
  std::vector<Prefix> pools = t.node("pools") ? list_of(t, "pools", Prefix::parse) : default_pools;
  if (pools.empty()) t.problem("pools", "no address pool", "pools = [\"10.90.0.0/16\"], here or in [defaults]");
  if (endpoint && node_key) p.gateways.emplace(name, Gateway{name, *endpoint, wireguard_key, *node_key, std::move(pools)});
}

void read_jump_host(Policy& p, const std::string& name, TomlTable& t) {
  auto addresses = list_of(t, "addresses", IpAddress::parse);
  auto host_keys = list_of(t, "host_keys", ssh::PublicKey::parse);
  const auto node_key = key_of(t, "node_key");
  if (addresses.empty()) t.problem("addresses", "no addresses");
  if (host_keys.empty()) t.problem("host_keys", "no host keys");
  if (node_key) p.jump_hosts.emplace(name, JumpHost{name, std::move(addresses), std::move(host_keys), *node_key});
}

void read_target(Policy& p, const std::string& name, TomlTable& t) {
  Target target{.name = name, .gateways = t.strings("gateways"), .jump_hosts = t.strings("jump_hosts", false)};
  const auto texts = t.strings("scope");
  const auto scope = parse_scope(texts);
  if (scope) target.scope = *scope;
  else t.problem("scope", scope.error().message, scope.error().hint);
  if (target.scope.empty()) t.problem("scope", "an empty scope");
  if (target.scope.size() > limits::kScopeEntries)
    t.problem("scope", std::to_string(target.scope.size()) + " scope entries", "at most " + std::to_string(limits::kScopeEntries));
  if (target.gateways.empty()) t.problem("gateways", "no gateway");
  target.login = t.optional_string("login").value_or("");
  if (target.login.empty() != target.jump_hosts.empty())
    t.problem("login", "login and jump_hosts go together", "set both, or neither");
  if (!target.login.empty() && target.login != "{person}" && !is_name(target.login))
    t.problem("login", "\"" + target.login + "\" is no login", "a unix name, or \"{person}\"");
  for (const std::string& extra : t.strings("ssh", false)) {
    if (!kSshExtras.contains(extra)) t.problem("ssh", "unknown extra \"" + extra + "\"", "pty, forward, ide, agent, x11");
    target.ssh.insert(extra);
  }
  for (const std::string& label : t.strings("labels", false)) {
    if (!is_name(label)) t.problem("labels", "\"" + label + "\" is no plain name");
    target.labels.insert(label);
  }
  if (const toml::node* names = t.node("names")) {
    if (!names->is_table()) t.problem("names", "write names = { \"host.example\" = \"10.0.0.1\" }");
    else
      for (const auto& [host, value] : *names->as_table()) {
        const auto address = IpAddress::parse(value.value_or(std::string()));
        if (!address) t.errors().add(value, "names: " + address.error().message, address.error().hint);
        else target.names.emplace(std::string(host.str()), *address);
      }
  }
  target.nat = t.flag("nat");
  p.targets.emplace(name, std::move(target));
}

std::vector<ApprovalPlace> read_approvals(TomlTable& t, Rule& rule) {
  const toml::node* node = t.node("approvals");
  if (!node) {
    t.problem("approvals", "\"approvals\" is missing", "0 must be written");
    return {};
  }
  if (const auto count = node->value_exact<int64_t>()) {
    if (*count < 0 || *count > static_cast<int64_t>(limits::kDecisions)) t.problem("approvals", "approvals out of range");
    if (*count == 0) {
      if (t.node("approvers")) rule.opener_approvers = members_of(t, "approvers");
      return {};
    }
    return {{members_of(t, "approvers"), static_cast<int>(*count)}};
  }
  std::vector<ApprovalPlace> places;
  const toml::array* array = node->as_array();
  for (size_t i = 0; array && i < array->size(); ++i) {
    const toml::table* table = (*array)[i].as_table();
    if (!table) break;
    TomlTable place(*table, "approvals", t.errors());
    const std::string from = place.string("from");
    const size_t colon = from.find(':');
    const std::string kind = from.substr(0, colon);
    if (colon == std::string::npos || (kind != "group" && kind != "oncall"))
      place.problem("from", "\"" + from + "\" names nobody", "write group:NAME or oncall:NAME");
    else
      places.push_back({{{kind == "group" ? Member::Kind::group : Member::Kind::oncall, from.substr(colon + 1)}},
                        static_cast<int>(place.optional_integer("count").value_or(1))});
    if (!places.empty() && (places.back().count < 1 || places.back().count > static_cast<int>(limits::kDecisions)))
      place.problem("count", "count out of range");
    place.finish();
  }
  if (places.empty()) t.problem("approvals", "approvals must be a number or a list of { from, count }");
  return places;
}

void read_rule(Policy& p, TomlTable& t) {
  Rule rule{.name = t.string("name"), .who = members_of(t, "who"), .targets = targets_of(t), .max_duration = t.optional_duration("max_duration")};
  if (t.node("hours")) rule.hours = t.parsed<Hours>("hours", Hours::parse);
  if (const auto during = t.optional_string("during")) {
    if (*during != "incident") t.problem("during", "\"" + *during + "\" is no time a rule can hold", "during = \"incident\"");
    rule.during_incident = true;
  }
  rule.approvals = read_approvals(t, rule);
  if (!rule.opener_approvers.empty() && !rule.during_incident) t.problem("approvers", "approvers, though no approval is needed");
  rule.opener_may_use = t.flag("opener_may_use");
  if (rule.opener_may_use && !rule.during_incident) t.problem("opener_may_use", "only a rule with during = \"incident\" has an opener");
  if (const auto keys = t.optional_string("keys")) {
    if (*keys == "sk") rule.keys = KeyDemand::sk;
    else if (*keys == "verify-required") rule.keys = KeyDemand::verify_required;
    else t.problem("keys", "\"" + *keys + "\" is no demand on keys", "keys = \"sk\" (touch) or \"verify-required\" (touch and PIN)");
  }
  if (rule.who.empty()) t.problem("who", "nobody");
  rule.line = t.line();
  p.rules.push_back(std::move(rule));
}

void read_rights(Policy& p, const toml::table& root, TomlErrors& errors) {
  const toml::node* node = root.get("rights");
  if (!node) return;
  if (!node->is_table()) return errors.add(*node, "write [rights]");
  TomlTable t(*node->as_table(), "rights", errors);
  for (const std::string& right : kRights)
    if (node->as_table()->get(right)) p.rights[right] = members_of(t, right);
  if (const toml::node* glass = t.node("break_glass")) {
    if (!glass->is_table()) return errors.add(*glass, "rights.break_glass must be a table");
    TomlTable g(*glass->as_table(), "rights.break_glass", errors);
    p.rights["break_glass"] = members_of(g, "from");
    p.break_glass.count = static_cast<int>(g.optional_integer("count").value_or(0));
    if (p.break_glass.count < 1) g.problem("count", "count must be at least 1");
    p.break_glass.max_duration = g.duration("max_duration", Seconds{0});
    p.break_glass.targets = targets_of(g);
    if (p.break_glass.max_duration == Seconds{0}) g.problem("max_duration", "max_duration is missing");
    g.finish();
  }
  t.finish();
}

// The people of synced lists as one test sees them. Other groups are what the policy says, in tests as well.
void read_test_lists(const Policy& p, TomlTable& t, const std::string& name, PeopleByName& into) {
  const toml::node* node = t.node(name);
  if (!node) return;
  if (!node->is_table()) return t.problem(name, "write " + name + " = { NAME = [\"alice\"] }");
  TomlTable lists(*node->as_table(), "test." + name, t.errors());
  for (const auto& [key, value] : *node->as_table()) {
    const std::string title = name + "." + std::string(key.str());
    const bool synced = std::any_of(p.lists.begin(), p.lists.end(), [&](const SyncedList& list) { return list.title() == title; });
    if (!synced) t.errors().add(value, title + " does not come from a file", "a test brings people of synced lists only");
    into[std::string(key.str())] = people_of(lists, key.str());
  }
}

void read_test(Policy& p, TomlTable& t) {
  PolicyTest test{.line = t.line(), .person = t.string("person"), .target = t.string("target"), .duration = t.optional_duration("for"),
                  .at = t.parsed<WallTime>("at", parse_time_with_offset).value_or(WallTime{}), .incident = t.flag("incident"),
                  .expect = t.string("expect")};
  if (test.expect != "allow" && test.expect != "approval" && test.expect != "deny")
    t.problem("expect", "expect is allow, approval or deny");
  test.opened_by = t.optional_string("opened_by").value_or("");
  if (!test.opened_by.empty() && !test.incident) t.problem("opened_by", "only an incident is opened by somebody", "incident = true");
  if (t.node("approvers")) test.approvers = t.strings("approvers");
  read_test_lists(p, t, "groups", test.groups);
  read_test_lists(p, t, "oncall", test.oncall);
  p.tests.push_back(std::move(test));
}

void read_defaults(Policy& p, TomlTable& t) {
  using namespace std::chrono_literals;
  p.duration = t.duration("duration", 60min);
  p.max_duration = t.duration("max_duration", 90min);
  p.pending_for = t.duration("pending_for", 24h);
  p.activate_within = t.duration("activate_within", 60min);
}

}  // namespace

Result<Policy> parse_policy(std::string_view text, std::string_view where) {
  toml::table root;
  try {
    root = toml::parse(text, where);
  } catch (const toml::parse_error& e) {
    const auto at = e.source().begin;
    return fail(Code::bad_policy, std::string(where) + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": " +
                                      std::string(e.description()), "this is TOML: see toml.io");
  }
  TomlErrors errors{std::string(where), {}};
  TomlTable top(root, "policy", errors);
  Policy p;
  p.file_sha256 = p.digest = sha256_hex(text);
  p.realm = top.string("realm");
  if (!p.realm.empty() && !is_name(p.realm)) top.problem("realm", "\"" + p.realm + "\" is no plain name");
  if (const auto version = top.optional_integer("version"); !version || *version != 1)
    top.problem("version", "version must be 1");

  const auto section = [&](const std::string& name, auto read) {
    const toml::node* node = top.node(name);
    if (!node) return;
    if (!node->is_table()) return errors.add(*node, "write [" + name + "]");
    TomlTable t(*node->as_table(), name, errors);
    read(t);
    t.finish();
  };
  std::vector<Prefix> default_pools;
  if (!top.node("defaults")) top.problem("defaults", "[defaults] is missing", "it needs at least pools = [\"10.90.0.0/16\"]");
  section("defaults", [&](TomlTable& t) {
    read_defaults(p, t);
    default_pools = list_of(t, "pools", Prefix::parse);
  });
  section("incidents", [&](TomlTable& t) {
    p.incident_max_duration = t.duration("max_duration", std::chrono::hours{8});
    p.incident_review_within = t.duration("review_within", std::chrono::hours{72});
  });
  for (const char* known : {"groups", "oncall", "gateways", "jump_hosts", "targets", "rule", "deny", "rights", "test"}) top.node(known);
  read_people(root, "groups", errors, p, p.groups);
  read_people(root, "oncall", errors, p, p.oncall);
  each_table(root, "gateways", errors, [&](const std::string& name, TomlTable& t) { read_gateway(p, default_pools, name, t); });
  each_table(root, "jump_hosts", errors, [&](const std::string& name, TomlTable& t) { read_jump_host(p, name, t); });
  each_table(root, "targets", errors, [&](const std::string& name, TomlTable& t) { read_target(p, name, t); });
  each_element(root, "rule", errors, [&](TomlTable& t) { read_rule(p, t); });
  each_element(root, "deny", errors, [&](TomlTable& t) {
    p.denies.push_back({t.string("name"), members_of(t, "who"), targets_of(t), t.line()});
  });
  read_rights(p, root, errors);
  each_element(root, "test", errors, [&](TomlTable& t) { read_test(p, t); });
  top.finish();
  if (!errors.first) check_references(p, root, errors);
  if (errors.first) return tl::unexpected<Error>(*errors.first);
  return p;
}

}  // namespace jitwg
