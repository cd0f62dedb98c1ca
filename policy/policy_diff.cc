#include "policy/policy_diff.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "policy/access_profile.h"

namespace jitwg {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

void add_settings(const Policy& p, std::map<std::string, FieldChange>& settings, std::string FieldChange::*side) {
  settings["realm"].*side = p.realm;
  settings["defaults.duration"].*side = render_duration(p.duration);
  settings["defaults.pending_for"].*side = render_duration(p.pending_for);
  settings["defaults.activate_within"].*side = render_duration(p.activate_within);
  settings["incidents.max_duration"].*side = render_duration(p.incident_max_duration);
  settings["incidents.review_within"].*side = render_duration(p.incident_review_within);
  if (p.break_glass.count > 0) {
    std::vector<std::string> targets;
    for (const TargetSelector& s : p.break_glass.targets) targets.push_back((s.is_label ? "label:" : "") + s.name);
    settings["rights.break_glass"].*side = std::to_string(p.break_glass.count) + " people, at most " +
                                           render_duration(p.break_glass.max_duration) + ", " + joined(targets);
  }
  for (const auto& [name, gateway] : p.gateways)
    settings["gateways." + name].*side = gateway.endpoint.str() + ", " + gateway.wireguard_key + ", " + gateway.node_key.str();
  for (const auto& [name, host] : p.jump_hosts) {
    std::vector<std::string> parts;
    for (const IpAddress& address : host.addresses) parts.push_back(address.str());
    for (const ssh::PublicKey& key : host.host_keys) parts.push_back(key.str());
    parts.push_back(host.node_key.str());
    settings["jump_hosts." + name].*side = joined(parts);
  }
}

std::vector<RightChange> diff_rights(const Policy& before, const Policy& after) {
  std::set<std::string> rights;
  for (const Policy* p : {&before, &after})
    for (const auto& [right, unused] : p->rights) rights.insert(right);
  std::vector<RightChange> changes;
  for (const std::string& right : rights) {
    const auto people = [&](const Policy& p) {
      const auto found = p.rights.find(right);
      return found == p.rights.end() ? std::set<std::string>() : p.people(found->second);
    };
    const auto was = people(before), is = people(after);
    RightChange change{right, {}, {}};
    std::set_difference(is.begin(), is.end(), was.begin(), was.end(), std::back_inserter(change.gains));
    std::set_difference(was.begin(), was.end(), is.begin(), is.end(), std::back_inserter(change.loses));
    if (!change.gains.empty() || !change.loses.empty()) changes.push_back(std::move(change));
  }
  return changes;
}

using Changed = std::map<std::string, FieldChange>;

void compare(const Fields& before, const Fields& after, Changed& changed) {
  for (const auto& [field, text] : before)
    if (const auto other = after.find(field); other == after.end() || other->second != text)
      changed[field] = {text, other == after.end() ? "" : other->second};
  for (const auto& [field, text] : after)
    if (!before.contains(field)) changed[field] = {"", text};
}

AccessChange::Direction direction_of(const Changed& changed) {
  using enum AccessChange::Direction;
  const auto outcome = changed.find("outcome");
  if (outcome == changed.end()) return changes;
  return outcome->second.before == "deny" ? gains : outcome->second.after == "deny" ? loses : changes;
}

class Differ {
 public:
  Differ(const Policy& before, const Policy& after)
      : target_numbers_(numbers_of_targets(before, after)), before_(before, numbers_, target_numbers_), after_(after, numbers_, target_numbers_) {
    group_people(before, after);
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> pairs;
    for (const auto& [name, i] : target_numbers_) {
      const auto was = before_.access(i), is = after_.access(i);
      targets_.push_back({name, was.value_or(0), is.value_or(0), 0});
      if (was && is && *was != *is) targets_.back().other_access = pairs.try_emplace({*was, *is}, pairs.size() + 1).first->second;
    }
  }

  std::vector<AccessChange> run() {
    std::vector<AccessChange> found;
    for (const bool incident : {false, true}) compare_all(incident, found);
    std::stable_sort(found.begin(), found.end(), [](const AccessChange& a, const AccessChange& b) {
      return std::tie(a.direction, a.incident, a.people, a.targets, a.fields) < std::tie(b.direction, b.incident, b.people, b.targets, b.fields);
    });
    return found;
  }

 private:
  struct BothTargets {
    std::string name;
    uint32_t before, after;  // how it is reached
    uint64_t other_access;   // the number of what that was and is; 0: the same, or not comparable
  };

  static TargetNumbers numbers_of_targets(const Policy& before, const Policy& after) {
    TargetNumbers numbers;
    for (const Policy* p : {&before, &after})
      for (const auto& [name, unused] : p->targets) numbers.emplace(name, 0);
    uint32_t next = 0;
    for (auto& [unused, number] : numbers) number = next++;
    return numbers;
  }

