// Who may forbid, and who may allow again.
#include <algorithm>

#include "policy/incident.h"
#include "ssh-ca/signer/rules.h"

namespace jitwg::signer {
namespace {

using enum Subject::Kind;

struct Bench {
  const Realm& realm;
  const Memory& memory;
  WallTime now;

  Result<void> need(std::string_view right, const std::string& person, const std::string& what) const {
    if (realm.policy.has_right(right, person)) return {};
    return fail(Code::not_permitted, person + " may not " + what, "[rights] " + std::string(right) + " says who may");
  }

  // A slip of the pen must not look like a lock that holds.
  Result<void> check_exists(const Subject& what) const {
    const std::string quoted = "\"" + what.name + "\"";
    if (what.kind == person && !realm.people.knows_person(what.name))
      return fail(Code::unknown_person, "there is nobody called " + quoted);
    if (what.kind == target && !realm.policy.targets.contains(what.name))
      return fail(Code::unknown_target, "there is no target " + quoted);
    if (what.kind == node && !realm.policy.gateways.contains(what.name) && !realm.policy.jump_hosts.contains(what.name))
      return fail(Code::wrong_node, "there is no gateway or jump host " + quoted);
    if (what.kind == incident) return find(*SessionId::parse(what.name)).map([](const Incident*) {});
    return {};
  }

  Result<const Incident*> find(const SessionId& id) const {
    if (const Incident* found = memory.incident(id)) return found;
    return fail(Code::unknown_incident, "there is no incident " + id.str());
  }

  Result<void> operator()(const RevokeStatement& s) const {
    const std::string& by = s.head.by;
    JITWG_TRY(check_exists(s.what));
    if (realm.policy.has_right("revoke", by) || (s.what.kind == person && s.what.name == by)) return {};
    if (s.what.kind == node && realm.policy.has_right("nodes", by)) return {};
    if (s.what.kind == incident && realm.policy.has_right("incident_close", by)) return {};
    if (s.what.kind != session) return need("revoke", by, "revoke " + s.what.str());
    // One's own session, or one that one approved.
    const Issued* issued = memory.issued(*SessionId::parse(s.what.name));
    if (!issued || issued->people.contains(by)) return {};
    return fail(Code::not_permitted, by + " may not revoke this session", "its person, its approvers, and [rights] revoke may");
  }

  Result<void> operator()(const LockStatement& s) const {
    JITWG_TRY(check_exists(s.what));
    if (s.what.kind == person && s.what.name == s.head.by) return {};
    return need("lock", s.head.by, "lock " + s.what.str());
  }

  Result<void> operator()(const UnlockStatement& s) const {
    JITWG_TRY(need("lock", s.head.by, "unlock " + s.what.str()));
    const Lock* lock = memory.lock(s.what);
    if (!lock) return fail(Code::wrong_state, s.what.str() + " is not locked");
    // One that was signed for an earlier lock, and held back. No skew is allowed for: a lock in doubt holds.
    if (s.head.at < lock->at)
      return fail(Code::bad_order, "the unlock is older than the lock", "look at the lock, check both clocks, and sign a new one");
    return {};
  }

  Result<void> operator()(const IncidentOpenStatement& s) const {
    JITWG_TRY(need("incident_open", s.head.by, "open incidents"));
    if (memory.incident(s.incident)) return fail(Code::replay, "incident " + s.incident.str() + " was opened before");
    JITWG_TRY(check_incident_names(realm.policy, s.targets));
    JITWG_TRY(check_incident_end(realm.policy, s.head.at, s.until));
    if (s.until <= now) return fail(Code::stale, "the incident ended at " + render_time(s.until));
    return {};
  }

  Result<void> operator()(const IncidentExtendStatement& s) const {
    JITWG_TRY(need("incident_open", s.head.by, "extend incidents"));
    JITWG_TRY(check_open(s.incident));
    JITWG_TRY(check_incident_end(realm.policy, s.head.at, s.until));
    if (s.until <= now) return fail(Code::stale, "the new end is past already");
    return {};
  }

  Result<void> operator()(const IncidentCloseStatement& s) const {
    JITWG_TRY(need("incident_close", s.head.by, "close incidents"));
    return check_open(s.incident);
  }

  bool is_claim(const Statement& statement) const {
    const auto* revoke = std::get_if<RevokeStatement>(&statement);
    return revoke && revoke->what.kind == session && !memory.issued(*SessionId::parse(revoke->what.name)) &&
           !realm.policy.has_right("revoke", revoke->head.by);
  }

  // Past its end it can be extended still, and closed.
  Result<void> check_open(const SessionId& id) const {
    JITWG_ASSIGN(const Incident* found, find(id));
    if (found->closed) return fail(Code::wrong_state, "incident " + id.str() + " is closed", "open a new one");
    return {};
  }

  template <typename Other>
  Result<void> operator()(const Other&) const {
    return fail(Code::unknown_type, "this kind of statement is not for the signer to apply",
                "revoke, lock, unlock, incident_open, incident_extend and incident_close are");
  }
};

}  // namespace

Result<Applicable> check_apply(const ssh::SignedDocument& document, const Realm& realm, const Memory& memory, WallTime now) {
  JITWG_ASSIGN(VerifiedStatement verified, verify_here(document, realm, memory, now));
  const bool issued = std::holds_alternative<RequestStatement>(verified.statement) || std::holds_alternative<DecisionStatement>(verified.statement);
  const Bench bench{realm, memory, now};
  // What was applied already was judged when it came.
  if (issued || !memory.nonce_digest(head_of(verified.statement).nonce)) JITWG_TRY(std::visit(bench, verified.statement));
  const bool claim = bench.is_claim(verified.statement);
  return Applicable{std::move(verified), claim};
}

}  // namespace jitwg::signer
