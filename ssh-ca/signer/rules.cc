#include "ssh-ca/signer/rules.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "policy/incident.h"

namespace jitwg::signer {
namespace {

// A key that serves a session must serve nothing else, ever.
Result<void> check_keys_are_new(const RequestStatement& request, const Realm& realm, const Memory& memory) {
  const auto reused = [](std::string what) {
    return fail(Code::key_reused, std::move(what), "make new session keys for each request");
  };
  if (memory.key_seen(request.wg_public_key)) return reused("this WireGuard key served another session");
  if (memory.key_seen(request.ssh_public_key.str())) return reused("this SSH key served another session");
  if (realm.ca.contains(request.ssh_public_key)) return reused("this SSH key is the CA's");
  if (realm.people.knows_key(request.ssh_public_key)) return reused("this SSH key is somebody's identity key");
  for (const auto& [name, gateway] : realm.policy.gateways) {
    if (gateway.node_key == request.ssh_public_key) return reused("this SSH key is the node key of " + name);
    if (gateway.wireguard_key == request.wg_public_key) return reused("this WireGuard key is the gateway's, " + name);
  }
  for (const auto& [name, host] : realm.policy.jump_hosts)
    if (host.node_key == request.ssh_public_key ||
        std::find(host.host_keys.begin(), host.host_keys.end(), request.ssh_public_key) != host.host_keys.end())
      return reused("this SSH key belongs to " + name);
  return {};
}

Result<void> check_keys(KeyDemand wanted, const VerifiedStatement& verified, const std::string& rule) {
  const ssh::SignedBy& by = verified.signed_by;
  if (wanted == KeyDemand::any || (by.key.is_hardware() && (wanted == KeyDemand::sk || by.user_verified))) return {};
  return fail(Code::hardware_key_wanted,
              "the rule \"" + rule + "\" wants " +
                  (wanted == KeyDemand::sk ? "signatures by hardware keys" : "hardware keys that ask for a PIN or a finger") + ", " +
                  head_of(verified.statement).by + " signed with " + by.key.fingerprint() + " (" + std::string(name(by.key.type())) + ")",
              wanted == KeyDemand::sk ? "ssh-keygen -t ed25519-sk makes one" : "ssh-keygen -t ed25519-sk -O verify-required makes one");
}

// One decision against the request and against what policy says now.
Result<DecisionStatement> check_decision(const ssh::SignedDocument& document, const VerifiedStatement& request,
                                         const Verdict& verdict, const Realm& realm, const Memory& memory, WallTime now) {
  JITWG_ASSIGN(const VerifiedStatement verified, verify_here(document, realm, memory, now));
  const auto* decision = std::get_if<DecisionStatement>(&verified.statement);
  if (!decision) return fail(Code::unknown_type, "a " + std::string(type_of(verified.statement)) + " in place of a decision");
  const auto& asked = std::get<RequestStatement>(request.statement);
  if (decision->session != asked.session || decision->request_sha256 != request.digest)
    return fail(Code::wrong_request, decision->head.by + " decided about another request, or other bytes of it");
  if (decision->head.by == asked.head.by)
    return fail(Code::self_approval, asked.head.by + " decided about their own request", "another person must approve");
  // Two people's clocks: their order is known to within the skew only. That the decision came after the request is
  // proven by the request's hash in it.
  if (decision->head.at + limits::kClockSkew < asked.head.at)
    return fail(Code::bad_order, "the decision is older than the request", "check the clocks of both people");
  if (decision->choice == Choice::deny)
    return fail(Code::decision_denied, decision->head.by + " denied it");
  if (!verdict.approvers.contains(decision->head.by))
    return fail(Code::not_approver, decision->head.by + " is not among the approvers");
  if (decision->access != verdict.access)
    return fail(Code::scope_changed, "policy resolves to other access than " + decision->head.by + " approved",
                "ask and approve again");
  JITWG_TRY(check_keys(verdict.keys, verified, verdict.rule));
  return *decision;
}

// The incident that a request names, open and about its target.
Result<const Incident*> find_incident(const RequestStatement& request, const Realm& realm, const Memory& memory, WallTime now) {
  const Incident* incident = memory.incident(*request.incident);
  const std::string which = "incident " + request.incident->str();
  if (!incident) return fail(Code::no_incident, "there is no " + which, "open it: jitwg incident open");
  if (incident->closed) return fail(Code::no_incident, which + " is closed");
  if (now + limits::kMinDuration > incident->until)
    return fail(Code::no_incident, which + " ended at " + render_time(incident->until), "extend it: jitwg incident extend");
  if (!incident_covers(realm.policy, incident->targets, request.target))
    return fail(Code::no_incident, which + " is not about " + request.target);
  return incident;
}

// A locked jump host is left out as long as another one remains: less than was approved, never more.
Result<Access> without_locked(const Access& access, const RequestStatement& request, const Realm& realm, const Memory& memory) {
  Target target = realm.policy.targets.at(request.target);
  Result<void> locked;
  std::erase_if(target.jump_hosts, [&](const std::string& host) {
    const auto free = memory.check_not_locked({Subject::Kind::node, host});
    if (!free) locked = free;
    return !free;
  });
  if (locked) return access;
  if (target.jump_hosts.empty()) return tl::unexpected<Error>(locked.error());
  return resolve(realm.policy, target, request.head.by);
}

}  // namespace

Result<VerifiedStatement> verify_here(const ssh::SignedDocument& document, const Realm& realm, const Memory& memory, WallTime now) {
  JITWG_ASSIGN(VerifiedStatement verified, verify_statement(document, realm.people, realm.policy.realm, now));
  const StatementHead& head = head_of(verified.statement);
  JITWG_TRY(realm.people.person_of(verified.signed_by.key, now));
  const std::string* digest = memory.nonce_digest(head.nonce);
  if (digest && *digest != verified.digest)
    return fail(Code::replay, "this nonce was used by another statement", "sign a new statement");
  JITWG_TRY(memory.check_not_locked({Subject::Kind::person, head.by}));
  return verified;
}

std::string digest_of(const IssueQuestion& question) {
  std::string all = sha256_hex(question.request.body) + sha256_hex(question.request.signature);
  for (const auto& decision : question.decisions)
    all += sha256_hex(decision.body) + sha256_hex(decision.signature);
  return sha256_hex(all + question.gateway);
}

Result<void> check_reissue(const SessionId& id, const Issued& issued, const Memory& memory) {
  using enum Subject::Kind;
  std::vector<Subject> about = {{session, id.str()}, {person, issued.person}, {target, issued.target}, {all, {}}};
  for (const std::string& name : issued.nodes) about.push_back({node, name});
  if (issued.incident) {
    about.push_back({incident, issued.incident->str()});
    if (const Incident* of = memory.incident(*issued.incident); !of || of->closed)
      return fail(Code::no_incident, "incident " + issued.incident->str() + " is closed");
  }
  for (const Subject& subject : about) {
    JITWG_TRY(memory.check_not_revoked(subject, issued.requested_at));
    JITWG_TRY(memory.check_not_locked(subject));
  }
  return {};
}

Result<Permit> check_issue(const IssueQuestion& question, const Realm& realm, const Memory& memory, WallTime now) {
  if (now + limits::kLedgerBehind < memory.newest())
    return fail(Code::clock_behind,
                "the signer's clock says " + render_time(now) + ", its ledger's newest record is of " + render_time(memory.newest()),
                "set the clock of the signer's host");
  JITWG_ASSIGN(const VerifiedStatement verified, verify_here(question.request, realm, memory, now));
  const auto* request = std::get_if<RequestStatement>(&verified.statement);
  if (!request) return fail(Code::unknown_type, "a " + std::string(type_of(verified.statement)) + " in place of a request");
  if (memory.issued(request->session))
    return fail(Code::replay, "session " + request->session.str() + " was issued before, for other bytes");
  using enum Subject::Kind;
  std::vector<Subject> about = {{session, request->session.str()}, {person, request->head.by}, {target, request->target}, {all, {}}};
  if (request->incident) about.push_back({incident, request->incident->str()});
  for (const Subject& subject : about) {
    JITWG_TRY(memory.check_not_revoked(subject, request->head.at));
    JITWG_TRY(memory.check_not_locked(subject));
  }
  JITWG_TRY(memory.check_not_locked({node, question.gateway}));
  const Incident* in = nullptr;
  if (request->incident) {
    JITWG_ASSIGN(in, find_incident(*request, realm, memory, now));
  }
  JITWG_TRY(check_keys_are_new(*request, realm, memory));

  // Hours are judged twice: when it was asked, and now.
  Question ask{request->head.by, request->target, request->duration, request->head.at, in != nullptr, in ? in->opened_by : std::string()};
  const Verdict then = decide(realm.policy, ask);
  if (then.denial) return tl::unexpected<Error>(*then.denial);
  ask.at = now;
  const Verdict verdict = decide(realm.policy, ask);
  if (verdict.denial) return tl::unexpected<Error>(*verdict.denial);
  JITWG_TRY(check_keys(verdict.keys, verified, verdict.rule));

  Permit permit{*request, verdict.access, verdict.duration};
  std::set<std::string> deciders;
  WallTime last = request->head.at;
  if (question.decisions.size() > limits::kDecisions) return fail(Code::too_large, "too many decisions");
  for (const auto& document : question.decisions) {
    JITWG_ASSIGN(const DecisionStatement decision, check_decision(document, verified, verdict, realm, memory, now));
    if (!deciders.insert(decision.head.by).second)
      return fail(Code::already_decided, decision.head.by + " decided twice");
    if (decision.duration) permit.duration = std::min(permit.duration, *decision.duration);
    last = std::max(last, decision.head.at);
  }
  if (const auto* revokers = memory.revokers(request->session))
    for (const std::string& by : *revokers)
      if (by == request->head.by || deciders.contains(by)) return fail(Code::revoked, by + " revoked this session");
  if (!approvals_filled(realm.policy, verdict.approvals, deciders))
    return fail(Code::approvals_missing, "the rule \"" + verdict.rule + "\" wants more approvals");
  if (last > request->head.at + realm.policy.pending_for)
    return fail(Code::stale, "it was decided later than " + render_duration(realm.policy.pending_for) + " after it was asked");
  if (now > last + realm.policy.activate_within)
    return fail(Code::stale, "it was to be activated within " + render_duration(realm.policy.activate_within), "ask again");
  if (in) permit.duration = std::min(permit.duration, std::chrono::floor<Seconds>(in->until - now));
  if (permit.duration < limits::kMinDuration) return fail(Code::bad_value, "an approval of less than 10s");
  if (std::find(permit.access.gateways.begin(), permit.access.gateways.end(), question.gateway) == permit.access.gateways.end())
    return fail(Code::wrong_node, "\"" + escape_for_terminal(question.gateway) + "\" is not a gateway of this target");
  JITWG_ASSIGN(permit.access, without_locked(permit.access, *request, realm, memory));
  // Last, because it is the broker's to mend and not the person's.
  if (question.policy_sha256 != realm.policy.digest)
    return fail(Code::policy_changed, "the policy has changed since it was decided", "fetch the policy and try again");
  return permit;
}

}  // namespace jitwg::signer
