// The parts of a policy file, each read into `policy`, what is wrong with them into `errors`. What refers to something is checked
// where it stands.
#pragma once

#include "policy/policy.h"
#include "policy/toml_reader.h"

namespace jitwg {

using PeopleByName = std::map<std::string, std::set<std::string>>;

// What the file names anywhere, also where the thing itself is faulty: one mistake is said once.
struct KnownNames {
  Words groups, oncall, gateways, jump_hosts, targets, labels;
};
KnownNames known_names(const toml::table& root);

struct PolicyReader {
  const toml::table& root;
  KnownNames known;
  Policy& policy;
  TomlErrors& errors;

  void each_table(const std::string& name, void (PolicyReader::*read)(const std::string& name, TomlTable& t));  // [name.X]
  void each_element(const std::string& name, void (PolicyReader::*read)(TomlTable& t));                         // [[name]]

  void read_people(const std::string& section, PeopleByName& into);  // [groups], [oncall]
  void read_gateway(const std::string& name, TomlTable& t);
  void read_jump_host(const std::string& name, TomlTable& t);
  void read_target(const std::string& name, TomlTable& t);
  void read_rule(TomlTable& t);
  void read_deny(TomlTable& t);
  void read_rights(TomlTable& t);
  void read_test(TomlTable& t);

  std::vector<Prefix> default_pools = {};
  bool has_pools = false;  // [defaults] says something of pools, right or wrong

 private:
  std::set<std::string> people_of(TomlTable& t, std::string_view key);
  void read_list(const toml::table& table, bool oncall, const std::string& name);
  std::vector<std::string> names_of(TomlTable& t, std::string_view key, bool mandatory, const Words& known, const std::string& what);
  std::vector<Member> members_of(TomlTable& t, std::string_view key);
  std::optional<Member> member_of(TomlTable& t, const TomlText& text);
  std::vector<TargetSelector> targets_of(TomlTable& t);
  std::string rule_name(TomlTable& t);
  std::vector<ApprovalPlace> read_approvals(TomlTable& t, Rule& rule);
  std::optional<ApprovalPlace> read_place(const toml::node& node);
  void read_break_glass(TomlTable& t);
  void read_test_lists(TomlTable& t, const std::string& section, PeopleByName& into);
};

}  // namespace jitwg
