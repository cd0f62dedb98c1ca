// Policy as a value (DESIGN §6). Loaded whole or not at all: parses, names only what exists, passes its own tests.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/address.h"
#include "broker/base/error.h"
#include "broker/base/host_names.h"
#include "broker/base/scope.h"
#include "broker/base/time.h"
#include "policy/hours.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg {

struct Gateway {
  std::string name;
  Endpoint endpoint;
  std::string wireguard_key;  // base64
  ssh::PublicKey node_key;
  std::vector<Prefix> pools;  // its sessions' inner addresses: its own, or those of [defaults]
};

struct JumpHost {
  std::string name;
  std::vector<IpAddress> addresses;
  std::vector<ssh::PublicKey> host_keys;
  ssh::PublicKey node_key;
};

struct Target {
  std::string name;
  std::vector<std::string> gateways;
  std::vector<std::string> jump_hosts;
  Scope scope;                        // as written; jump hosts' port 22 is added by resolve()
  std::string login;                  // "{person}" stands for the person; empty without jump hosts
  std::set<std::string> ssh;          // "pty", "forward", "ide", "agent", "x11"
  std::set<std::string> labels;
  HostNames names;                    // each an address that resolve() reaches
  bool nat = false;                   // the target sees the gateway's address, a jump host never
};

// "group:x", "oncall:x", "person:x".
struct Member {
  enum class Kind { group, oncall, person } kind;
  std::string name;
};

// "label:x" or a target's name.
struct TargetSelector {
  bool is_label = false;
  std::string name;
};

// So many distinct people out of these.
struct ApprovalPlace {
  std::vector<Member> from;
  int count = 1;
};

struct Rule {
  std::string name;
  std::vector<Member> who;
  std::vector<TargetSelector> targets;
  std::vector<ApprovalPlace> approvals;  // empty: none needed
  std::optional<Seconds> max_duration;
  std::optional<Hours> hours;
  bool during_incident = false;
  bool opener_may_use = false;
};

struct DenyRule {
  std::string name;
  std::vector<Member> who;
  std::vector<TargetSelector> targets;
};

// Emergency access without the broker (DESIGN §11); who may start it is rights["break_glass"].
struct BreakGlass {
  int count = 0;  // statements needed; 0: not configured
  Seconds max_duration{};
  std::vector<TargetSelector> targets;
};

struct PolicyTest {
  int line = 0;
  std::string person, target;
  std::optional<Seconds> duration;
  WallTime at;
  bool incident = false;
  std::string expect;  // allow | approval | deny
  std::optional<std::vector<std::string>> approvers;
};

struct Policy {
  std::string realm;
  Seconds duration{}, max_duration{}, pending_for{}, activate_within{};
  std::map<std::string, std::set<std::string>> groups, oncall;
  std::map<std::string, Gateway> gateways;
  std::map<std::string, JumpHost> jump_hosts;
  std::map<std::string, Target> targets;
  std::vector<Rule> rules;
  std::vector<DenyRule> denies;
  std::map<std::string, std::vector<Member>> rights;  // incident_open, revoke, lock, nodes, audit_read, …
  BreakGlass break_glass;
  Seconds incident_max_duration{}, incident_review_within{};
  std::vector<PolicyTest> tests;
  std::string digest;  // sha256_hex of the file's bytes

  bool is_member(const Member& member, std::string_view person) const;
  bool is_any(const std::vector<Member>& members, std::string_view person) const;
  bool has_right(std::string_view right, std::string_view person) const;  // absent right: nobody's
  std::set<std::string> people(const std::vector<Member>& members) const;
};

// `where` names the file in errors. bad_policy with line, reason and remedy. Does not run the tests.
Result<Policy> parse_policy(std::string_view toml, std::string_view where);
// Runs policy.tests; the failures as sentences with line numbers.
std::vector<std::string> failing_tests(const Policy& policy, std::string_view where);
// Both: what loading means everywhere.
Result<Policy> load_policy(std::string_view toml, std::string_view where);

}  // namespace jitwg
