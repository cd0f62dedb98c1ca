#include "ssh-ca/signer/issue.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "ssh-ca/format/certificate.h"

namespace jitwg::signer {
namespace {

constexpr size_t kNonceBytes = 32;  // OpenSSH's, and ours

// Random 63 bits: gaps in serials below that make KRLs that OpenSSH cannot read.
uint64_t random_serial() {
  uint64_t serial = 0;
  while (serial == 0)
    for (const char c : random_bytes(8)) serial = (serial << 8 | static_cast<uint8_t>(c)) & 0x7fffffffffffffffULL;
  return serial;
}

// sshd's permissions, in the ascending order that PROTOCOL.certkeys wants. Anything not listed is forbidden.
std::vector<std::string> extensions_of(const Target& target) {
  std::vector<std::string> flags;
  if (target.ssh.contains("x11")) flags.push_back("permit-X11-forwarding");
  if (target.ssh.contains("agent")) flags.push_back("permit-agent-forwarding");
  if (target.ssh.contains("forward") || target.ssh.contains("ide")) flags.push_back("permit-port-forwarding");
  flags.push_back("permit-pty");
  return flags;
}

ssh::Certificate certificate_for(const Permit& permit, const Target& target, const std::vector<Prefix>& addresses,
                                  const ssh::PublicKey& ca, WallTime now) {
  const std::string id = permit.request.session.str();
  std::string sources;
  for (const Prefix& p : addresses) sources += (sources.empty() ? "" : ",") + p.str();
  return {"", permit.request.ssh_public_key, random_serial(), "jitwg1:" + id, {"jitwg:" + id},
          now - limits::kBackdate, now + permit.duration, {{"source-address", sources}}, extensions_of(target), ca};
}

}  // namespace

Result<json::value> issue(const Permit& permit, const std::string& gateway_name, const Realm& realm,
                          const Memory& memory, CaBackend& backend, WallTime now) {
  const RequestStatement& request = permit.request;
  const Target& target = realm.policy.targets.at(request.target);
  const Gateway& gateway = realm.policy.gateways.at(gateway_name);
  JITWG_ASSIGN(const auto addresses, choose_addresses(gateway.pools, memory.addresses(), now));

  Grant grant{.realm = realm.policy.realm, .session = request.session, .person = request.head.by, .target = request.target,
              .login = permit.access.login, .wg_public_key = request.wg_public_key, .address = addresses,
              .scope = permit.access.scope, .gateway = {gateway.name, gateway.wireguard_key, gateway.endpoint},
              .not_before = now, .not_after = now + permit.duration, .policy_sha256 = realm.policy.digest,
              .incident = request.incident, .names = permit.access.names, .nat = permit.access.nat};
  for (const std::string& name : permit.access.jump_hosts) {
    const JumpHost& host = realm.policy.jump_hosts.at(name);
    GrantJumpHost entry{name, host.addresses, {}};
    for (const auto& key : host.host_keys) entry.host_keys.push_back(key.str());
    grant.jump_hosts.push_back(std::move(entry));
  }

  json::value certificate_line = nullptr;
  if (!grant.jump_hosts.empty()) {
    ssh::Certificate certificate = certificate_for(permit, target, addresses, backend.public_key(), now);
    JITWG_ASSIGN(const std::string blob, backend.sign_certificate(certificate));
    // Second opinion on the backend's work: what leaves is what the strict parser reads back.
    const auto back = ssh::parse_certificate(blob);
    if (back) certificate.nonce = back->nonce;
    if (!back || *back != certificate || back->principals.size() != 1 || back->nonce.size() != kNonceBytes)
      return fail(Code::bug, "the certificate that was made does not read back as it was meant");
    grant.certificate_sha256 = sha256_hex(blob);
    grant.serial = std::to_string(certificate.serial);
    certificate_line = ssh::render_certificate_line(blob);
  }
  JITWG_ASSIGN(const ssh::SignedDocument document,
               backend.sign_document(render_grant(grant), kGrantNamespace));
  const auto back = verify_grant(document, backend.public_key(), realm.policy.realm);
  if (!back || *back != grant) return fail(Code::bug, "the grant that was made does not read back as it was meant");
  return json::value{{"certificate", certificate_line}, {"grant", render_document(document)}};
}

}  // namespace jitwg::signer
