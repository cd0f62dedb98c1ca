#include "policy/check_policy.h"

#include "policy/decide.h"

namespace jitwg {
namespace {

bool overlap(const Prefix& a, const Prefix& b) { return a.contains(b) || b.contains(a); }

class Checker {
 public:
  Checker(const Policy& policy, const toml::table& root, TomlErrors& errors) : p_(policy), root_(root), errors_(errors) {}

  void run(bool read_well) {
    check_pools();
    for (const auto& [name, target] : p_.targets) check_scope(name, target);
    check_names();
    for (size_t i = 0; read_well && i < p_.rules.size(); ++i) check_approvals(i);
    if (read_well) check_enough(rights(), "break_glass", p_.rights, p_.break_glass.count);
    check_keys();
  }

 private:
  // Where something stands. What is asked for was read, so it is there; only an array may hold what is no table.
  const toml::node& table(const char* outer, const std::string& name) const { return *root_.get(outer)->as_table()->get(name); }
  const toml::node& at_key(const toml::node& node, const char* key) const {
    const toml::node* found = node.is_table() ? node.as_table()->get(key) : nullptr;
    return found ? *found : node;
  }
  const toml::node& rights() const { return root_.contains("rights") ? at_key(*root_.get("rights"), "break_glass") : static_cast<const toml::node&>(root_); }

  // Gateways may share a whole pool. Half of one would send the other half's answers the wrong way.
  void check_pools() {
    std::map<Prefix, std::string> owner;
    for (const auto& [name, gateway] : p_.gateways) {
      std::set<Prefix> own;
      const toml::node& at = at_key(table("gateways", name), "pools");
      for (const Prefix& pool : gateway.pools) {
        const std::string what = "gateways." + name + ": the pool " + pool.str();
        if (!own.insert(pool).second) errors_.add(at, what + " is there twice", "name it once");
        for (const auto& [other, who] : owner)
          if (other != pool && overlap(other, pool))
            errors_.add(at, what + " overlaps " + other.str() + " of gateways." + who, "the same pool, or one apart from it");
        owner.emplace(pool, name);
      }
    }
    for (const auto& [name, host] : p_.jump_hosts)
      for (const IpAddress& address : host.addresses)
        for (const auto& [pool, unused] : owner)
          if (pool.contains(address))
            errors_.add(at_key(table("jump_hosts", name), "addresses"), "jump_hosts." + name + ": " + address.str() + " lies in the pool " + pool.str(),
                        "pools are for the inside of tunnels alone");
  }

  void check_scope(const std::string& name, const Target& target) {
    std::set<Prefix> pools;
    for (const auto& [unused, gateway] : p_.gateways) pools.insert(gateway.pools.begin(), gateway.pools.end());
    for (const Prefix& pool : pools)
      for (const ScopeEntry& entry : target.scope)
        if (overlap(pool, entry.destination)) {
          errors_.add(at_key(table("targets", name), "scope"), "targets." + name + ": the scope reaches into the pool " + pool.str(),
                      "peers never reach peers");
          break;
        }
  }

  // A name leads to one host, whichever targets say it: their lines meet in one /etc/hosts.
  void check_names() {
    std::map<std::pair<std::string, int>, const Target*> owner;
    for (const auto& [name, target] : p_.targets) {
      if (target.names.empty()) continue;
      const toml::node& at = at_key(table("targets", name), "names");
      const auto exists = [&](const std::string& host) { return p_.jump_hosts.contains(host); };
      if (!target.scope.empty() && std::all_of(target.jump_hosts.begin(), target.jump_hosts.end(), exists)) {
        const auto good = check_host_names(target.names, resolve(p_, target, {}).scope);
        if (!good) errors_.add(at, "targets." + name + ".names: " + good.error().message,
                                good.error().hint.empty() ? "an address of the target's scope, or of a jump host" : good.error().hint);
      }
      for (const auto& [host, address] : target.names) {
        const Target* first = owner.try_emplace({host, address.family}, &target).first->second;
        if (first->names.at(host) != address)
          errors_.add(at, "targets." + name + ".names: " + host + " is " + address.str() + " here and " + first->names.at(host).str() +
                              " in targets." + first->name,
                      "give each host a name of its own");
      }
    }
  }

  // Whether all places can be filled at all, by different people. Who is in a synced list is not known here.
  void check_approvals(size_t i) {
    const Rule& rule = p_.rules[i];
    std::set<std::string> people;
    for (const ApprovalPlace& place : rule.approvals) {
      if (place.from.empty() || is_synced(p_, place.from)) return;
      people.merge(p_.people(place.from));
    }
    if (!approvals_filled(p_, rule.approvals, people))
      errors_.add(at_key(*root_.get("rule")->as_array()->get(i), "approvals"),
                  "rule \"" + rule.name + "\": more approvals than people who could give them", "ask for fewer, or name more approvers");
  }

  void check_enough(const toml::node& at, const char* right, const std::map<std::string, std::vector<Member>>& rights, int count) {
    const auto members = rights.find(right);
    if (members == rights.end() || members->second.empty() || is_synced(p_, members->second)) return;
    if (p_.people(members->second).size() < static_cast<size_t>(count))
      errors_.add(at, std::string("rights.") + right + ": more people are to sign than there are", "a lower count, or more people");
  }

  // A node's key must not be another node's, nor a host key: each proves one thing.
  void check_keys() {
    std::map<std::string, std::string> owner;
    const auto claim = [&](const toml::node& at, const std::string& key, const std::string& who) {
      const auto [it, fresh] = owner.emplace(key, who);
      if (!fresh && !key.empty()) errors_.add(at, who + " has the same key as " + it->second, "each gets its own");
    };
    for (const auto& [name, gateway] : p_.gateways) {
      claim(at_key(table("gateways", name), "node_key"), gateway.node_key.str(), "gateways." + name);
      claim(at_key(table("gateways", name), "wireguard_key"), gateway.wireguard_key, "gateways." + name + " (WireGuard)");
    }
    for (const auto& [name, host] : p_.jump_hosts) {
      claim(at_key(table("jump_hosts", name), "node_key"), host.node_key.str(), "jump_hosts." + name);
      for (const auto& key : host.host_keys)
        claim(at_key(table("jump_hosts", name), "host_keys"), key.str(), "jump_hosts." + name + " (host key)");
    }
  }

  const Policy& p_;
  const toml::table& root_;
  TomlErrors& errors_;
};

}  // namespace

bool is_synced(const Policy& policy, const std::vector<Member>& members) {
  return std::any_of(members.begin(), members.end(), [&](const Member& m) {
    return std::any_of(policy.lists.begin(), policy.lists.end(), [&](const SyncedList& list) {
      return m.name == list.name && m.kind == (list.oncall ? Member::Kind::oncall : Member::Kind::group);
    });
  });
}

void check_between(const Policy& policy, const toml::table& root, bool read_well, TomlErrors& errors) {
  Checker(policy, root, errors).run(read_well);
}

}  // namespace jitwg