  using Key = std::pair<uint32_t, std::vector<uint32_t>>;  // a change, and its targets
  struct KeyHash {
    size_t operator()(const Key& key) const {
      size_t hash = key.first;
      for (const uint32_t target : key.second) hash = (hash ^ target) * 0x9e3779b97f4a7c15;
      return hash;
    }
  };

  // People whom both policies treat alike: in the same lists, and named by nothing.
  void group_people(const Policy& before, const Policy& after) {
    std::map<std::string, std::vector<uint32_t>> marks;
    uint32_t mark = 0;
    for (const Policy* p : {&before, &after}) {
      for (const auto* table : {&p->groups, &p->oncall})
        for (const auto& [unused, people] : *table) {
          ++mark;
          for (const std::string& person : people) marks[person].push_back(mark);
        }
      const auto mention = [&](const std::vector<Member>& members) {
        for (const Member& m : members)
          if (m.kind == Member::Kind::person) marks[m.name].push_back(++mark);
      };
      for (const Rule& rule : p->rules) mention(rule.who);
      for (const DenyRule& deny : p->denies) mention(deny.who);
    }
    for (const Profiles* profiles : {&before_, &after_})
      for (const auto& [person, rule] : profiles->stuck()) marks[person].push_back(++mark);
    std::map<std::vector<uint32_t>, std::vector<std::string>> alike;
    for (auto& [person, list] : marks) alike[std::move(list)].push_back(person);
    for (auto& [unused, people] : alike) classes_.push_back(std::move(people));
  }

  // The number of what changes with these profiles and accesses; 0: nothing.
  uint32_t change_of(uint32_t before, uint32_t after, const BothTargets& target) {
    if (before == after && target.other_access == 0) return 0;
    // A policy's 2 MiB hold fewer rules and targets than these fields.
    const auto [it, fresh] = known_.try_emplace(uint64_t{before} << 42 | uint64_t{after} << 20 | target.other_access, 0);
    if (!fresh) return it->second;
    const Fields &was = numbers_.fields(before), &is = numbers_.fields(after);
    Changed changed;
    compare(was, is, changed);
    if (target.other_access != 0 && was.at("outcome") != "deny" && is.at("outcome") != "deny")
      compare(numbers_.fields(target.before), numbers_.fields(target.after), changed);
    if (changed.empty()) return 0;
    const auto [number, is_new] = numbers_of_changes_.emplace(changed, static_cast<uint32_t>(changes_.size() + 1));
    if (is_new) changes_.push_back(&number->first);
    return it->second = number->second;
  }

  void compare_all(bool incident, std::vector<AccessChange>& found) {
    std::unordered_map<Key, std::vector<std::string>, KeyHash> people_of;
    std::vector<uint32_t> was, is;  // profiles, by target
    for (const auto& people : classes_) {
      before_.profiles(before_.rules_of(people.front()), incident, was);
      after_.profiles(after_.rules_of(people.front()), incident, is);
      std::unordered_map<uint32_t, std::vector<uint32_t>> targets_of;  // by change
      for (uint32_t i = 0; i < targets_.size(); ++i)
        if (const uint32_t change = change_of(was[i], is[i], targets_[i])) targets_of[change].push_back(i);
      for (auto& [change, targets] : targets_of) {
        auto& all = people_of[Key{change, std::move(targets)}];
        all.insert(all.end(), people.begin(), people.end());
      }
    }
    for (auto& [key, people] : people_of) {
      const Changed& changed = *changes_[key.first - 1];
      AccessChange change{direction_of(changed), incident, std::move(people), {}, changed};
      std::sort(change.people.begin(), change.people.end());
      for (const uint32_t i : key.second) change.targets.push_back(targets_[i].name);
      found.push_back(std::move(change));
    }
  }

  FieldNumbers numbers_;
  TargetNumbers target_numbers_;
  Profiles before_, after_;
  std::vector<std::vector<std::string>> classes_;
  std::vector<BothTargets> targets_;
  std::unordered_map<uint64_t, uint32_t> known_;
  std::map<Changed, uint32_t> numbers_of_changes_;
  std::vector<const Changed*> changes_;  // into numbers_of_changes_, whose nodes stay
};

}  // namespace

PolicyDiff diff_policies(const Policy& before, const Policy& after) {
  PolicyDiff diff;
  diff.access = Differ(before, after).run();
  diff.rights = diff_rights(before, after);
  add_settings(before, diff.settings, &FieldChange::before);
  add_settings(after, diff.settings, &FieldChange::after);
  std::erase_if(diff.settings, [](const auto& one) { return one.second.before == one.second.after; });
  return diff;
}

}  // namespace jitwg
