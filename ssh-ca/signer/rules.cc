#include "ssh-ca/signer/rules.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"

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

Result<void> check_nonce(const VerifiedStatement& verified, const Memory& memory) {
  const std::string* digest = memory.nonce_digest(head_of(verified.statement).nonce);
  if (digest && *digest != verified.digest)
    return fail(Code::replay, "this nonce was used by another statement", "sign a new statement");
  return {};
}

// One decision against the request and against what policy says now.
Result<DecisionStatement> check_decision(const ssh::SignedDocument& document, const VerifiedStatement& request,
                                         const Verdict& verdict, const Realm& realm, const Memory& memory, WallTime now) {
  JITWG_ASSIGN(const VerifiedStatement verified, verify_statement(document, realm.people, realm.policy.realm, now));
  JITWG_TRY(check_nonce(verified, memory));
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
  return *decision;
}

}  // namespace

std::string digest_of(const IssueQuestion& question) {
  std::string all = sha256_hex(question.request.body) + sha256_hex(question.request.signature);
  for (const auto& decision : question.decisions)
    all += sha256_hex(decision.body) + sha256_hex(decision.signature);
  return sha256_hex(all + question.gateway);
}

Result<Permit> check_issue(const IssueQuestion& question, const Realm& realm, const Memory& memory, WallTime now) {
  if (now + limits::kLedgerBehind < memory.newest())
    return fail(Code::clock_behind,
                "the signer's clock says " + render_time(now) + ", its ledger's newest record is of " + render_time(memory.newest()),
                "set the clock of the signer's host");
  JITWG_ASSIGN(const VerifiedStatement verified, verify_statement(question.request, realm.people, realm.policy.realm, now));
  const auto* request = std::get_if<RequestStatement>(&verified.statement);
  if (!request) return fail(Code::unknown_type, "a " + std::string(type_of(verified.statement)) + " in place of a request");
  if (memory.issued(request->session))
    return fail(Code::replay, "session " + request->session.str() + " was issued before, for other bytes");
  JITWG_TRY(check_nonce(verified, memory));
  if (memory.is_revoked(request->session)) return fail(Code::revoked, "this session was revoked");
  if (request->incident) return fail(Code::no_incident, "there is no open incident of that ID");
  JITWG_TRY(check_keys_are_new(*request, realm, memory));

  // Hours are judged twice: when it was asked, and now.
  Question ask{request->head.by, request->target, request->duration, request->head.at, false};
  const Verdict then = decide(realm.policy, ask);
  if (then.denial) return tl::unexpected<Error>(*then.denial);
  ask.at = now;
  const Verdict verdict = decide(realm.policy, ask);
  if (verdict.denial) return tl::unexpected<Error>(*verdict.denial);

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
  if (!approvals_filled(realm.policy, verdict.approvals, deciders))
    return fail(Code::approvals_missing, "the rule \"" + verdict.rule + "\" wants more approvals");
  if (last > request->head.at + realm.policy.pending_for)
    return fail(Code::stale, "it was decided later than " + render_duration(realm.policy.pending_for) + " after it was asked");
  if (now > last + realm.policy.activate_within)
    return fail(Code::stale, "it was to be activated within " + render_duration(realm.policy.activate_within), "ask again");
  if (permit.duration < limits::kMinDuration) return fail(Code::bad_value, "an approval of less than 10s");
  if (std::find(permit.access.gateways.begin(), permit.access.gateways.end(), question.gateway) == permit.access.gateways.end())
    return fail(Code::wrong_node, "\"" + escape_for_terminal(question.gateway) + "\" is not a gateway of this target");
  // Last, because it is the broker's to mend and not the person's.
  if (question.policy_sha256 != realm.policy.digest)
    return fail(Code::policy_changed, "the policy has changed since it was decided", "fetch the policy and try again");
  return permit;
}

Result<VerifiedStatement> check_revoke(const ssh::SignedDocument& statement, const Realm& realm, const Memory& memory,
                                       WallTime now) {
  JITWG_ASSIGN(VerifiedStatement verified, verify_statement(statement, realm.people, realm.policy.realm, now));
  JITWG_TRY(check_nonce(verified, memory));
  const auto* revoke = std::get_if<RevokeStatement>(&verified.statement);
  if (!revoke)
    return fail(Code::unknown_type, "a " + std::string(type_of(verified.statement)) + " cannot be applied", "only revoke can");
  if (realm.policy.has_right("revoke", revoke->head.by)) return verified;
  // Without the right: one's own session, or one that one approved. Before it is issued the signer knows neither, and
  // the broker cancels it without help.
  const Issued* issued = memory.issued(revoke->session);
  if (!issued) return fail(Code::unknown_session, "nothing was issued for this session");
  for (const std::string& person : issued->people)
    if (person == revoke->head.by) return verified;
  return fail(Code::not_permitted, revoke->head.by + " may not revoke this session", "its person, its approvers, and [rights] revoke may");
}

}  // namespace jitwg::signer
