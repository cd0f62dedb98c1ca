// What a policy lets a person do with a target, at any hour, as one number: equal numbers, equal access. For policies of
// thousands of targets and people, where asking decide() for each pair is too slow. For policy_diff.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/policy.h"

namespace jitwg {

using Fields = std::map<std::string, std::string>;  // as shown to people

// Numbers for what is equal, common to the policies that are compared.
class FieldNumbers {
 public:
  uint32_t number(const Fields& fields);
  const Fields& fields(uint32_t number) const { return *by_number_.at(number); }

 private:
  std::map<Fields, uint32_t> numbers_;
  std::vector<const Fields*> by_number_;  // into numbers_, whose nodes stay
};

using Bits = std::vector<uint64_t>;
using TargetNumbers = std::map<std::string, uint32_t>;  // of all policies that are compared

// What bears on one person.
struct PersonRules {
  std::vector<uint32_t> rules;  // in their order
  Bits denied;                  // targets
  std::vector<uint32_t> stuck;  // those of the rules whose approvals nobody else could give
};

class Profiles {
 public:
  Profiles(const Policy& policy, FieldNumbers& numbers, const TargetNumbers& targets);

  PersonRules rules_of(const std::string& person) const;
  // The profile for each target, by the rules that hold in an incident or by the others. A target that there is not: denied.
  void profiles(const PersonRules& person, bool incident, std::vector<uint32_t>& by_target);
  // How the target is reached, the person's own name as {person}; nothing: there is no such target.
  std::optional<uint32_t> access(uint32_t target) const { return accesses_[target]; }

  // People, each with the number of a rule under which nobody else could approve for them.
  const std::multimap<std::string, uint32_t>& stuck() const { return stuck_; }

 private:
  struct People {
    std::set<std::string> names;
    std::string text;
  };
  using RulesByName = std::map<std::string, std::vector<uint32_t>>;
  struct RulesByMember {
    RulesByName group, oncall, person;
    void add(const std::vector<Member>& who, uint32_t rule);
  };

  const People& people_of(const std::vector<Member>& members);
  Fields terms_of(const Rule& rule);
  void find_stuck(uint32_t rule);
  Bits bits_of(const std::vector<TargetSelector>& selectors, const TargetNumbers& targets) const;
  uint32_t longer(uint32_t chain, uint32_t step);
  uint32_t profile_of(uint32_t chain);

  const Policy& policy_;
  FieldNumbers& numbers_;
  uint32_t denied_;
  std::map<std::string, People> people_;  // by the members as written
  std::vector<Fields> terms_;             // of each rule
  std::vector<uint32_t> alone_;           // the profile of a rule that decides alone
  std::vector<Bits> rule_targets_, deny_targets_;
  std::vector<std::optional<uint32_t>> accesses_;
  RulesByMember rules_by_, denies_by_;
  std::map<std::string, std::vector<std::string>> groups_of_, oncalls_of_;  // by person
  std::multimap<std::string, uint32_t> stuck_;

  // Rules with hours, and what decides at others: numbered lists, of 2 x rule, + 1 if stuck. 0 is the empty one.
  std::vector<std::vector<uint32_t>> chains_ = {{}};
  std::unordered_map<uint64_t, uint32_t> longer_;
  std::vector<std::optional<uint32_t>> chain_profiles_;
  std::vector<uint32_t> chain_of_;  // by target, while profiles() runs
};

}  // namespace jitwg
