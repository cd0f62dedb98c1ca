// What a policy lets a person do with a target, at any hour, as one number: equal numbers, equal access. For policies of
// thousands of targets and people, where asking decide() for each pair is too slow. For policy_diff.
#pragma once

#include <cstdint>
#include <map>
#include <string>
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

// The rules and denies that a person is among the people of.
struct PersonRules {
  Bits rules, denies;
  std::vector<uint32_t> stuck;  // those of the rules whose approvals nobody else could give
};

struct TargetRules {
  Bits rules[2], denies;  // rules: those for other times, those for an incident
  uint32_t access = 0;    // the person's own name as {person}
};

class Profiles {
 public:
  Profiles(const Policy& policy, FieldNumbers& numbers);

  PersonRules rules_of(const std::string& person) const;
  const TargetRules* rules_to(const std::string& target) const;  // null: there is no such target
  // By the rules that hold in an incident, or by the others.
  uint32_t profile(const PersonRules& person, const TargetRules* target, bool incident);

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
  uint32_t profile_of_rules(const std::vector<uint32_t>& rules, const PersonRules& person);

  const Policy& policy_;
  FieldNumbers& numbers_;
  uint32_t denied_;
  std::map<std::string, People> people_;  // by the members as written
  std::vector<Fields> terms_;             // of each rule
  std::vector<uint32_t> alone_;           // the profile of a rule that decides alone
  std::map<std::string, TargetRules> targets_;
  RulesByMember rules_by_, denies_by_;
  std::map<std::string, std::vector<std::string>> groups_of_, oncalls_of_;  // by person
  std::multimap<std::string, uint32_t> stuck_;
  std::map<std::vector<uint32_t>, uint32_t> known_;  // by 2 x rule, + 1 if stuck
};

}  // namespace jitwg
