#include "broker/daemon/rules.h"

#include <algorithm>

#include "broker/base/encoding.h"

namespace jitwg::broker {

Result<RulesPtr> Rules::parse(const json::value& answer) {
  JsonObject reader(answer, "the signer's policy");
  const std::string policy64 = reader.string("policy");
  const std::string people64 = reader.string("allowed_signers");
  const std::string digest = reader.string("policy_sha256");
  const std::string ca_text = reader.string("ca_public_key") + "\n" + reader.optional_string("ca_also").value_or("");
  const std::string now = reader.string("now");
  const json::value* lists_value = reader.optional_value("lists");
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(std::string policy_bytes, base64_decode(policy64));
  JITWG_ASSIGN(std::string people_bytes, base64_decode(people64));
  JITWG_ASSIGN(Policy policy, load_policy(policy_bytes, "policy.toml"));
  JITWG_ASSIGN(ssh::AllowedSigners people, ssh::AllowedSigners::parse(people_bytes));
  JITWG_ASSIGN(ssh::CaKeys ca, ssh::CaKeys::parse(ca_text));
  JITWG_ASSIGN(SyncedFiles lists, lists_value ? parse_lists(*lists_value) : SyncedFiles());
  JITWG_ASSIGN(const WallTime then, parse_time(now));
  take_lists(policy, lists, then);
  if (policy.digest != digest)
    return fail(Code::bad_policy, "the signer's digest is not that of its policy");
  return std::make_shared<const Rules>(Rules{std::move(policy), std::move(people), std::move(ca),
                                             std::move(policy_bytes), std::move(people_bytes),
                                             render_json(answer), std::move(lists)});
}

RulesPtr Rules::at(WallTime now) const {
  Rules copy = *this;
  take_lists(copy.policy, copy.lists, now);
  return std::make_shared<const Rules>(std::move(copy));
}

Verdict Rules::judge(const store::Session& session) const {
  return decide(policy, {.person = session.person,
                         .target = session.target,
                         .duration = session.duration,
                         .at = session.requested_at,
                         .incident = session.incident.has_value(),
                         .opened_by = session.incident_opener});
}

bool Rules::may_decide(const store::Session& session, const std::string& person) const {
  return person != session.person && judge(session).approvers.contains(person);
}

Result<void> check_keys(const Verdict& verdict, const VerifiedStatement& verified) {
  const ssh::SignedBy& by = verified.signed_by;
  const bool pin = verdict.keys == KeyDemand::verify_required;
  if (verdict.keys == KeyDemand::any || (by.key.is_hardware() && (!pin || by.user_verified)))
    return {};
  return fail(Code::hardware_key_wanted,
              "the rule \"" + verdict.rule + "\" wants " +
                  (pin ? "hardware keys that ask for a PIN or a finger" : "signatures by hardware keys") +
                  ", this is by " + by.key.fingerprint(),
              pin ? "ssh-keygen -t ed25519-sk -O verify-required makes one"
                  : "ssh-keygen -t ed25519-sk makes one");
}

const ssh::PublicKey* Rules::node_key(const std::string& node) const {
  if (const auto gateway = policy.gateways.find(node); gateway != policy.gateways.end())
    return &gateway->second.node_key;
  if (const auto host = policy.jump_hosts.find(node); host != policy.jump_hosts.end())
    return &host->second.node_key;
  return nullptr;
}

bool Rules::is_known(const std::string& person, WallTime at) const {
  return std::ranges::any_of(people.entries(), [&](const ssh::AllowedSigner& entry) {
    return entry.person == person && (!entry.valid_after || *entry.valid_after <= at) &&
           (!entry.valid_before || at < *entry.valid_before);
  });
}

bool Rules::validity_changed(WallTime from, WallTime to) const {
  const auto within_span = [&](const std::optional<WallTime>& time) {
    return time && *time > from && *time <= to;
  };
  return std::ranges::any_of(people.entries(), [&](const ssh::AllowedSigner& entry) {
    return within_span(entry.valid_after) || within_span(entry.valid_before);
  });
}

Result<void> Rules::check_session_keys(const RequestStatement& request) const {
  const auto reused = [](const std::string& whose) {
    return fail(Code::key_reused, "a session key is " + whose, "every request makes fresh keys");
  };
  const ssh::PublicKey& key = request.ssh_public_key;
  if (people.knows_key(key)) return reused("somebody's identity key");
  if (ca.contains(key)) return reused("the CA's key");
  for (const auto& [name, gateway] : policy.gateways) {
    if (key == gateway.node_key) return reused("a gateway's node key");
    if (request.wg_public_key == gateway.wireguard_key) return reused("a gateway's WireGuard key");
  }
  for (const auto& [name, host] : policy.jump_hosts)
    if (key == host.node_key || std::ranges::find(host.host_keys, key) != host.host_keys.end())
      return reused("a jump host's key");
  return {};
}

}  // namespace jitwg::broker
