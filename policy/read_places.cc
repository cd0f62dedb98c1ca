// People, gateways, jump hosts and targets: what rules refer to.
#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"
#include "policy/policy_reader.h"

namespace jitwg {
namespace {

constexpr const char* kNameHint = "letters, digits and ._@-, at most 64";
constexpr size_t kMostAddresses = 16;  // of a jump host: each is in every scope that leads there

// A list of strings, each put through a parser; absent: empty.
template <typename T>
std::vector<T> list_of(TomlTable& t, std::string_view key, Result<T> (*parse)(std::string_view), bool mandatory = true) {
  std::vector<T> values;
  for (const TomlText& text : t.texts(key, mandatory)) {
    auto value = parse(text.text);
    if (value) values.push_back(std::move(*value));
    else t.problem(text, value.error().message, value.error().hint);
  }
  return values;
}

bool is_empty_list(TomlTable& t, std::string_view key) {
  const toml::node* node = t.node(key);
  return node && node->is_array() && node->as_array()->empty();
}

std::string wireguard_key_of(TomlTable& t, std::string_view key) {
  const std::string text = t.string(key);
  const auto bytes = base64_decode(text);
  if (!text.empty() && (!bytes || ssh::is_weak_x25519(*bytes)))
    t.problem(key, "\"" + text + "\" is no WireGuard public key", "wg pubkey < private.key prints it");
  return text;
}

Words child_names(const toml::table& root, std::string_view section) {
  const toml::table* table = root[section].as_table();
  return table ? [&] {
    Words names;
    for (const auto& [key, unused] : *table) names.emplace(key.str());
    return names;
  }() : Words();
}

}  // namespace

KnownNames known_names(const toml::table& root) {
  KnownNames known{child_names(root, "groups"),     child_names(root, "oncall"),  child_names(root, "gateways"),
                   child_names(root, "jump_hosts"), child_names(root, "targets"), {}};
  if (const toml::table* targets = root["targets"].as_table())
    for (const auto& [unused, target] : *targets)
      if (const toml::table* table = target.as_table())
        if (const toml::array* labels = (*table)["labels"].as_array())
          for (const toml::node& label : *labels) known.labels.emplace(label.value_or(std::string()));
  return known;
}

void PolicyReader::each_table(const std::string& name, void (PolicyReader::*read)(const std::string&, TomlTable&)) {
  const toml::node* node = root.get(name);
  if (!node) return;
  const toml::table* outer = node->as_table();
  if (!outer) return errors.add(*node, "\"" + name + "\" must be tables", "write [" + name + ".NAME]");
  for (const auto& [key, value] : *outer) {
    const std::string child(key.str());
    if (!is_name(child)) errors.add(key.source(), "\"" + child + "\" is no plain name", kNameHint);
    if (!value.is_table()) {
      errors.add(value, "\"" + name + "." + child + "\" must be a table", "write [" + name + "." + child + "]");
      continue;
    }
    TomlTable t(*value.as_table(), name + "." + child, errors);
    (this->*read)(child, t);
    t.finish();
  }
}

void PolicyReader::each_element(const std::string& name, void (PolicyReader::*read)(TomlTable&)) {
  const toml::node* node = root.get(name);
  if (!node) return;
  const toml::array* array = node->as_array();
  if (!array) return errors.add(*node, "\"" + name + "\" must be a list of tables", "write [[" + name + "]]");
  for (const toml::node& element : *array) {
    if (!element.is_table()) {
      errors.add(element, "\"" + name + "\" must be a list of tables", "write [[" + name + "]]");
      continue;
    }
    TomlTable t(*element.as_table(), name, errors);
    (this->*read)(t);
    t.finish();
  }
}

std::set<std::string> PolicyReader::people_of(TomlTable& t, std::string_view key) {
  std::set<std::string> people;
  for (const TomlText& person : t.texts(key)) {
    if (!is_name(person.text)) t.problem(person, "\"" + person.text + "\" is no plain name", person.text.find(':') == std::string::npos ? kNameHint : "groups hold people, not groups");
    if (!people.insert(person.text).second) t.problem(person, "\"" + person.text + "\" is there twice", "name everybody once");
  }
  return people;
}

// { file = "…", max_age = "26h" }
void PolicyReader::read_list(const toml::table& table, bool oncall, const std::string& name) {
  SyncedList list{.oncall = oncall, .name = name};
  TomlTable t(table, list.title(), errors);
  list.path = t.string("file");
  if (escape_for_terminal(list.path) != list.path) t.problem("file", "the path holds characters that a terminal would not show");
  if (!t.node("max_age")) t.problem("max_age", "\"max_age\" is missing", "how old the file may be before it counts as empty: \"26h\"");
  list.max_age = t.duration("max_age", Seconds{0});
  t.finish();
  policy.lists.push_back(std::move(list));
}

void PolicyReader::read_people(const std::string& section, PeopleByName& into) {
  const toml::node* node = root.get(section);
  if (!node) return;
  if (!node->is_table()) return errors.add(*node, "\"" + section + "\" must be a table", "write [" + section + "]");
  TomlTable t(*node->as_table(), section, errors);
  for (const auto& [key, value] : *node->as_table()) {
    const std::string name(key.str());
    auto& people = into[name];
    if (!is_name(name)) errors.add(key.source(), "\"" + name + "\" is no plain name", kNameHint);
    if (const toml::table* file = value.as_table()) read_list(*file, section == "oncall", name);
    else people = people_of(t, name);
  }
}

void PolicyReader::read_gateway(const std::string& name, TomlTable& t) {
  const auto endpoint = t.parsed<Endpoint>("endpoint", Endpoint::parse);
  const std::string wireguard_key = wireguard_key_of(t, "wireguard_key");
  const auto node_key = t.parsed<ssh::PublicKey>("node_key", ssh::PublicKey::parse);
  std::vector<Prefix> pools = t.node("pools") ? list_of(t, "pools", Prefix::parse) : default_pools;
  const toml::node* defaults = root["defaults"]["pools"].node();
  const bool is_empty_default = defaults && defaults->is_array() && defaults->as_array()->empty();
  if (t.node("pools") ? is_empty_list(t, "pools") : !has_pools || is_empty_default)
    t.problem("pools", "no address pool", "pools = [\"10.90.0.0/16\"], here or in [defaults]");
  if (endpoint && node_key) policy.gateways.emplace(name, Gateway{name, *endpoint, wireguard_key, *node_key, std::move(pools)});
}

void PolicyReader::read_jump_host(const std::string& name, TomlTable& t) {
  auto addresses = list_of(t, "addresses", IpAddress::parse);
  auto host_keys = list_of(t, "host_keys", ssh::PublicKey::parse);
  const auto node_key = t.parsed<ssh::PublicKey>("node_key", ssh::PublicKey::parse);
  if (is_empty_list(t, "addresses")) t.problem("addresses", "no addresses");
  if (addresses.size() > kMostAddresses) t.problem("addresses", std::to_string(addresses.size()) + " addresses", "at most " + std::to_string(kMostAddresses));
  if (is_empty_list(t, "host_keys")) t.problem("host_keys", "no host keys", "ssh-keyscan prints them; compare them at the host");
  if (node_key) policy.jump_hosts.emplace(name, JumpHost{name, std::move(addresses), std::move(host_keys), *node_key});
}

std::vector<std::string> PolicyReader::names_of(TomlTable& t, std::string_view key, bool mandatory, const Words& names, const std::string& what) {
  std::vector<std::string> found;
  for (const TomlText& text : t.texts(key, mandatory)) {
    if (!names.contains(text.text)) t.problem(text, "there is no " + what + " \"" + text.text + "\"", suggest(text.text, names));
    if (std::find(found.begin(), found.end(), text.text) != found.end()) t.problem(text, "\"" + text.text + "\" is there twice", "name it once");
    found.push_back(text.text);
  }
  return found;
}

void PolicyReader::read_target(const std::string& name, TomlTable& t) {
  Target target{.name = name};
  target.gateways = names_of(t, "gateways", true, known.gateways, "gateway");
  if (is_empty_list(t, "gateways")) t.problem("gateways", "no gateway", suggest("", known.gateways));
  target.jump_hosts = names_of(t, "jump_hosts", false, known.jump_hosts, "jump host");
  for (const auto& entries : list_of(t, "scope", parse_scope_entry)) target.scope.insert(target.scope.end(), entries.begin(), entries.end());
  target.scope = normalise(std::move(target.scope));
  if (is_empty_list(t, "scope")) t.problem("scope", "an empty scope", "scope = [\"tcp 10.60.10.20:5432\"]");
  if (target.scope.size() > limits::kScopeEntries)
    t.problem("scope", std::to_string(target.scope.size()) + " scope entries", "at most " + std::to_string(limits::kScopeEntries));
  target.login = t.optional_string("login").value_or("");
  const bool has_hosts = t.node("jump_hosts") && !is_empty_list(t, "jump_hosts");
  if ((t.node("login") != nullptr) != has_hosts)
    t.problem("login", "login and jump_hosts go together", has_hosts ? "login = \"{person}\"" : "set both, or neither");
  if (!target.login.empty() && target.login != "{person}" && !is_name(target.login))
    t.problem("login", "\"" + target.login + "\" is no login", "a unix name, or \"{person}\"");
  const Words extras = {"pty", "forward", "ide", "agent", "x11"};
  for (const TomlText& extra : t.texts("ssh", false)) {
    if (!extras.contains(extra.text)) t.problem(extra, "unknown extra \"" + extra.text + "\"", suggest(extra.text, extras));
    target.ssh.insert(extra.text);
  }
  for (const TomlText& label : t.texts("labels", false)) {
    if (!is_name(label.text)) t.problem(label, "\"" + label.text + "\" is no plain name", kNameHint);
    target.labels.insert(label.text);
  }
  if (const toml::table* names = t.table("names", "names = { \"host.example\" = \"10.0.0.1\" }"))
    for (const auto& [host, value] : *names) {
      const auto address = IpAddress::parse(value.value_or(std::string()));
      if (!address) errors.add(value, t.name() + ".names: " + address.error().message, address.error().hint);
      else target.names.emplace(std::string(host.str()), *address);
    }
  target.nat = t.flag("nat");
  policy.targets.emplace(name, std::move(target));
}

}  // namespace jitwg
