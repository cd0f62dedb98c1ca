#include "policy/access_profile.h"

#include <algorithm>
#include <bit>

#include "broker/base/encoding.h"
#include "policy/decide.h"
#include "policy/matching.h"

namespace jitwg {
namespace {

constexpr size_t kNamesShown = 20;

void set(Bits& bits, uint32_t i) { bits[i / 64] |= uint64_t{1} << (i % 64); }
Bits none_of(size_t count) { return Bits((count + 63) / 64); }

bool meet(const Bits& a, const Bits& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] & b[i]) return true;
  return false;
}

Fields access_fields(const Policy& p, const Target& target) {
  const Access access = resolve(p, target, "{person}");
  const auto joined = [](const auto& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
  };
  Fields fields{{"scope", joined(render_scope(access.scope))}, {"gateways", joined(access.gateways)}, {"jump_hosts", joined(access.jump_hosts)},
                {"login", access.login.value_or("")},          {"ssh", joined(target.ssh)},           {"nat", access.nat ? "true" : "false"}};
  std::vector<std::string> names, pools;
  for (const auto& [host, address] : access.names) names.push_back(host + " is " + address.str());
  for (const std::string& gateway : access.gateways)
    for (const Prefix& pool : p.gateways.at(gateway).pools) pools.push_back(gateway + " " + pool.str());
  fields["names"] = joined(names);
  fields["pools"] = joined(pools);
  return fields;
}

}  // namespace

uint32_t FieldNumbers::number(const Fields& fields) {
  const auto [it, fresh] = numbers_.emplace(fields, static_cast<uint32_t>(by_number_.size()));
  if (fresh) by_number_.push_back(&it->first);
  return it->second;
}

void Profiles::RulesByMember::add(const std::vector<Member>& who, uint32_t rule) {
  for (const Member& m : who) (m.kind == Member::Kind::group ? group : m.kind == Member::Kind::oncall ? oncall : person)[m.name].push_back(rule);
}

Profiles::Profiles(const Policy& policy, FieldNumbers& numbers)
    : policy_(policy), numbers_(numbers), denied_(numbers.number({{"outcome", "deny"}})) {
  const size_t rules = policy.rules.size(), denies = policy.denies.size();
  for (uint32_t i = 0; i < rules; ++i) {
    terms_.push_back(terms_of(policy.rules[i]));
    find_stuck(i);
    alone_.push_back(terms_[i].at("outcome") == "deny" ? denied_ : numbers.number(terms_[i]));
    rules_by_.add(policy.rules[i].who, i);
  }
  for (uint32_t i = 0; i < denies; ++i) denies_by_.add(policy.denies[i].who, i);
  for (const auto& [group, people] : policy.groups)
    for (const std::string& person : people) groups_of_[person].push_back(group);
  for (const auto& [oncall, people] : policy.oncall)
    for (const std::string& person : people) oncalls_of_[person].push_back(oncall);
  for (const auto& [name, target] : policy.targets) {
    TargetRules& row = targets_[name];
    row = {{none_of(rules), none_of(rules)}, none_of(denies), numbers.number(access_fields(policy, target))};
    for (uint32_t i = 0; i < rules; ++i)
      if (selects(policy.rules[i].targets, target)) set(row.rules[policy.rules[i].during_incident], i);
    for (uint32_t i = 0; i < denies; ++i)
      if (selects(policy.denies[i].targets, target)) set(row.denies, i);
  }
}

// A long list is cut for reading; its hash keeps different lists different.
const Profiles::People& Profiles::people_of(const std::vector<Member>& members) {
  std::string key;
  for (const Member& m : members) key += m.str() + "\n";
  const auto [it, fresh] = people_.try_emplace(key);
  People& people = it->second;
  if (!fresh) return people;
  people.names = policy_.people(members);
  std::string all;
  size_t shown = 0;
  for (const std::string& person : people.names) {
    if (shown++ < kNamesShown) people.text += (people.text.empty() ? "" : ", ") + person;
    all += person + "\n";
  }
  if (shown > kNamesShown) people.text += " and " + std::to_string(shown - kNamesShown) + " more (sha256 " + sha256_hex(all).substr(0, 8) + ")";
  if (people.names.empty()) people.text = "nobody";
  return people;
}

