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
#include "broker/base/json.h"
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
  std::string str() const;  // as written
};

// "label:x" or a target's name.
struct TargetSelector {
  bool is_label = false;
  std::string name;
  static TargetSelector parse(std::string_view text);  // any text: whether it exists is the policy's to say
};

// So many distinct people out of these.
struct ApprovalPlace {
  std::vector<Member> from;
  int count = 1;
};

// Whose keys count under a rule, requester's and approvers' alike: sk-… keys of FIDO2 hardware, and such keys whose
// signature says that the hardware verified its user (PIN, biometry): PubkeyAuthOptions in sshd_config(5).
enum class KeyDemand { any, sk, verify_required };
std::string_view name(KeyDemand keys);

struct Rule {
  std::string name;
  std::vector<Member> who;
  std::vector<TargetSelector> targets;
  std::vector<ApprovalPlace> approvals;  // empty: none needed
  std::optional<Seconds> max_duration;
  std::optional<Hours> hours;
  bool during_incident = false;
  bool opener_may_use = false;
  std::vector<Member> opener_approvers;  // with no approvals: who approves for the one who opened the incident
  KeyDemand keys = KeyDemand::any;
  int line = 0;
};

struct DenyRule {
  std::string name;
  std::vector<Member> who;
  std::vector<TargetSelector> targets;
  int line = 0;
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
  std::string opened_by;  // of the incident; empty: somebody else than the person
  std::string expect;  // allow | approval | deny
  std::optional<std::vector<std::string>> approvers;
  std::map<std::string, std::set<std::string>> groups, oncall;  // people of synced lists, in this test only
};

// A list of people that an external sync writes: `platform = { file = "…", max_age = "26h" }` below [groups] or [oncall].
struct SyncedList {
  bool oncall = false;  // else a group
  std::string name;
  std::string path;  // as written: absolute, or seen from the policy file's directory
  Seconds max_age{};
  // What take_lists() made of it. A list that is missing, bad or stale is empty.
  std::string problem = {};               // why it is empty; empty itself when the list counts
  std::optional<WallTime> stale_at = {};  // when it will cease to count
  std::string title() const { return (oncall ? "oncall." : "groups.") + name; }
};
struct SyncedFile {
  std::string bytes;
  WallTime modified;
};
// By the path as written; an error stands for a file that was not there, or not to be trusted.
using SyncedFiles = std::map<std::string, Result<SyncedFile>>;

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
  std::vector<SyncedList> lists;
  std::string file_sha256;  // hex, of the file's bytes
  std::string digest;       // the same; with synced lists, over file and lists (take_lists)

  bool is_member(const Member& member, std::string_view person) const;
  bool is_any(const std::vector<Member>& members, std::string_view person) const;
  bool has_right(std::string_view right, std::string_view person) const;  // absent right: nobody's
  std::set<std::string> people(const std::vector<Member>& members) const;
  std::optional<WallTime> stale_at() const;  // the first moment at which a list ceases to count: take_lists() is due again
};

// One thing that is wrong with a policy file. `message` and `hint` are safe to show.
struct PolicyProblem {
  int line = 0, column = 0;
  std::string message;
  std::string hint;  // what would be right

  Error error(std::string_view where) const;  // bad_policy, "where:line:column: message"
};

// All that can be said of a file at once, in the order of its lines. Errors: there is no policy.
struct PolicyReading {
  std::optional<Policy> policy;
  std::vector<PolicyProblem> errors;  // the first limits::kPolicyErrors of them
  size_t more_errors = 0;
  std::vector<PolicyProblem> warnings;  // it loads, but hardly means what it says
};
// With the policy's own tests.
PolicyReading check_policy(std::string_view toml);
// Without them. `where` names the file in the error: its first one.
Result<Policy> parse_policy(std::string_view toml, std::string_view where);
// With them: what loading means everywhere.
Result<Policy> load_policy(std::string_view toml, std::string_view where);

// Puts the people of `files` into the policy's synced lists, as they count at `now`; never fails, for what cannot be read is
// an empty list with its problem named. Until it is called they are empty. One name a line, `#` starts a comment. The digest
// then is what `sha256sum policy.toml groups.NAME… oncall.NAME… | sha256sum` says of the policy's file and of each list's names,
// sorted, one a line.
void take_lists(Policy& policy, const SyncedFiles& files, WallTime now);
// {path: {"content": base64, "modified": time}}, or {path: {"error": …}}: as the signer hands them to the broker, and the broker to
// people.
json::value render_lists(const SyncedFiles& files);
Result<SyncedFiles> parse_lists(const json::value& value);
// Why a test of the policy fails; nothing: it passes. Synced lists are empty but for the people that the test brings itself, so
// that what loads does not hang on a sync.
std::optional<std::string> failure_of(const Policy& policy, const PolicyTest& test);

}  // namespace jitwg
