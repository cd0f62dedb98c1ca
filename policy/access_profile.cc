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

template <typename Do>
void each(uint64_t word, size_t index, Do what) {
  for (; word; word &= word - 1) what(static_cast<uint32_t>(index * 64 + static_cast<size_t>(std::countr_zero(word))));
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

Profiles::Profiles(const Policy& policy, FieldNumbers& numbers, const TargetNumbers& targets)
    : policy_(policy), numbers_(numbers), denied_(numbers.number({{"outcome", "deny"}})), accesses_(targets.size()) {
  for (uint32_t i = 0; i < policy.rules.size(); ++i) {
    terms_.push_back(terms_of(policy.rules[i]));
    find_stuck(i);
    alone_.push_back(terms_[i].at("outcome") == "deny" ? denied_ : numbers.number(terms_[i]));
    rules_by_.add(policy.rules[i].who, i);
    rule_targets_.push_back(bits_of(policy.rules[i].targets, targets));
  }
  for (uint32_t i = 0; i < policy.denies.size(); ++i) {
    denies_by_.add(policy.denies[i].who, i);
    deny_targets_.push_back(bits_of(policy.denies[i].targets, targets));
  }
  for (const auto& [group, people] : policy.groups)
    for (const std::string& person : people) groups_of_[person].push_back(group);
  for (const auto& [oncall, people] : policy.oncall)
    for (const std::string& person : people) oncalls_of_[person].push_back(oncall);
  for (const auto& [name, target] : policy.targets) accesses_[targets.at(name)] = numbers.number(access_fields(policy, target));
}

Bits Profiles::bits_of(const std::vector<TargetSelector>& selectors, const TargetNumbers& targets) const {
  Bits bits = none_of(targets.size());
  for (const auto& [name, target] : policy_.targets)
    if (selects(selectors, target)) set(bits, targets.at(name));
  return bits;
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
  PersonRules found{{}, none_of(accesses_.size()), {}};
  const auto each_of = [](const RulesByName& table, const std::string& name, auto what) {
    if (const auto it = table.find(name); it != table.end())
      for (const uint32_t i : it->second) what(i);
  };
  const auto add = [&](RulesByName RulesByMember::*kind, const std::string& name) {
    each_of(rules_by_.*kind, name, [&](uint32_t i) { found.rules.push_back(i); });
    each_of(denies_by_.*kind, name, [&](uint32_t i) {
      for (size_t word = 0; word < found.denied.size(); ++word) found.denied[word] |= deny_targets_[i][word];
    });
  };
  if (const auto lists = groups_of_.find(person); lists != groups_of_.end())
    for (const std::string& list : lists->second) add(&RulesByMember::group, list);
  if (const auto lists = oncalls_of_.find(person); lists != oncalls_of_.end())
    for (const std::string& list : lists->second) add(&RulesByMember::oncall, list);
  add(&RulesByMember::person, person);
  std::sort(found.rules.begin(), found.rules.end());
  found.rules.erase(std::unique(found.rules.begin(), found.rules.end()), found.rules.end());
  for (auto [it, end] = stuck_.equal_range(person); it != end; ++it) found.stuck.push_back(it->second);
  return found;
}

void Profiles::profiles(const PersonRules& person, bool incident, std::vector<uint32_t>& by_target) {
  by_target.assign(accesses_.size(), denied_);
  chain_of_.assign(accesses_.size(), 0);
  Bits open = person.denied;  // what no rule has decided yet at every hour
  for (uint64_t& word : open) word = ~word;
  for (const uint32_t i : person.rules) {
    if (policy_.rules[i].during_incident != incident) continue;
    const bool always = !policy_.rules[i].hours;
    const bool is_stuck = std::find(person.stuck.begin(), person.stuck.end(), i) != person.stuck.end();
    const uint32_t step = 2 * i + is_stuck, alone = is_stuck ? denied_ : alone_[i];
    for (size_t word = 0; word < open.size(); ++word) {
      const uint64_t hit = open[word] & rule_targets_[i][word];
      if (!hit) continue;
      each(hit, word, [&](uint32_t target) {
        uint32_t& chain = chain_of_[target];
        if (always && chain == 0) {
          by_target[target] = alone;
        } else {
          chain = longer(chain, step);
          by_target[target] = profile_of(chain);
        }
      });
      if (always) open[word] &= ~hit;
    }
  }
}

uint32_t Profiles::longer(uint32_t chain, uint32_t step) {
  const auto [it, fresh] = longer_.try_emplace(uint64_t{chain} << 32 | step, static_cast<uint32_t>(chains_.size()));
  if (fresh) {
    std::vector<uint32_t> steps = chains_[chain];
    steps.push_back(step);
    chains_.push_back(std::move(steps));
  }
  return it->second;
}

uint32_t Profiles::profile_of(uint32_t chain) {
  if (chain_profiles_.size() <= chain) chain_profiles_.resize(chain + 1);
  if (chain_profiles_[chain]) return *chain_profiles_[chain];
  const std::vector<uint32_t>& steps = chains_[chain];
  Fields all;
  bool any = false;
  for (size_t n = 0; n < steps.size(); ++n) {
    Fields terms = terms_[steps[n] / 2];
    if (steps[n] % 2 == 1) terms["outcome"] = "deny";
    any = any || terms["outcome"] != "deny";
    if (steps.size() == 1) all = std::move(terms);
    else
      for (const char* field : {"outcome", "approvals", "opener", "longest", "keys", "hours"})
        all[field] += (n == 0 ? "" : " / ") + (terms.contains(field) ? terms[field] : "-");
  }
  chain_profiles_[chain] = any ? numbers_.number(all) : denied_;
  return *chain_profiles_[chain];
}

}  // namespace jitwg