Fields Profiles::terms_of(const Rule& rule) {
  Fields terms{{"outcome", rule.approvals.empty() ? "allow" : "approval"},
               {"longest", render_duration(rule.max_duration.value_or(policy_.max_duration))}};
  std::multiset<std::string> places;
  for (const ApprovalPlace& place : rule.approvals) places.insert(std::to_string(place.count) + " of " + people_of(place.from).text);
  for (const std::string& place : places) terms["approvals"] += (terms["approvals"].empty() ? "" : " and ") + place;
  if (rule.keys != KeyDemand::any) terms["keys"] = std::string(name(rule.keys));
  if (rule.hours) terms["hours"] = rule.hours->str();
  if (rule.during_incident && rule.approvals.empty())
    terms["opener"] = rule.opener_may_use ? "may use it" : "approval of 1 of " + people_of(opener_place(policy_, rule).from).text;
  return terms;
}

// Nobody approves their own: who fills a scarce place may leave it empty for themselves. Where there are more people than places
// in all, one fewer is enough.
void Profiles::find_stuck(uint32_t number) {
  const Rule& rule = policy_.rules[number];
  int places = 0;
  for (const ApprovalPlace& place : rule.approvals) places += place.count;
  std::set<std::string> scarce;
  std::vector<ApprovalPlace> tight;
  for (const ApprovalPlace& place : rule.approvals) {
    const auto& people = people_of(place.from).names;
    if (people.size() > static_cast<size_t>(places)) continue;
    tight.push_back(place);
    scarce.insert(people.begin(), people.end());
  }
  if (!approvals_filled(policy_, tight, scarce)) {
    terms_[number]["outcome"] = "deny";
    return;
  }
  for (const std::string& person : scarce) {
    if (!policy_.is_any(rule.who, person)) continue;
    std::set<std::string> others = scarce;
    others.erase(person);
    if (!approvals_filled(policy_, tight, others)) stuck_.emplace(person, number);
  }
}

PersonRules Profiles::rules_of(const std::string& person) const {
  PersonRules found{none_of(policy_.rules.size()), none_of(policy_.denies.size()), {}};
  const auto add = [](Bits& bits, const RulesByName& table, const std::string& name) {
    if (const auto it = table.find(name); it != table.end())
      for (const uint32_t i : it->second) set(bits, i);
  };
  const auto add_lists = [&](const auto& lists_of, RulesByName RulesByMember::*kind) {
    if (const auto lists = lists_of.find(person); lists != lists_of.end())
      for (const std::string& list : lists->second) {
        add(found.rules, rules_by_.*kind, list);
        add(found.denies, denies_by_.*kind, list);
      }
  };
  add_lists(groups_of_, &RulesByMember::group);
  add_lists(oncalls_of_, &RulesByMember::oncall);
  add(found.rules, rules_by_.person, person);
  add(found.denies, denies_by_.person, person);
  for (auto [it, end] = stuck_.equal_range(person); it != end; ++it) found.stuck.push_back(it->second);
  return found;
}

const TargetRules* Profiles::rules_to(const std::string& target) const {
  const auto found = targets_.find(target);
  return found == targets_.end() ? nullptr : &found->second;
}

uint32_t Profiles::profile(const PersonRules& person, const TargetRules* target, bool incident) {
  if (!target || meet(person.denies, target->denies)) return denied_;
  const Bits& candidates = target->rules[incident];
  // In their order, up to the first that holds at every hour.
  std::vector<uint32_t> rules;
  for (size_t word = 0; word < candidates.size(); ++word)
    for (uint64_t left = candidates[word] & person.rules[word]; left; left &= left - 1) {
      const auto i = static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(left)));
      const bool always = !policy_.rules[i].hours;
      if (always && rules.empty() && person.stuck.empty()) return alone_[i];
      rules.push_back(i);
      if (always) return profile_of_rules(rules, person);
    }
  return rules.empty() ? denied_ : profile_of_rules(rules, person);
}

uint32_t Profiles::profile_of_rules(const std::vector<uint32_t>& rules, const PersonRules& person) {
  const auto is_stuck = [&](uint32_t i) { return std::find(person.stuck.begin(), person.stuck.end(), i) != person.stuck.end(); };
  std::vector<uint32_t> key;
  for (const uint32_t i : rules) key.push_back(2 * i + is_stuck(i));
  const auto [it, fresh] = known_.try_emplace(std::move(key));
  if (!fresh) return it->second;
  Fields all;
  bool any = false;
  for (size_t n = 0; n < rules.size(); ++n) {
    Fields terms = terms_[rules[n]];
    if (is_stuck(rules[n])) terms["outcome"] = "deny";
    any = any || terms["outcome"] != "deny";
    if (rules.size() == 1) all = std::move(terms);
    else
      for (const char* field : {"outcome", "approvals", "opener", "longest", "keys", "hours"}) all[field] += (n == 0 ? "" : " / ") + (terms.contains(field) ? terms[field] : "-");
  }
  return it->second = any ? numbers_.number(all) : denied_;
}

}  // namespace jitwg
