#include "policy/check_policy.h"

#include "policy/decide.h"
#include "policy/matching.h"

namespace jitwg {
namespace {

bool overlap(const Prefix& a, const Prefix& b) { return a.contains(b) || b.contains(a); }

class Checker {
 public:
  Checker(const Policy& policy, const toml::table& root, TomlErrors& errors)
      : p_(policy), root_(root), errors_(errors) {
    for (const auto& [unused, target] : p_.targets)
      for (const std::string& label : target.labels) labels_.emplace(label, 0);
  }

  void run() {
    check_pools();
    for (const auto& [name, target] : p_.targets) check_target(name, target);
    if (!errors_.first) check_names();
    for (size_t i = 0; i < p_.rules.size(); ++i) {
      const toml::node& at = element("rule", i);
      check_people(at, p_.rules[i].who, p_.rules[i].name);
      check_targets(at, p_.rules[i].targets, p_.rules[i].name);
      for (const ApprovalPlace& place : p_.rules[i].approvals) {
        check_people(at, place.from, p_.rules[i].name);
        if (!is_synced(place.from) && p_.people(place.from).size() < static_cast<size_t>(place.count))
          errors_.add(at, "rule \"" + p_.rules[i].name + "\": " + std::to_string(place.count) +
                              " approvals, but fewer people could give them");
      }
    }
    for (size_t i = 0; i < p_.denies.size(); ++i) {
      check_people(element("deny", i), p_.denies[i].who, p_.denies[i].name);
      check_targets(element("deny", i), p_.denies[i].targets, p_.denies[i].name);
    }
    for (const auto& [right, members] : p_.rights) check_people(*root_.get("rights"), members, "rights." + right);
    check_targets(root_, p_.break_glass.targets, "rights.break_glass");
    check_keys();
  }

 private:
  const toml::node& element(const char* name, size_t i) const { return *root_.get(name)->as_array()->get(i); }
  const toml::node& table(const char* outer, const std::string& name) const {
    return *root_.get(outer)->as_table()->get(name);
  }

  // Gateways may share a whole pool. Half of one would send the other half's answers the wrong way.
  void check_pools() {
    std::map<Prefix, std::string> owner;
    for (const auto& [name, gateway] : p_.gateways) {
      std::set<Prefix> own;
      for (const Prefix& pool : gateway.pools) {
        const std::string what = "gateways." + name + ": the pool " + pool.str();
        if (!own.insert(pool).second) errors_.add(table("gateways", name), what + " is there twice", "name it once");
        for (const auto& [other, who] : owner)
          if (other != pool && overlap(other, pool))
            errors_.add(table("gateways", name), what + " overlaps " + other.str() + " of gateways." + who,
                        "the same pool, or one apart from it");
        owner.emplace(pool, name);
      }
    }
  }

  void check_target(const std::string& name, const Target& target) {
    const toml::node& at = table("targets", name);
    for (const std::string& gateway : target.gateways)
      if (!p_.gateways.contains(gateway))
        errors_.add(at, "targets." + name + ": there is no gateway \"" + gateway + "\"", nearest(gateway, p_.gateways));
    for (const std::string& host : target.jump_hosts)
      if (!p_.jump_hosts.contains(host))
        errors_.add(at, "targets." + name + ": there is no jump host \"" + host + "\"", nearest(host, p_.jump_hosts));
    for (const ScopeEntry& entry : target.scope)
      for (const auto& [unused, gateway] : p_.gateways)
        for (const Prefix& pool : gateway.pools)
          if (overlap(pool, entry.destination))
            errors_.add(at, "targets." + name + ": the scope reaches into the pool " + pool.str(), "peers never reach peers");
  }

  // A name leads to one host, whichever targets say it: their lines meet in one /etc/hosts.
  void check_names() {
    std::map<std::pair<std::string, int>, const Target*> owner;
    for (const auto& [name, target] : p_.targets) {
      const auto good = check_host_names(target.names, resolve(p_, target, {}).scope);
      if (!good) errors_.add(table("targets", name), "targets." + name + ".names: " + good.error().message, good.error().hint);
      for (const auto& [host, address] : target.names) {
        const Target* first = owner.try_emplace({host, address.family}, &target).first->second;
        if (first->names.at(host) != address)
          errors_.add(table("targets", name), "targets." + name + ".names: " + host + " is " + address.str() + " here and " +
                                                  first->names.at(host).str() + " in targets." + first->name,
                      "give each host a name of its own");
      }
    }
  }

  void check_people(const toml::node& at, const std::vector<Member>& members, const std::string& what) {
    for (const Member& m : members) {
      if (m.kind == Member::Kind::group && !p_.groups.contains(m.name))
        errors_.add(at, "\"" + what + "\": there is no group \"" + m.name + "\"", nearest(m.name, p_.groups));
      if (m.kind == Member::Kind::oncall && !p_.oncall.contains(m.name))
        errors_.add(at, "\"" + what + "\": there is no on-call \"" + m.name + "\"", nearest(m.name, p_.oncall));
    }
  }

  void check_targets(const toml::node& at, const std::vector<TargetSelector>& selectors, const std::string& what) {
    for (const TargetSelector& s : selectors) {
      if (s.is_label && !labels_.contains(s.name))
        errors_.add(at, "\"" + what + "\": no target has the label \"" + s.name + "\"", nearest(s.name, labels_));
      if (!s.is_label && !p_.targets.contains(s.name))
        errors_.add(at, "\"" + what + "\": there is no target \"" + s.name + "\"", nearest(s.name, p_.targets));
    }
  }

  // Who is in such a list is not known here.
  bool is_synced(const std::vector<Member>& members) const {
    return std::any_of(members.begin(), members.end(), [&](const Member& m) {
      return std::any_of(p_.lists.begin(), p_.lists.end(), [&](const SyncedList& list) {
        return m.name == list.name && m.kind == (list.oncall ? Member::Kind::oncall : Member::Kind::group);
      });
    });
  }

  // A node's key must not be another node's, nor a host key: each proves one thing.
  void check_keys() {
    std::map<std::string, std::string> owner;
    const auto claim = [&](const toml::node& at, const std::string& key, const std::string& who) {
      const auto [it, fresh] = owner.emplace(key, who);
      if (!fresh) errors_.add(at, who + " has the same key as " + it->second, "each gets its own");
    };
    for (const auto& [name, gateway] : p_.gateways) {
      claim(table("gateways", name), gateway.node_key.str(), "gateways." + name);
      claim(table("gateways", name), gateway.wireguard_key, "gateways." + name + " (WireGuard)");
    }
    for (const auto& [name, host] : p_.jump_hosts) {
      claim(table("jump_hosts", name), host.node_key.str(), "jump_hosts." + name);
      for (const auto& key : host.host_keys) claim(table("jump_hosts", name), key.str(), "jump_hosts." + name + " (host key)");
    }
  }

  const Policy& p_;
  const toml::table& root_;
  TomlErrors& errors_;
  std::map<std::string, int> labels_;
};

}  // namespace

void check_references(const Policy& policy, const toml::table& root, TomlErrors& errors) {
  Checker(policy, root, errors).run();
}

}  // namespace jitwg
