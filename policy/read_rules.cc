// Rules, denies, rights and tests: what refers to people and targets.
#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"
#include "policy/policy_reader.h"

namespace jitwg {
namespace {

constexpr const char* kMemberHint = "write group:NAME, oncall:NAME or person:NAME";

}  // namespace

std::optional<Member> PolicyReader::member_of(TomlTable& t, const TomlText& at) {
  const size_t colon = at.text.find(':');
  const std::string kind = at.text.substr(0, colon), name = colon == std::string::npos ? "" : at.text.substr(colon + 1);
  if (!is_name(name) || (kind != "group" && kind != "oncall" && kind != "person")) {
    const std::string near = nearest(kind, {"group", "oncall", "person"});
    t.problem(at, "\"" + at.text + "\" names nobody",
              known.groups.contains(at.text) ? "write group:" + at.text : colon != std::string::npos && kind.size() > 0 && !near.empty() && name.size() > 0 ? near : kMemberHint);
    return std::nullopt;
  }
  if (kind == "person") return Member{Member::Kind::person, name};
  const bool group = kind == "group";
  if (const Words& names = group ? known.groups : known.oncall; !names.contains(name))
    t.problem(at, "there is no " + std::string(group ? "group" : "on-call") + " \"" + name + "\"", suggest(name, names));
  return Member{group ? Member::Kind::group : Member::Kind::oncall, name};
}

std::vector<Member> PolicyReader::members_of(TomlTable& t, std::string_view key) {
  const bool there = t.node(key) != nullptr;
  const auto texts = t.texts(key);
  if (there && texts.empty()) t.problem(key, "nobody", kMemberHint);
  std::vector<Member> members;
  for (const TomlText& text : texts)
    if (auto member = member_of(t, text)) members.push_back(std::move(*member));
  return members;
}

std::vector<TargetSelector> PolicyReader::targets_of(TomlTable& t) {
  const bool there = t.node("targets") != nullptr;
  const auto texts = t.texts("targets");
  if (there && texts.empty()) t.problem("targets", "no targets", "write a target's name or label:NAME");
  std::vector<TargetSelector> selectors;
  for (const TomlText& at : texts) {
    const TargetSelector selector = TargetSelector::parse(at.text);
    if (selector.is_label && !known.labels.contains(selector.name))
      t.problem(at, "no target has the label \"" + selector.name + "\"", suggest(selector.name, known.labels));
    if (!selector.is_label && !known.targets.contains(selector.name))
      t.problem(at, "there is no target \"" + selector.name + "\"",
                known.labels.contains(selector.name) ? "write label:" + selector.name : suggest(selector.name, known.targets));
    selectors.push_back(selector);
  }
  return selectors;
}

// Rules' names are shown to everybody who is refused.
std::string PolicyReader::rule_name(TomlTable& t) {
  const std::string name = t.string("name");
  if (escape_for_terminal(name) != name) t.problem("name", "the name holds characters that a terminal would not show", "letters, digits, blanks");
  if (name.size() > limits::kReasonCharacters) t.problem("name", "a name of " + std::to_string(name.size()) + " bytes", "a line is enough");
  return name;
}

std::optional<ApprovalPlace> PolicyReader::read_place(const toml::node& node) {
  const toml::table* table = node.as_table();
  if (!table) {
    errors.add(node, "what is no approval", "write { from = \"group:NAME\", count = 1 }");
    return std::nullopt;
  }
  TomlTable t(*table, "approvals", errors);
  ApprovalPlace place;
  if (const toml::node* from = t.node("from"); from && from->is_string()) {
    if (auto member = member_of(t, {t.string("from"), from})) place.from.push_back(std::move(*member));
  } else {
    place.from = members_of(t, "from");
  }
  place.count = t.integer_in("count", 1, static_cast<int>(limits::kDecisions), 1);
  t.finish();
  return place;
}

std::vector<ApprovalPlace> PolicyReader::read_approvals(TomlTable& t, Rule& rule) {
  const toml::node* node = t.node("approvals");
  const bool named = t.node("approvers") != nullptr;
  if (!node) {
    t.problem("approvals", "\"approvals\" is missing", "0 must be written");
    return {};
  }
  if (const toml::array* array = node->as_array()) {
    if (named) t.problem("approvers", "\"approvals\" is a list, and says itself who approves", "leave approvers out");
    if (array->empty()) t.problem("approvals", "an empty list of approvals", "write approvals = 0 if none are needed");
    std::vector<ApprovalPlace> places;
    int total = 0;
    for (const toml::node& element : *array)
      if (auto place = read_place(element)) {
        total += place->count;
        places.push_back(std::move(*place));
      }
    if (total > static_cast<int>(limits::kDecisions))
      t.problem("approvals", std::to_string(total) + " approvals are out of range", "0 to " + std::to_string(limits::kDecisions));
    return places;
  }
  if (!node->is_integer()) {
    t.problem("approvals", "\"approvals\" must be a number or a list", "write 1, or [{ from = \"group:NAME\", count = 1 }]");
    return {};
  }
  const int count = t.integer_in("approvals", 0, static_cast<int>(limits::kDecisions), -1);
  if (count < 0) return {};
  if (count > 0) return {{members_of(t, "approvers"), count}};
  if (named) rule.opener_approvers = members_of(t, "approvers");
  if (named && !rule.during_incident) t.problem("approvers", "approvers, though no approval is needed", "approvals = 1, or leave approvers out");
  if (named && rule.opener_may_use) t.problem("approvers", "approvers, though who opened the incident needs none", "leave out approvers, or opener_may_use");
  return {};
}

void PolicyReader::read_rule(TomlTable& t) {
  Rule rule{.name = rule_name(t), .who = members_of(t, "who"), .targets = targets_of(t), .max_duration = t.optional_duration("max_duration")};
  if (t.node("hours")) rule.hours = t.parsed<Hours>("hours", Hours::parse);
  t.choice("during", {"incident"});
  rule.during_incident = t.node("during") != nullptr;
  rule.opener_may_use = t.flag("opener_may_use");
  if (rule.opener_may_use && !rule.during_incident) t.problem("opener_may_use", "only a rule with during = \"incident\" has an opener", "leave it out");
  rule.approvals = read_approvals(t, rule);
  if (const std::string keys = t.choice("keys", {"sk", "verify-required"}); !keys.empty())
    rule.keys = keys == "sk" ? KeyDemand::sk : KeyDemand::verify_required;
  rule.line = t.line();
  policy.rules.push_back(std::move(rule));
}

void PolicyReader::read_deny(TomlTable& t) { policy.denies.push_back({rule_name(t), members_of(t, "who"), targets_of(t), t.line()}); }

void PolicyReader::read_break_glass(TomlTable& t) {
  BreakGlass& glass = policy.break_glass;
  policy.rights["break_glass"] = members_of(t, "from");
  if (!t.node("count")) t.problem("count", "\"count\" is missing", "how many people must sign");
  glass.count = t.integer_in("count", 1, static_cast<int>(limits::kDecisions), 1);
  glass.max_duration = t.parsed<Seconds>("max_duration", parse_duration).value_or(Seconds{0});
  glass.targets = targets_of(t);
}

void PolicyReader::read_rights(TomlTable& t) {
  for (const char* right : {"incident_open", "incident_close", "revoke", "lock", "nodes", "audit_read"})
    if (t.node(right)) policy.rights[right] = members_of(t, right);
  if (const toml::table* table = t.table("break_glass", "{ from = [\"group:NAME\"], count = 2, max_duration = \"2h\", targets = [\"label:NAME\"] }")) {
    TomlTable glass(*table, "rights.break_glass", errors);
    read_break_glass(glass);
    glass.finish();
  }
}

// The people of synced lists as one test sees them. Other groups are what the policy says, in tests as well.
void PolicyReader::read_test_lists(TomlTable& t, const std::string& section, PeopleByName& into) {
  const toml::table* table = t.table(section, section + " = { NAME = [\"alice\"] }");
  if (!table) return;
  TomlTable lists(*table, "test." + section, errors);
  for (const auto& [key, value] : *table) {
    const std::string title = section + "." + std::string(key.str());
    const auto is_it = [&](const SyncedList& list) { return list.title() == title; };
    if (std::none_of(policy.lists.begin(), policy.lists.end(), is_it))
      errors.add(key.source(), title + " does not come from a file", "a test brings the people of synced lists, and of no others");
    into[std::string(key.str())] = people_of(lists, key.str());
  }
}

void PolicyReader::read_test(TomlTable& t) {
  PolicyTest test{.line = t.line(), .person = t.string("person"), .target = t.string("target"), .duration = t.optional_duration("for"),
                  .at = t.parsed<WallTime>("at", parse_time_with_offset).value_or(WallTime{}), .incident = t.flag("incident"),
                  .opened_by = t.optional_string("opened_by").value_or("")};
  if (!test.person.empty() && !is_name(test.person)) t.problem("person", "\"" + test.person + "\" is no plain name", "letters, digits and ._@-");
  if (!test.target.empty() && !known.targets.contains(test.target))
    t.problem("target", "there is no target \"" + test.target + "\"", suggest(test.target, known.targets));
  if (!test.opened_by.empty() && !test.incident) t.problem("opened_by", "only an incident is opened by somebody", "incident = true");
  test.expect = t.choice("expect", {"allow", "approval", "deny"});
  if (!t.node("expect")) t.problem("expect", "\"expect\" is missing", "allow, approval or deny");
  if (t.node("approvers")) {
    test.approvers.emplace();
    for (const TomlText& person : t.texts("approvers")) test.approvers->push_back(person.text);
  }
  read_test_lists(t, "groups", test.groups);
  read_test_lists(t, "oncall", test.oncall);
  policy.tests.push_back(std::move(test));
}

}  // namespace jitwg
