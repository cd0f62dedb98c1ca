#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"
#include "policy/check_policy.h"
#include "policy/policy_reader.h"

namespace jitwg {
namespace {

void read_defaults(PolicyReader& reader, TomlTable& t) {
  using namespace std::chrono_literals;
  Policy& p = reader.policy;
  p.duration = t.duration("duration", 60min);
  p.max_duration = t.duration("max_duration", 90min);
  p.pending_for = t.duration("pending_for", 24h);
  p.activate_within = t.duration("activate_within", 60min);
  reader.has_pools = t.node("pools") != nullptr;
  for (const TomlText& text : t.texts("pools", false)) {
    const auto pool = Prefix::parse(text.text);
    if (pool) reader.default_pools.push_back(*pool);
    else t.problem(text, pool.error().message, pool.error().hint);
  }
}

// All of the file, but for the order and the number of its problems.
void read_all(const toml::table& root, Policy& p, TomlErrors& errors) {
  PolicyReader reader{root, known_names(root), p, errors};
  TomlTable top(root, "policy", errors);
  if (!top.node("version")) top.problem("version", "\"version\" is missing", "version = 1");
  else if (const int64_t version = top.optional_integer("version").value_or(1); version != 1)
    top.problem("version", "version must be 1, not " + std::to_string(version), "this program reads no other");
  p.realm = top.string("realm");
  if (!p.realm.empty() && !is_name(p.realm)) top.problem("realm", "\"" + p.realm + "\" is no plain name", "letters, digits and ._@-");

  const auto section = [&](const std::string& name, auto read) {
    const toml::table* table = top.table(name, "[" + name + "]");
    if (!table) return;
    TomlTable t(*table, name, errors);
    read(t);
    t.finish();
  };
  reader.has_pools = !top.node("defaults");  // missing is what is said then
  if (!top.node("defaults")) top.problem("defaults", "[defaults] is missing", "it needs at least pools = [\"10.90.0.0/16\"]");
  section("defaults", [&](TomlTable& t) { read_defaults(reader, t); });
  p.incident_max_duration = std::chrono::hours{8};
  p.incident_review_within = std::chrono::hours{72};
  section("incidents", [&](TomlTable& t) {
    p.incident_max_duration = t.duration("max_duration", p.incident_max_duration);
    p.incident_review_within = t.duration("review_within", p.incident_review_within);
  });
  for (const char* known : {"groups", "oncall", "gateways", "jump_hosts", "targets", "rule", "deny", "test"}) top.node(known);
  reader.read_people("groups", p.groups);
  reader.read_people("oncall", p.oncall);
  reader.each_table("gateways", &PolicyReader::read_gateway);
  reader.each_table("jump_hosts", &PolicyReader::read_jump_host);
  reader.each_table("targets", &PolicyReader::read_target);
  reader.each_element("rule", &PolicyReader::read_rule);
  reader.each_element("deny", &PolicyReader::read_deny);
  section("rights", [&](TomlTable& t) { reader.read_rights(t); });
  reader.each_element("test", &PolicyReader::read_test);
  top.finish();
}

Result<Policy> policy_or_first_error(PolicyReading reading, std::string_view where) {
  if (reading.policy) return std::move(*reading.policy);
  Error first = reading.errors.front().error(where);
  if (const size_t more = reading.errors.size() - 1 + reading.more_errors)
    first.hint += (first.hint.empty() ? "" : "; ") + std::to_string(more) + " more: jitwg policy check names them";
  return tl::unexpected<Error>(std::move(first));
}

}  // namespace

void order(std::vector<PolicyProblem>& problems) {
  std::stable_sort(problems.begin(), problems.end(), [](const PolicyProblem& a, const PolicyProblem& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
}

PolicyReading read_whole_policy(std::string_view text, bool with_tests) {
  PolicyReading reading;
  const auto root = parse_toml(text);
  if (!root) {
    reading.errors.push_back(root.error());
    return reading;
  }
  TomlErrors errors;
  Policy policy;
  policy.file_sha256 = policy.digest = sha256_hex(text);
  read_all(*root, policy, errors);
  check_between(policy, *root, errors.none(), errors);
  if (errors.none() && with_tests)
    for (const PolicyTest& test : policy.tests)
      if (const auto failure = failure_of(policy, test))
        errors.all.push_back({test.line, 1, printable("test (" + test.person + " to " + test.target + "): " + *failure),
                              "mend the rule or the test; the running policy stays"});
  order(errors.all);
  if (errors.all.size() > limits::kPolicyErrors) {
    reading.more_errors = errors.all.size() - limits::kPolicyErrors;
    errors.all.resize(limits::kPolicyErrors);
  }
  if (errors.none()) reading.policy = std::move(policy);
  reading.errors = std::move(errors.all);
  return reading;
}

Result<Policy> parse_policy(std::string_view toml, std::string_view where) { return policy_or_first_error(read_whole_policy(toml, false), where); }

Result<Policy> load_policy(std::string_view toml, std::string_view where) { return policy_or_first_error(read_whole_policy(toml, true), where); }

}  // namespace jitwg
